"""Run a suite in several processes of one machine: each takes every n-th task, all share the store."""

import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from .errors import UserError
from .plan import Suite
from .progress import show_progress

POLL_SECONDS = 1.0


def take_part(suite: Suite, part: str) -> Suite:
    """Return the suite with its tasks of `I/N` alone; whole ones: their cells share the base's images."""
    try:
        index, count = (int(number) for number in part.split("/"))
    except ValueError:
        raise UserError(f"--part {part}: not of the form I/N, such as 0/2") from None
    if not 0 <= index < count <= len(suite.tasks):
        raise UserError(f"--part {part}: there are {len(suite.tasks)} tasks; count from 0")
    return suite.model_copy(update={"tasks": suite.tasks[index::count]})


def without_option(arguments: Sequence[str], name: str) -> list[str]:
    """Return a command line without an option and its value."""
    kept, skip = [], False
    for argument in arguments:
        if skip:
            skip = False
        elif argument == name:
            skip = True
        elif not argument.startswith(f"{name}="):
            kept.append(argument)
    return kept


def run_parts(arguments: Sequence[str], jobs: int, threads: int, records: Sequence[Path]) -> None:
    """Run `unlearnbench ARGUMENTS` in `jobs` processes with their share of the tasks, until all have ended.

    records: files that they are to write, for the progress bar. Each process writes what it has to say to
    `parts/I.log` beside them. What failed is in the records: the caller goes over the suite once more.
    """
    own = without_option(without_option(arguments, "--jobs"), "--threads")
    command = [sys.executable, "-m", "unlearnbench.bench.cli", *own, "--threads", str(threads)]
    logs = records[0].parent / "parts"
    logs.mkdir(parents=True, exist_ok=True)
    started = time.time()
    running = [_start([*command, "--part", f"{i}/{jobs}"], logs / f"{i}.log") for i in range(jobs)]
    try:
        with show_progress(f"cells, in {jobs} processes", len(records)) as advance:
            while any(process.poll() is None for process in running):
                advance(sum(p.exists() and p.stat().st_mtime >= started for p in records), "")
                time.sleep(POLL_SECONDS)
    finally:
        for process in running:
            process.terminate()


def _start(command: Sequence[str], log: Path) -> "subprocess.Popen[bytes]":
    with log.open("wb") as target:
        return subprocess.Popen(command, stdout=target, stderr=subprocess.STDOUT)
