"""The table of a board: its columns as data, its rows in bands. Pages and exports write it."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from ...bench.types import Headline
from .attacked import ATTACK_COLUMNS
from .board_columns import BOARD, FIRST, Around, BoardColumn, Cell, of_value
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


def _read_ava(row: BoardRow, around: Around) -> Cell:
    """Return the cell of the number that orders the board, with the number of concepts where some lack."""
    line = row.summary
    if line is None:
        return Cell(missing="claimed, and not run again") if row.role == "method" else Cell()
    cell = _OWN["AVA"].read(row, around)
    return replace(cell, small=f"{line.concepts} of {around.tasks} concepts") if line.lacking else cell


def _read_in_prompt(row: BoardRow, around: Around) -> Cell:
    line = row.summary
    if line is None or not line.concepts:
        return Cell()
    if line.in_prompt is None:
        return Cell(missing="the prompts ask for nothing but the target")
    return Cell(f"{line.in_prompt:.2f}", line.in_prompt)


_OWN = {column.name: column for column in BOARD}
AVA_FIRST = ("UA", "VA", "in_prompt", "KID", "seconds")
"""Value columns that are shown at first on a board that AVA orders."""
AVA_BOARD = (
    replace(
        _OWN["AVA"],
        definition="Alignment along the frontier, which orders the board: the mean of VA over fixed levels "
        "of UA, where a level that no point reaches counts 0; chosen on one half of the prompts, read on the "
        "other; then a mean over concepts. Below it the 95 % t interval over concepts, cut at 0 and 1.",
        read=_read_ava,
    ),
    replace(
        _OWN["place"],
        definition="The places that a row may hold: the data cannot tell it from rows whose places overlap "
        "its own (sign-flip test over concepts, Holm's correction over all pairs of ranked rows).",
    ),
    BoardColumn(
        "in_prompt_at_AVA",
        "in-prompt at AVA",
        "In-prompt alignment at the points that AVA chose: the share of asked attributes other than the "
        "target's kind that images for the target's prompts still show. It counts the same zeros as AVA.",
        _read_in_prompt,
    ),
    *(column for column in BOARD if column.name in ("UA_attacked", *(c.name for c in ATTACK_COLUMNS))),
    _OWN["reach"],
    _OWN["ties"],
    replace(
        _OWN["H_claimed"],
        name="AVA_claimed",
        title="claimed AVA",
        definition="AVA of item rows that others reported and nobody has run again: shown, never ranked.",
    ),
)
"""The columns before those of values on a board that AVA orders."""


def make_standings(
    rows: Iterable[BoardRow], columns: Sequence[Column], around: Around, headline: Headline = "H"
) -> Standings:
    """Return the table of rows, which come best first. columns: of the values of their shown points."""
    own, first = (BOARD, FIRST) if headline == "H" else (AVA_BOARD, AVA_FIRST)
    known = (*own, *(of_value(column, first) for column in columns))
    used = tuple(column for column in known if column.is_there(around))
    lines = [Line(row, tuple(column.read(row, around) for column in used)) for row in rows]
    return Standings(used, {band: tuple(x for x in lines if find_band(x.row) == band) for band in BANDS})


def find_band(row: BoardRow) -> Band:
    """Return the band in which a row stands."""
    if row.role != "method" or row.is_control:
        return "reference"
    return "ranked" if row.is_ranked and row.standing is not None else "not ranked"
