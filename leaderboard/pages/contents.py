"""What pages are made of: the records of some folders, what lies next to them, and what follows from both."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from ...bench.measuring.pool import read_pooled
from ...bench.records.load import Loaded, RecordFolder, join_records, read_folders
from ...bench.types import Value
from ..plots.scatter import SeriesStyle, assign_styles, name_styles
from ..ranking.claims import Beside, read_beside
from ..ranking.task_rows import TaskRow, rows
from .scopes import Division, Scope, divide, make_scope, make_scopes


@dataclass(frozen=True)
class Contents:
    """Everything that pages show. beside: claims, and statements about records."""

    folders: Mapping[Path, RecordFolder]
    records: tuple[Loaded, ...]
    beside: Beside

    @cached_property
    def entries(self) -> list[Loaded]:
        """The records and the claims that are not among them."""
        names = {entry.name for entry in self.records}
        return [*self.records, *(entry for entry in self.beside.claimed if entry.name not in names)]

    @cached_property
    def rows(self) -> list[TaskRow]:
        """One row for each entry."""
        return rows(self.entries)

    @cached_property
    def divisions(self) -> list[Division]:
        """The evaluated entries by world and base model."""
        return divide(self.entries)

    @cached_property
    def styles(self) -> dict[str, SeriesStyle]:
        """How each method and each row of a board is drawn."""
        names = {entry.row for division in self.divisions for entry in division.entries}
        return name_styles(assign_styles(self.rows), sorted(names))

    @cached_property
    def scopes(self) -> list[Scope]:
        """Every choice of a site's filter."""
        return [
            scope
            for division in self.divisions
            for scope in make_scopes(division, self.styles, self._pooled_of(division))
        ]

    @cached_property
    def board(self) -> tuple[Division, Scope] | None:
        """The one scope of a single page; None where records of two or more evaluated concepts of one world
        and base model are lacking, or there are records of several."""
        measured = [p for p in self.divisions if any(e.record.source == "measured" for e in p.entries)]
        if len(measured) != 1:
            return None
        scope = make_scope(measured[0], "", self.styles, self._pooled_of(measured[0]))
        return (measured[0], scope) if len(scope.tasks) > 1 else None

    def _pooled_of(self, division: Division) -> dict[str, dict[str, Value]]:
        """Return the pooled values of the folders that hold records of a part."""
        names = {entry.name for entry in division.entries}
        held = {path: {e.name for e in (*f.records, *f.claimed)} for path, f in self.folders.items()}
        return read_pooled_values([path for path, own in held.items() if own & names])


def read_contents(folders: Path | Sequence[Path]) -> Contents:
    """Read folders of records, each file once.

    Raises UserError naming file and field where a record or a statement is broken, or two folders contradict
    each other.
    """
    read = read_folders([folders] if isinstance(folders, Path) else folders)
    records = join_records(read)
    return Contents(read, tuple(records), read_beside(read, records))


def read_pooled_values(folders: Sequence[Path]) -> dict[str, dict[str, Value]]:
    """Return the pooled values of folders, by metric and row; where several have one, the first folder's."""
    values: dict[str, dict[str, Value]] = {}
    for folder in reversed(folders):
        found = read_pooled(folder)
        for metric, own in ({} if found is None else found.by_metric).items():
            values.setdefault(metric, {}).update(own)
    return values
