"""Cells that failed: reported, written to a file, and recorded unless a good record is there already."""

import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..errors import UserError
from ..files import write_file
from ..planning.plan import Cell
from ..records.packed.record_table import has_record
from ..records.record import Record, read_record, write_record
from ..records.statements import ATTACKED

TRACES = "failures"
"""Folder of the tracebacks, next to the records."""


@dataclass(frozen=True)
class Failures:
    """folder: of the records; `failures/CELL.txt` in it holds the traceback. say: gets one line for each."""

    folder: Path
    say: Callable[[str], None]

    def note(self, stem: str, title: str, error: BaseException, make: Callable[[], Record]) -> None:
        """Report and write why a cell failed. make: its failed record; a good record that is there stays."""
        record = self.folder / f"{stem}.json"
        self.say(f"{title}: failed: {type(error).__name__}: {error}")
        try:
            write_file(self._trace(stem), "".join(traceback.format_exception(error)))
            if has_good(record):
                self.say(f"{title}: the record from before stays: {record}")
            else:
                write_record(make(), None, None, self.folder, seal=True)
        except Exception as second:  # the next cell may still be measured
            self.say(f"{title}: its record cannot be written: {type(second).__name__}: {second}")

    def clear(self, stem: str) -> None:
        """Drop the traceback of a cell that has been measured since."""
        self._trace(stem).unlink(missing_ok=True)

    def _trace(self, stem: str) -> Path:
        return find_trace(self.folder, stem)


def has_good(path: Path) -> bool:
    """Return whether a record that did not fail is there."""
    try:
        return has_record(path) and read_record(path).status == "ok"
    except Exception:  # unreadable: nothing to keep
        return False


def find_failed(cells: Sequence[Cell], folder: Path) -> list[Cell]:
    """Return the cells that failed when they were last run, or an attack on them did; UserError where none
    did."""
    found = [cell for cell in cells if has_failed(folder, cell.stem)]
    if not found:
        raise UserError(f"--only-failures: no run of these cells failed in {folder}")
    return found


def has_failed(folder: Path, stem: str) -> bool:
    """Return whether a cell, or an attack on it, failed when it was last run: its repeat too, where a good
    record stayed."""
    if find_trace(folder, stem).is_file() or any((folder / ATTACKED / TRACES).glob(f"{stem}.*.txt")):
        return True
    path = folder / f"{stem}.json"
    try:
        return has_record(path) and read_record(path).status == "failed"
    except Exception:  # unreadable: it is measured again
        return True


def find_trace(folder: Path, stem: str) -> Path:
    """Return the file that holds, or will hold, the traceback of a record's cell."""
    return folder / TRACES / f"{stem}.txt"


def find_failure(folder: Path, stem: str) -> Path:
    """Return the file that says why a cell, or an attack on one, failed."""
    attacked = find_trace(folder / ATTACKED, stem)
    return attacked if attacked.is_file() else find_trace(folder, stem)
