"""Execute a plan: run one cell after the other and write one record for each."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from ..errors import UserError
from ..files import make_folder
from ..models.isolation.time_limit import TimeIsUp, limit_time
from ..places import clean_error
from ..planning.plan import Cell
from ..records.chosen import copy_record, is_copy
from ..records.packed.record_table import has_record, refuse_packed
from ..records.record import read_record, record_digest, write_record
from ..records.sheets import check_whole
from ..records.statements import Retracted, Superseded, read_statements
from .assemble import brief
from .cell_run import CellRun, Shared
from .failures import Failures
from .plugins import check_libraries, plugin_modules
from .pooling import pool_cells


@dataclass(frozen=True)
class Outcome:
    """What became of a cell: `measured`, `unchanged` (its record was there) or `failed`."""

    cell: Cell
    state: str
    path: Path
    drawn: int = 0


def check_resumed(folder: Path) -> None:
    """Raise UserError where there is no folder of records to resume from."""
    if not folder.is_dir():
        raise UserError(f"--resume {folder}: no such folder of records")


def describe_cell(cell: Cell) -> str:
    """Return task, method, seed and, in a sequence, the step, as progress names them."""
    place = "" if cell.turn is None else f" step {cell.turn.step} of {len(cell.turn.requests)}"
    return f"{cell.task.id} {cell.row.name} seed {cell.seed}{place}"


@dataclass(kw_only=True)
class Runner(Shared):
    """Runs cells one after the other. folder: of the records.

    cell_timeout: seconds that a cell may take; None = no limit. restart: given the stem of a cell that could
    not be stopped, continues in a new process without it (listed in `abandoned` there); None = not possible.
    """

    folder: Path
    cell_timeout: float | None = None
    restart: Callable[[str], None] | None = None
    abandoned: frozenset[str] = frozenset()
    _plugins: set[str] = field(default_factory=set)
    _withdrawn: dict[Path, set[str]] = field(default_factory=dict)

    @cached_property
    def _failures(self) -> Failures:
        return Failures(self.folder, self.say)

    def run(self, cells: list[Cell]) -> list[Outcome]:
        """Run every cell; one that fails is recorded as failed and the others go on."""
        self.note_plugins(cells)
        outcomes = []
        for number, cell in enumerate(cells, 1):
            title = f"[{number}/{len(cells)}] {describe_cell(cell)}"
            outcomes.append(self.run_cell(CellRun(self, cell), title))
        return outcomes

    def note_plugins(self, cells: Sequence[Cell]) -> None:
        """Let `run_cell` and `attempt` watch the plug-ins that these cells import."""
        self._plugins |= plugin_modules(cells, self.metrics, self.worlds)

    def attempt(self, run: CellRun, title: str, do: Callable[[], None]) -> bool:
        """Do a part of a cell's work within the time limit; return False where it failed, as recorded."""
        try:
            with limit_time(self.cell_timeout, lambda: self._abandon(run, title)):
                check_libraries(self._plugins)
                do()
        except (Exception, TimeIsUp) as error:
            self._fail(run, title, error)
            return False
        return True

    def run_cell(self, run: CellRun, title: str) -> Outcome:
        """Make a cell's record, unless it is there or cannot be made."""
        cell, path, before = run.cell, self.path_of(run.cell), self.scorer.drawn
        if cell.stem in self.abandoned:  # its record was written before this process took over
            return Outcome(cell, "failed", path)
        try:
            if self.is_done(path, run.key):
                return Outcome(cell, "unchanged", path)
            refuse_packed(path)
            self.say(title)
            with limit_time(self.cell_timeout, lambda: self._abandon(run, title)):
                check_libraries(self._plugins)
                record, items, sheet = run.measure()
            write_record(record, items, sheet, self.folder, seal=True)
            self.say(f"  {brief(record)}")
        except (Exception, TimeIsUp) as error:
            return self._fail(run, title, error)
        self._failures.clear(cell.stem)
        return Outcome(cell, "measured", path, self.scorer.drawn - before)

    def _fail(self, run: CellRun, title: str, error: BaseException) -> Outcome:
        said = clean_error(f"{type(error).__name__}: {error}")
        self._failures.note(run.cell.stem, title, error, lambda: run.assemble(error=said))
        return Outcome(run.cell, "failed", self.path_of(run.cell))

    def _abandon(self, run: CellRun, title: str) -> None:
        """Record a cell that does not end although its time is up; continue without it in a new process."""
        error = TimeIsUp(f"took longer than {self.cell_timeout:g} s, and could not be stopped")
        self._fail(run, title, error)
        if self.restart is not None:
            self.restart(run.cell.stem)

    def pending(self, cells: list[Cell]) -> list[Cell]:
        """Return the cells whose record is not there yet.

        Raises UserError where one is packed but counts no more: a packed record is never replaced.
        """
        runs = [CellRun(self, cell) for cell in cells]
        left = [run.cell for run in runs if not self.is_done(self.path_of(run.cell), run.key)]
        for cell in left:
            refuse_packed(self.path_of(cell))
        return left

    def resume(self, cells: list[Cell], folder: Path) -> list[Cell]:
        """Copy the records that another folder holds of the cells; return the cells with records from there.

        Records that an earlier call copied count, too: their images are not in the store. Records that
        failed, were withdrawn, are damaged, or have another suite or key are not copied: a key holds the
        versions of code, libraries and world. Raises UserError where there is no such folder.
        """
        check_resumed(folder)
        make_folder(self.folder)
        taken, left = [], 0
        for cell in cells:
            path, own, key = folder / f"{cell.stem}.json", self.path_of(cell), self.cell_key(cell)
            if self.is_done(own, key):
                if is_copy(own, path):
                    taken.append(cell)
            elif self.take_record(path, own, key, cell.suite.name):
                taken.append(cell)
            else:
                left += has_record(path)
        self.say(f"{folder}: {len(taken)} records count as done; {left} have another suite or key: not taken")
        return taken

    def take_record(self, path: Path, own: Path, key: str, suite: str) -> bool:
        """Copy a record to the path `own` and return True; False where it failed, was withdrawn, or has
        another suite or key."""
        if not self.counts(path, key, suite):
            return False
        copy_record(path, own.parent)
        return True

    def counts(self, path: Path, key: str, suite: str) -> bool:
        """Return whether a record of another folder counts as done: good, of this key and suite."""
        if not self.is_done(path, key):
            return False
        record = read_record(path)
        return record.suite == suite and record_digest(record) not in self._withdrawn_in(path.parent)

    def _withdrawn_in(self, folder: Path) -> set[str]:
        """Return the digests of a folder's withdrawn records; its statements are read once for all cells."""
        if folder not in self._withdrawn:
            said = read_statements(folder)
            self._withdrawn[folder] = {s.about for s in said if isinstance(s, Retracted | Superseded)}
        return self._withdrawn[folder]

    def pool(self, cells: list[Cell]) -> None:
        """Write the pooled distances of each row's shown points; does nothing where they are up to date."""
        worlds = self.worlds.values()
        pool_cells(self.folder, cells, worlds, self.cell_key, lambda cell: CellRun(self, cell).take_part())

    def path_of(self, cell: Cell) -> Path:
        """Return where a cell's record is, or will be."""
        return self.folder / f"{cell.stem}.json"

    def is_done(self, path: Path, key: str) -> bool:
        """Return whether a record is there, whole, and of this key."""
        if not has_record(path):
            return False
        try:
            record = read_record(path)
            if record.key != key or record.status != "ok":
                return False
            check_whole(path, record)
        except Exception as error:
            self.say(f"{error}; measured again")
            return False
        return True

    def cell_key(self, cell: Cell) -> str:
        """Return the key of a cell's record."""
        return CellRun(self, cell).key

    def train_key(self, cell: Cell) -> str:
        """Return the key of a cell's training."""
        return CellRun(self, cell).train_key
