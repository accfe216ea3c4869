"""A storm of faults over many workers: processes are killed, stopped and ended, store entries torn.

    python tests/faults/storm.py --faults 60 --seed 0

Several workers of two runs share one store; one run has two workers in one folder of records. Faults come at
random moments. A round ends when all records are there, and then the digests are compared with those of one
process that nothing disturbed. Rounds are repeated until so many faults were tried. Prints a table of faults.
"""

import argparse
import contextlib
import json
import multiprocessing
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

SUITE = """
name = "storm"
tasks = ["classes/cat-face@tiny", "celebrities/santa-claus@tiny"]
unscored_below = 0.4
[sizes]
forget = 6
forget_samples = 4
retain_same = 9
retain_other = 9
retain_given = 6
indirect = 0
[[methods]]
name = "none"
[[methods]]
name = "balanced"
config = { steps = 4, checkpoints = [2, 4], batch = 8 }
"""
RECORDS = 4
FOLDERS = ("one", "two", "two")
"""Folder of records of each worker: a run of its own, and a run of two workers."""
LEASE_SECONDS = 2.0
PATIENCE = 60.0
"""Seconds without progress after which a fault comes all the same."""
MOST_SECONDS = 1800.0
"""Time after which a round hangs."""
context = multiprocessing.get_context("fork")


def main() -> int:
    parser = argparse.ArgumentParser(description="Faults over many workers")
    parser.add_argument("--faults", type=int, default=60)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        tried, lost = run_storm(Path(folder), options.faults, options.seed)
    for kind, number in sorted(tried.items()):
        print(f"{kind:40} tried {number:3}")
    print(f"{'all':40} tried {tried.total():3}, lost {len(lost)}")
    for line in lost:
        print(f"lost: {line}")
    return 1 if lost else 0


def run_storm(folder: Path, faults: int, seed: int) -> tuple[Counter[str], list[str]]:
    """Return how often each fault was tried, and what was lost: empty where nothing was."""
    suite = folder / "storm.toml"
    suite.write_text(SUITE)
    calm = Storm(folder / "calm", suite, random.Random(0))
    calm.work_until_done(("one",), lambda: None)
    wanted = read_digests(calm.folder / "one")
    tried, lost, number = Counter[str](), list[str](), 0
    assert len(wanted) == RECORDS
    while tried.total() < faults and not lost:
        storm = Storm(folder / f"round-{number}", suite, random.Random(f"storm {seed} {number}"))
        storm.left = faults - tried.total()
        storm.work_until_done(FOLDERS, storm.strike)
        tried += storm.tried
        lost += [f"round {number}: {line}" for line in storm.compare(wanted)]
        print(f"round {number}: {storm.tried.total()} faults, {len(lost)} lost", file=sys.stderr, flush=True)
        number += 1
    return tried, lost


def read_digests(folder: Path) -> dict[str, str]:
    """Return the digest of each record in a folder by its name."""
    from unlearnbench.bench.records.record import read_record, record_digest

    return {path.name: record_digest(read_record(path)) for path in folder.glob("*.json")}


@dataclass
class Storm:
    """One round: workers on one store, and faults."""

    folder: Path
    suite: Path
    draw: random.Random
    left: int = 0
    tried: Counter[str] = field(default_factory=Counter)
    broken: list[str] = field(default_factory=list)
    running: list[Any] = field(default_factory=list)
    next: float = 0.0
    entries: int = 0
    _stopped: list[tuple[float, int]] = field(default_factory=list)

    def work_until_done(self, folders: tuple[str, ...], strike: Callable[[], None]) -> None:
        """Keep a worker running for each folder until all records are there."""
        end = time.monotonic() + MOST_SECONDS
        self.running = [self._start(name, i) for i, name in enumerate(folders)]
        self.next = time.monotonic() + self.draw.uniform(0, 3)
        while any(process.is_alive() or process.exitcode for process in self.running):
            if time.monotonic() > end:
                self.broken.append("a round did not end")
                break
            for i, process in enumerate(self.running):
                if not process.is_alive() and process.exitcode:
                    self.running[i] = self._start(folders[i], i)  # as a cluster starts a lost worker again
            strike()
            self._look()
            time.sleep(0.02)
        for process in self.running:
            process.kill()
            process.join()

    def _start(self, name: str, index: int) -> Any:
        process = context.Process(target=_work, args=(self.folder, name, self.suite, index))
        process.start()
        return process

    def strike(self) -> None:
        """Let a fault happen where one is due."""
        now = time.monotonic()
        for due, pid in list(self._stopped):
            if now > due:
                self._stopped.remove((due, pid))
                _signal(pid, signal.SIGCONT)
        if now < self.next or self.tried.total() >= self.left or not self._has_moved(now):
            return
        self.next = now + self.draw.expovariate(1 / 1.5)
        fault = self.draw.choice(
            (self._kill, self._kill, self._kill, self._end, self._stop, self._tear, self._tear, self._claim)
        )
        kind = fault()
        if kind is not None:
            self.tried[kind] += 1

    def _has_moved(self, now: float) -> bool:
        """Return whether work went on since the last fault: else most would meet workers that start."""
        count = sum(1 for _ in self.folder.glob("store/*/??/*"))
        if count == self.entries and now < self.next + PATIENCE:
            return False
        self.entries = count
        return True

    def _worker(self) -> Any:
        alive = [process for process in self.running if process.is_alive()]
        return self.draw.choice(alive) if alive else None

    def _kill(self) -> str | None:
        return self._send(signal.SIGKILL, "worker killed (SIGKILL)")

    def _end(self) -> str | None:
        number = self.draw.choice((signal.SIGTERM, signal.SIGINT))
        return self._send(number, f"worker ended ({number.name})")

    def _stop(self) -> str | None:
        worker = self._worker()
        if worker is not None:
            self._stopped.append((time.monotonic() + 2.5 * LEASE_SECONDS, worker.pid))
        return self._send(signal.SIGSTOP, "worker hangs beyond its lease", worker)

    def _send(self, number: int, kind: str, worker: Any = None) -> str | None:
        worker = worker or self._worker()
        if worker is None:
            return None
        _signal(worker.pid, number)
        return kind

    def _tear(self) -> str | None:
        """Damage a random entry of the store as a torn write, a flipped bit or a lost file would."""
        kind = self.draw.choice(("images", "deltas", "manifests", "needed"))
        entries = sorted(path for path in (self.folder / "store" / kind).glob("??/*") if len(path.name) == 64)
        if not entries:
            return None
        path, how = self.draw.choice(entries), self.draw.choice(("truncated", "flipped", "lost"))
        try:
            content = bytearray(path.read_bytes())
            if how == "lost":
                path.unlink()
                return f"entry lost: {kind}"
            if how == "flipped":
                content[self.draw.randrange(len(content))] ^= 1
            else:
                del content[self.draw.randrange(len(content)) :]
            path.write_bytes(content)
        except OSError:
            return None
        return f"entry {how}: {kind}"

    def _claim(self) -> str | None:
        """Leave half a claim in the place of a lease."""
        claims = sorted((self.folder / "store" / "leases").glob("??/*"))
        if not claims:
            return None
        self.draw.choice(claims).write_bytes(b'{"host": "')
        return "lease half written"

    def _look(self) -> None:
        """Note a record that can be seen half written."""
        for path in self.folder.glob("*/*.json"):
            try:
                json.loads(path.read_text())
            except FileNotFoundError:
                continue
            except ValueError:
                self.broken.append(f"{path.name} was seen half written")

    def compare(self, wanted: dict[str, str]) -> list[str]:
        """Return what was lost: records that lack or differ, leases that nobody gave back, halves."""
        found = list(self.broken)
        for name in sorted(set(FOLDERS)):
            digests = read_digests(self.folder / name)
            found += [f"{name}: {stem}" for stem in wanted if digests.get(stem) != wanted[stem]]
        return found


def _signal(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def _work(folder: Path, name: str, suite: Path, index: int) -> None:
    """Be a worker: a child of this process, which has the libraries loaded already."""
    from unlearnbench.bench.cli.main import main as run
    from unlearnbench.bench.running.sharing import leases, worker

    log = os.open(_made(folder) / f"{name}-{index}.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(log, 1)
    os.dup2(log, 2)
    leases.Leases.__init__.__defaults__ = (LEASE_SECONDS, *leases.Leases.__init__.__defaults__[1:])  # type: ignore
    worker.POLL_SECONDS = 0.2
    where = ["--out", str(folder / name), "--store", str(folder / "store")]
    words = ["run", "--suite", str(suite), *where, "--threads", "1", "--part", f"{index}/3"]
    sys.exit(run(words))


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder


if __name__ == "__main__":
    from unlearnbench.bench.cli import main as _loaded  # noqa: F401
    from unlearnbench.bench.running.sharing import worker as _worker  # noqa: F401

    sys.exit(main())
