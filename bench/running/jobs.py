"""Run a suite in several processes of one machine, which share its work by leases in the store."""

import contextlib
import os
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
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


def worker_command(arguments: Sequence[str], threads: int) -> list[str]:
    """Return the command of a worker of the run `unlearnbench ARGUMENTS`, without its part."""
    own = list(arguments)
    for option in ("--jobs", "--threads", "--executor", "--resource"):
        own = without_option(own, option)
    return [sys.executable, "-m", "unlearnbench.bench.cli", *own, "--threads", str(threads)]


def run_parts(
    arguments: Sequence[str], jobs: int, threads: int, records: Sequence[Path], gpus: Sequence[str] = ()
) -> None:
    """Run `unlearnbench ARGUMENTS` in `jobs` processes that share the work, until all have ended.

    records: files that they will write, for the progress bar. gpus: to share among the processes, one each.
    Each process writes its output to `parts/I.log` next to the records. Failures are in the records: the
    caller goes over the suite once more.
    """
    command = worker_command(arguments, threads)
    logs = records[0].parent / "parts"
    make_folder(logs)
    started = time.time()
    running: list[subprocess.Popen[bytes]] = []
    try:
        for i in range(jobs):
            own = {"CUDA_VISIBLE_DEVICES": gpus[i % len(gpus)]} if gpus else {}
            running.append(start_worker([*command, "--part", f"{i}/{jobs}"], logs / f"{i}.log", own))
        with show_progress(f"cells, in {jobs} processes", len(records)) as advance:
            while any(process.poll() is None for process in running):
                advance(sum(p.exists() and p.stat().st_mtime >= started for p in records), "")
                time.sleep(POLL_SECONDS)
    finally:
        _end(running)


def start_worker(
    command: Sequence[str], log: Path, environment: Mapping[str, str] | None = None
) -> "subprocess.Popen[bytes]":
    """Start a worker whose standard input is a pipe that only this process holds open."""
    try:
        target = log.open("ab")
    except OSError as error:
        raise explain(log, error) from None
    with target:
        return subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=target,
            stderr=subprocess.STDOUT,
            env={**os.environ, **(environment or {}), WATCHED: "1"},
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
            # not sys.stdin: this thread would hold its lock when the interpreter ends, which is a crash
            while os.read(0, 1):
                pass
        os._exit(PARENT_GONE)  # files are replaced atomically: none is left half written

    threading.Thread(target=watch, daemon=True).start()
