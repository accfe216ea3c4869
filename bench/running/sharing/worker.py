"""A worker: goes over the parts of a run, takes the leases that are free, until all records are there."""

import os
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from ...errors import UserError
from ...planning.plan import Cell
from ...records.packed.record_table import find_json
from ...records.record import read_record
from ...store import content_key
from ..attacking.suite_attacks import SuiteAttack, attack_cells, find_run
from ..cell_run import CellRun
from ..failures import find_trace
from ..runner import Outcome, Runner, describe_cell
from .leases import Lease, Leases
from .parts import CellParts, Part

POLL_SECONDS = 1.0
"""Longest pause of a worker that finds no free part."""
MOST_TRIES = 5
"""Number of processes that may end while they work on a part before its cell counts as failed."""


@dataclass
class Job:
    """A cell that a worker goes over. before: time stamp of its record when the worker began; looked: when
    it was last read. is_named: whether the worker has printed its title."""

    run: CellRun
    title: str
    before: int | None
    looked: int | None = None
    drawn: int = 0
    is_named: bool = False
    parts: CellParts = field(init=False)

    def __post_init__(self) -> None:
        self.parts = CellParts(self.run)


@dataclass
class Worker:
    """One of any number of workers of a run. index, count: where in the list it starts; any numbers do."""

    runner: Runner
    index: int = 0
    count: int = 1
    leases: Leases = field(init=False)

    def __post_init__(self) -> None:
        self.leases = Leases(self.runner.store)

    def work(self, cells: Sequence[Cell]) -> list[Outcome]:
        """Return what became of each cell, once nothing is left to do for anybody."""
        self.runner.note_plugins(cells)
        jobs = [self._job(cell, number, len(cells)) for number, cell in enumerate(cells, 1)]
        left, outcomes = self._from_own_place(jobs), dict[str, Outcome]()
        while left:
            moved = False
            for job in left:
                has_moved, outcome = self._visit(job)
                moved |= has_moved
                if outcome is not None:
                    outcomes[job.run.cell.stem] = outcome
            left = [job for job in left if job.run.cell.stem not in outcomes]
            if left and not moved:
                time.sleep(random.uniform(0.5, 1) * POLL_SECONDS)
        return [outcomes[cell.stem] for cell in cells]

    def attack(self, attacks: Sequence[SuiteAttack]) -> list[Outcome]:
        """Return what became of each attack, once nothing is left to do for anybody."""
        outcomes: list[Outcome] = []
        left = [(attack, self._trace_of(attack)) for attack in self._from_own_place(attacks)]
        while left:
            waiting = []
            for attack, before in left:
                planned = attack.planned
                what = [attack.cell.stem, planned.entry.name, planned.settings, planned.seed, attack.label]
                with self.leases.holding(self._name("attack", what)) as lease:
                    if lease is None:
                        waiting.append((attack, before))
                    else:
                        outcomes += self._attack(attack, before)
            if len(waiting) == len(left):
                time.sleep(random.uniform(0.5, 1) * POLL_SECONDS)
            left = waiting
        return outcomes

    def _attack(self, attack: SuiteAttack, before: int | None) -> list[Outcome]:
        """Run an attack, unless another worker failed in it since this one began. before: see `_trace_of`."""
        if self._trace_of(attack) not in (None, before):
            run = find_run(self.runner, attack)
            return [] if run is None else [Outcome(run.cell, "failed", run.path)]
        return attack_cells(self.runner, [attack])

    def _trace_of(self, attack: SuiteAttack) -> int | None:
        """Return the time stamp of the file that says why an attack failed; None where there is none."""
        run = find_run(self.runner, attack)
        return None if run is None else _stamp(find_trace(run.path.parent, run.stem))

    def pool(self, cells: Sequence[Cell]) -> None:
        """Write the pooled distances of shown points; return once they are there, whoever wrote them."""
        is_done = False
        while not is_done:
            with self.leases.holding(self._name("pool", [cell.stem for cell in cells])) as lease:
                if lease is not None:
                    self.runner.pool(list(cells))
                    is_done = True
            if not is_done:
                time.sleep(random.uniform(0.5, 1) * POLL_SECONDS)

    def _name(self, kind: str, what: Any) -> str:
        """Return the name of a lease on something in the folder of the records."""
        return content_key({kind: what, "folder": str(self.runner.folder.resolve())})

    def _job(self, cell: Cell, number: int, of: int) -> Job:
        title = f"[{number}/{of}] {describe_cell(cell)}"
        return Job(CellRun(self.runner, cell), title, _stamp(find_json(self.runner.path_of(cell))))

    def _from_own_place(self, things: Sequence[Any]) -> list[Any]:
        """Return the things in an order that starts at another place for each worker."""
        first = self.index % self.count * len(things) // self.count
        return [*things[first:], *things[:first]]

    def _visit(self, job: Job) -> tuple[bool, Outcome | None]:
        """Work on a cell as far as its leases are free; return whether anything was done, and its outcome."""
        moved, run, opened = False, job.run, list[Part]()
        while (outcome := self._settled(job)) is None:
            opened.clear()
            if not self.runner.attempt(run, job.title, lambda: opened.extend(job.parts.open_parts())):
                return True, self._failed(job)
            if not opened:
                return self._make_record(job, moved)
            done = self._work_on(job, self._from_own_place(opened))
            if done is None:
                return True, self._failed(job)
            if not done:
                return moved, None
            moved = True
        return moved, outcome

    def _settled(self, job: Job) -> Outcome | None:
        """Return what became of a cell whose record is there, or that failed since this worker began."""
        cell, path = job.run.cell, self.runner.path_of(job.run.cell)
        stamp = _stamp(find_json(path))
        if cell.stem in self.runner.abandoned:
            return self._failed(job)
        if stamp is None or stamp == job.looked:
            return None
        job.looked = stamp
        if self.runner.is_done(path, job.run.key):
            return Outcome(cell, "measured" if job.drawn else "unchanged", path, job.drawn)
        try:
            has_failed = read_record(path).status == "failed"
        except Exception:  # `is_done` said what is wrong with it
            return None
        return self._failed(job) if has_failed and stamp != job.before else None

    def _failed(self, job: Job) -> Outcome:
        return Outcome(job.run.cell, "failed", self.runner.path_of(job.run.cell), job.drawn)

    def _work_on(self, job: Job, parts: Sequence[Part]) -> bool | None:
        """Do the parts that are free; return whether there was one, None where one failed."""
        moved = False
        for part in parts:
            if part.is_done():
                continue
            with self.leases.holding(part.name) as lease:
                if lease is None or part.is_done():
                    continue
                if not self._do(job, lease, part.do):
                    return None
                moved = True
        return moved

    def _do(self, job: Job, lease: Lease, do: Callable[[], None]) -> bool:
        """Do a part; return False where it failed, as recorded."""

        def work() -> None:
            if lease.tries > MOST_TRIES:
                raise UserError(
                    f"{lease.tries} processes ended, one after the other, while they worked on it"
                )
            torch.set_num_threads(job.run.threads)
            do()

        if not job.is_named:
            self.runner.say(job.title)
            job.is_named = True
        before = self.runner.scorer.drawn
        try:
            return self.runner.attempt(job.run, job.title, work)
        finally:
            job.drawn += self.runner.scorer.drawn - before

    def _make_record(self, job: Job, moved: bool) -> tuple[bool, Outcome | None]:
        run = job.run
        with self.leases.holding(self._name("record", run.key)) as lease:
            if lease is None:
                return moved, None
            if lease.tries > MOST_TRIES and not self._do(job, lease, lambda: None):
                return True, self._failed(job)
            run.started = time.monotonic()
            outcome = self.runner.run_cell(run, job.title)
        return True, replace(outcome, drawn=outcome.drawn + job.drawn)


def _stamp(path: Path) -> int | None:
    """Return when a file was last written; None where it is not there."""
    try:
        return os.stat(path).st_mtime_ns
    except OSError:
        return None
