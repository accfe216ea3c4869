"""The columns of a board, as data: what each reads from a row."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from ...bench.types import Value
from .attacked import ATTACK_COLUMNS, AttackReport
from .board import MethodSummary
from .board_rows import BoardRow
from .columns import Column, write_interval, write_number, write_value
from .equal_ua import EqualUa
from .h_score import HLine

FIRST = ("seconds",)
"""Value columns that are shown at first, after those of BOARD."""


@dataclass(frozen=True)
class Cell:
    """One cell. text: as pages write it. number: in full, for sorting and exports; low, high: its interval.

    small: what stands below the text. missing: why there is no number, "" where none belongs there.
    """

    text: str = ""
    number: float | None = None
    low: float | None = None
    high: float | None = None
    small: str = ""
    missing: str = ""


@dataclass(frozen=True)
class Around:
    """What columns need beside the row. attacks: (UA under attack, concepts attacked) by row.

    ranks: (first, last) place by row. tasks: number of concepts of the board. rival: of `equal_ua`. attacked:
    what attacks brought back on those concepts.
    """

    ranks: Mapping[str, tuple[int, int]]
    claimed: Mapping[str, MethodSummary | HLine]
    equal_ua: Mapping[str, EqualUa]
    attacks: Mapping[str, tuple[float, int]]
    tasks: int
    rival: str
    attacked: AttackReport = field(default_factory=AttackReport)


@dataclass(frozen=True)
class BoardColumn:
    """One column. group: "" = shown at first; a reader opens the others by their group.

    read: the row's cell. is_there: whether the table has the column.
    """

    name: str
    title: str
    definition: str
    read: Callable[[BoardRow, Around], Cell]
    direction: Literal["up", "down", ""] = "up"
    group: str = ""
    is_there: Callable[[Around], bool] = field(default=lambda around: True)


def _share(number: float, low: float | None = None, high: float | None = None, digits: int = 2) -> Cell:
    small = "" if low is None or high is None else f"{low:.{digits}f}–{high:.{digits}f}"
    return Cell(f"{number:.{digits}f}", number, low, high, small)


def _part(name: str) -> Callable[[BoardRow, Around], Cell]:
    """Return the reader of a part of H, a mean over concepts where H was read."""

    def read(row: BoardRow, around: Around) -> Cell:
        if row.by_h is None or not row.by_h.concepts:
            return Cell()
        number = getattr(row.by_h, name)
        return (
            Cell(missing="the prompts ask for nothing but the target") if number is None else _share(number)
        )

    return read


def _h(row: BoardRow, around: Around) -> Cell:
    line = row.by_h
    if line is None:
        return Cell(missing="claimed, and not run again" if row.role == "method" else "no H")
    if not line.concepts:
        return Cell(missing=line.lacking[0])
    cell = _share(line.h, line.low, line.high, 3)
    if not line.lacking:
        return cell
    return Cell(cell.text, cell.number, cell.low, cell.high, f"{line.concepts} of {around.tasks} concepts")


def _place(row: BoardRow, around: Around) -> Cell:
    held = around.ranks.get(row.name)
    if held is None:
        return Cell()
    text = str(held[0]) if held[0] == held[1] else f"{held[0]}–{held[1]}"
    return Cell(text, held[0], held[0], held[1])


def _equal_ua(row: BoardRow, around: Around) -> Cell:
    found = around.equal_ua.get(row.name)
    if found is None or row.role != "method":
        return Cell()
    if found.difference is None:
        return Cell(missing=f"no concept on which both reach a level (reach {found.reach:.2f})")
    small = f"on {found.concepts} of {around.tasks}, reach {found.reach:.2f}"
    return Cell(write_number(found.difference, "signed"), found.difference, found.low, found.high, small)


def _ava(row: BoardRow, around: Around) -> Cell:
    line = row.summary
    if line is None:
        return Cell()
    if not line.concepts:
        return Cell(missing=line.lacking[0])
    return _share(line.ava, line.low, line.high, 3)


def _reach(row: BoardRow, around: Around) -> Cell:
    return Cell() if row.summary is None or not row.summary.concepts else _share(row.summary.reach)


def _ties(row: BoardRow, around: Around) -> Cell:
    return Cell(", ".join(row.tied) or "none") if row.name in around.ranks else Cell()


def _attacked(row: BoardRow, around: Around) -> Cell:
    found = around.attacks.get(row.name)
    if found is None:
        return Cell()
    return Cell(f"{found[0]:.2f}", found[0], small=f"{found[1]} of {row.concepts} concepts")


def _brought_back(column: Column) -> BoardColumn:
    """Return the column of a value of the attacks that were run here."""

    def read(row: BoardRow, around: Around) -> Cell:
        [found] = around.attacked.summarise([row.name])
        cell, attacked = _cell(found.values[column.name], column), len(around.attacked.models)
        if cell.missing or attacked == around.tasks:
            return cell
        return replace(cell, small=f"{cell.small} on {attacked} of {around.tasks} concepts".strip())

    return BoardColumn(
        column.name,
        column.title,
        column.definition,
        read,
        column.direction,
        is_there=lambda around: around.attacked.has_value(column.name),
    )


def _claimed(row: BoardRow, around: Around) -> Cell:
    line = around.claimed.get(row.name)
    if line is None:
        return Cell()
    if not line.concepts:
        return Cell(missing=line.lacking[0])
    small = f"{line.concepts} concept{'' if line.concepts == 1 else 's'}"
    return Cell(f"{line.value:.3f}", line.value, small=small)


def _runs(row: BoardRow, around: Around) -> Cell:
    return Cell() if row.by_h is None else Cell(str(row.by_h.runs), row.by_h.runs)


BOARD = (
    BoardColumn(
        "H",
        "H",
        "The harmonic mean of UA, alignment and in-prompt alignment, which orders the board. In each "
        "training run, each half of the prompts chooses the point of highest H, and H is read on the "
        "other half; then a mean over runs and concepts. Below it the 95 % interval over concepts "
        "(Gaffke's bounds at half weight).",
        _h,
    ),
    BoardColumn(
        "place",
        "place",
        "The places that a row may hold: the data cannot tell it from rows whose places overlap its own "
        "(sign-flip test over concepts, Holm's correction over the row's comparisons, and the guard).",
        _place,
        "down",
        is_there=lambda around: bool(around.ranks),
    ),
    BoardColumn(
        "UA_at_H",
        "UA",
        "Unlearning accuracy where H was read: the share of images for the target's prompts in which the "
        "judge does not find the target.",
        _part("ua"),
    ),
    BoardColumn(
        "alignment_at_H",
        "alignment",
        "Where H was read: the share of the prompt's attributes found in the image, on prompts of "
        "concepts that the method never got. Where no judge verifies them, the alignment score above "
        "chance, relative to the base model's.",
        _part("alignment"),
    ),
    BoardColumn(
        "in_prompt_at_H",
        "in-prompt",
        "Where H was read: the share of asked attributes other than the target's kind that images for the "
        "target's prompts still show. Garbage loses here.",
        _part("in_prompt"),
    ),
    BoardColumn(
        "UA_attacked",
        "UA under attack",
        "UA under the strongest attacks that others ran: the lowest of each attacked concept, averaged; "
        "never above UA.",
        _attacked,
        is_there=lambda around: bool(around.attacks),
    ),
    *(_brought_back(column) for column in ATTACK_COLUMNS),
    BoardColumn(
        "VA_at_equal_UA",
        "ΔVA at equal UA",
        "Alignment minus that of the rival of the declared comparison (gradient_sum), over the levels of "
        "UA that both reach, and the concepts on which they do. It is a number of two methods: it orders "
        "nothing.",
        _equal_ua,
        is_there=lambda around: bool(around.equal_ua),
    ),
    BoardColumn(
        "AVA",
        "AVA",
        "Alignment along the frontier, the number of the first board: the mean of VA over fixed levels of "
        "UA, where a level that no point reaches counts 0. 95 % t interval.",
        _ava,
    ),
    BoardColumn(
        "runs",
        "runs",
        "Training runs on each concept, the fewest of any.",
        _runs,
        "",
        "Frontier",
    ),
    BoardColumn(
        "reach",
        "reach",
        "Share of AVA's levels of UA that a point reached.",
        _reach,
        "up",
        "Frontier",
    ),
    BoardColumn(
        "ties",
        "not told from",
        "The rows that the data cannot tell from this one.",
        _ties,
        "",
        "Frontier",
        is_there=lambda around: bool(around.ranks),
    ),
    BoardColumn(
        "H_claimed",
        "claimed H",
        "H of item rows that others reported and nobody has run again: shown, never ranked.",
        _claimed,
        "up",
        "Claimed",
        lambda around: bool(around.claimed),
    ),
)
"""The columns before those of values. A column more is an entry more."""


def of_value(column: Column, first: Collection[str] = FIRST) -> BoardColumn:
    """Return the column of a value of the shown points. first: the columns that are shown at first."""

    def read(row: BoardRow, around: Around) -> Cell:
        return _cell(row.value(column.name), column)

    group = "" if column.name in first else column.group
    definition = f"At the shown point. {column.definition}"
    return BoardColumn(column.name, column.title, definition, read, column.direction, group)


def _cell(value: Value, column: Column) -> Cell:
    if value.value is None:
        return Cell(missing=value.missing or "no reason recorded")
    text, small = write_value(value, column.style), write_interval(value, column.style)
    return Cell(text, value.value, value.low, value.high, small)
