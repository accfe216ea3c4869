"""The table of a board that H orders: its columns as data, its rows in bands. Pages and exports write it."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from .board_columns import BOARD, Around, BoardColumn, Cell, of_value
from .board_rows import BoardRow
from .columns import Column

Band = Literal["ranked", "not ranked", "reference"]
BANDS: Mapping[Band, str] = {
    "ranked": "Ranked methods, best first",
    "not ranked": "Not ranked: a concept is missing, or nobody here can run it again",
    "reference": "References and controls: the model itself, retrained models, updates that forget nothing",
}


@dataclass(frozen=True)
class Line:
    """One row of the table, with a cell for each column."""

    row: BoardRow
    cells: tuple[Cell, ...]


@dataclass(frozen=True)
class Standings:
    """The table: its columns, and its rows by band, each band in its own order."""

    columns: tuple[BoardColumn, ...]
    bands: Mapping[Band, tuple[Line, ...]]

    @property
    def groups(self) -> list[str]:
        """The groups of columns that a reader may open, in order."""
        return list(dict.fromkeys(column.group for column in self.columns if column.group))

    @property
    def kinds(self) -> list[str]:
        """The kinds of the methods in the table, in order; rows of unknown kind are `other`."""
        found = {line.row.kind or "other" for band in ("ranked", "not ranked") for line in self.bands[band]}
        return [kind for kind in (*KIND_ORDER, "other") if kind in found]


KIND_ORDER = ("trained", "closed form", "adapter", "sampling time")


def make_standings(rows: Iterable[BoardRow], columns: Sequence[Column], around: Around) -> Standings:
    """Return the table of rows, which come best first. columns: of the values of their shown points."""
    known = (*BOARD, *(of_value(column) for column in columns))
    used = tuple(column for column in known if column.is_there(around))
    lines = [Line(row, tuple(column.read(row, around) for column in used)) for row in rows]
    return Standings(used, {band: tuple(x for x in lines if find_band(x.row) == band) for band in BANDS})


def find_band(row: BoardRow) -> Band:
    """Return the band in which a row stands."""
    if row.role != "method" or row.is_control:
        return "reference"
    return "ranked" if row.is_ranked and row.by_h is not None else "not ranked"
