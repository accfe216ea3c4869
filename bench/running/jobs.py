"""Run a suite in several processes of one machine, which share its work by leases in the store."""

import contextlib
import os
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from ..errors import UserError
from ..files import explain, make_folder
from ..progress import show_progress

POLL_SECONDS = 1.0
END_SECONDS = 10.0
WATCHED = "UNLEARNBENCH_WORKER"
"""Environment variable that marks a worker: its standard input is then a pipe from its parent."""
PARENT_GONE = 143
"""Exit status of a worker whose parent has ended: the one after SIGTERM."""


def find_part(part: str | None) -> tuple[int, int] | None:
    """Return (I, N) of the share `I/N`, or of a Slurm array's job; None for a process that shares with none.

    Every worker can do all the work: the numbers say where it starts.
    """
    if part is None:
        words = [os.environ.get(f"SLURM_ARRAY_TASK_{name}", "") for name in ("ID", "MIN", "COUNT")]
        if not all(word.isdecimal() for word in words) or int(words[2]) < 2:
            return None
        return (int(words[0]) - int(words[1])) % int(words[2]), int(words[2])
    try:
        index, count = (int(number) for number in part.split("/"))
    except ValueError:
        raise UserError(f"--part {part}: not of the form I/N, such as 0/2") from None
    if not 0 <= index < count:
        raise UserError(f"--part {part}: of {count} parts, counted from 0")
    return index, count


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
    """Run `unlearnbench ARGUMENTS` in `jobs` processes that share the work, until all have ended.

    records: files that they will write, for the progress bar. Each process writes its output to `parts/I.log`
    next to them. Failures are in the records: the caller goes over the suite once more.
    """
    own = without_option(without_option(arguments, "--jobs"), "--threads")
    command = [sys.executable, "-m", "unlearnbench.bench.cli", *own, "--threads", str(threads)]
    logs = records[0].parent / "parts"
    make_folder(logs)
    started = time.time()
    running: list[subprocess.Popen[bytes]] = []
    try:
        for i in range(jobs):
            running.append(_start([*command, "--part", f"{i}/{jobs}"], logs / f"{i}.log"))
        with show_progress(f"cells, in {jobs} processes", len(records)) as advance:
            while any(process.poll() is None for process in running):
                advance(sum(p.exists() and p.stat().st_mtime >= started for p in records), "")
                time.sleep(POLL_SECONDS)
    finally:
        _end(running)


def _start(command: Sequence[str], log: Path) -> "subprocess.Popen[bytes]":
    """Start a worker whose standard input is a pipe that only this process holds open."""
    environment = {**os.environ, WATCHED: "1"}
    try:
        target = log.open("wb")
    except OSError as error:
        raise explain(log, error) from None
    with target:
        return subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=target, stderr=subprocess.STDOUT, env=environment
        )


def _end(running: "Sequence[subprocess.Popen[bytes]]") -> None:
    """Return once all workers have ended."""
    for process in running:
        process.terminate()
    for process in running:
        try:
            process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stdin is not None:
            process.stdin.close()


def end_with_parent() -> None:
    """End this process as soon as the process that started it as a worker has ended, in whatever way.

    The pipe to a worker's standard input closes with its parent, even when that is killed. Where this process
    is no worker, nothing happens: its standard input is the user's.
    """
    if os.environ.pop(WATCHED, None) is None:
        return

    def watch() -> None:
        with contextlib.suppress(OSError, ValueError):
            while sys.stdin.buffer.read(1):
                pass
        os._exit(PARENT_GONE)  # files are replaced atomically: none is left half written

    threading.Thread(target=watch, daemon=True).start()
