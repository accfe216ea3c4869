"""Rows of the board: each method's AVA with its ties, and the other values of its shown point."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from ...bench.records.load import Loaded
from ...bench.records.record import PointInfo
from ...bench.stats.compare import compare, holm, t_interval, tie_groups
from ...bench.store import content_key
from ...bench.types import Value, missing
from .board import MethodSummary, Result, find_ranked, find_tasks, summarise
from .columns import COLUMNS, COSTS
from .declared import CONTROLS
from .h_score import HLine, HResult, find_complete, summarise_h, tied_by_h
from .kinds import kind_of, origin_of
from .task_rows import Role, choose, find_role

LEVEL = 0.05


@dataclass(frozen=True)
class BoardRow:
    """One method's row on the board.

    values: of the points that it shows, averaged over seeds and then over concepts, with t intervals over
    concepts. summary: its AVA; None for references and the noise floor. tied: rows that it ties with. by_h:
    its H on a board that H orders, None on others. kind, origin: see `kinds.py`. paper: of the method.
    """

    name: str
    role: Role
    summary: MethodSummary | None
    tied: tuple[str, ...]
    values: Mapping[str, Value]
    concepts: int
    is_ranked: bool = True  # measured on exactly the board's concepts, and no control
    by_h: HLine | None = None
    is_control: bool = False
    kind: str = ""
    origin: str = ""
    paper: str = ""

    @property
    def standing(self) -> HLine | MethodSummary | None:
        """The number that orders the board, with its interval; None where the row has none."""
        return self.by_h or self.summary

    def value(self, name: str) -> Value:
        """Return the value under a name; what the records lack is missing, with that reason."""
        return self.values.get(name) or missing("not measured in these records")


def make_board_rows(
    loaded: Sequence[Loaded], results: Sequence[Result], by_h: Sequence[HResult] | None = None
) -> list[BoardRow]:
    """Return the board's rows: references, noise floor, then methods by the headline.

    by_h: H of every method and concept where H orders the board; None: AVA does. A method that lacks a
    concept comes after those that have all, because its mean is over other concepts.
    """
    evaluated = [e for e in loaded if e.record.source == "measured" and e.record.task.role == "evaluated"]
    ties = tied_methods(results) if by_h is None else tied_by_h(by_h)
    summaries = {line.method: line for line in summarise(results)}
    lines = {line.method: line for line in summarise_h(by_h or [])}
    grouped: dict[str, list[Loaded]] = {}
    for entry in evaluated:
        grouped.setdefault(entry.row, []).append(entry)
    ranked = find_ranked(results) if by_h is None else find_complete(by_h)
    rows = [
        _make_board_row(name, entries, summaries, lines, ties, name in ranked)
        for name, entries in grouped.items()
    ]
    concepts = len(find_tasks(results))
    return sorted(rows, key=lambda row: _order(row, concepts))


def _order(row: BoardRow, concepts: int) -> tuple[int, bool, float, str]:
    place = ("reference", "noise floor", "method").index(row.role)
    found = row.standing.concepts if row.standing is not None else 0
    value = row.standing.value if row.standing is not None and found else -1.0
    return (place, found < concepts, -value, row.name)


def _make_board_row(
    name: str,
    entries: list[Loaded],
    summaries: Mapping[str, MethodSummary],
    lines: Mapping[str, HLine],
    ties: Mapping[str, Sequence[str]],
    is_ranked: bool,
) -> BoardRow:
    record = entries[0].record
    role = find_role(record)
    concepts = {entry.record.task.id for entry in entries}
    return BoardRow(
        name=name,
        role=role,
        summary=summaries.get(name) if role == "method" else None,
        tied=tuple(other for other in ties.get(name, ()) if other != name),
        values=average_values(entries),
        concepts=len(concepts),
        is_ranked=is_ranked,
        by_h=lines.get(name),
        is_control=record.method.name in CONTROLS,
        kind=kind_of(record),
        origin=origin_of(entries),
        paper=record.method.paper,
    )


def tied_methods(results: Sequence[Result]) -> dict[str, list[str]]:
    """Return, for each ranked method, the methods that the data cannot tell from it.

    Sign-flip test with Holm's correction over all pairs of ranked methods. Controls and rows of other
    concepts take no part. Two methods that share fewer than two concepts tie.
    """
    avas: dict[str, dict[str, float]] = {}
    ranked = find_ranked(results)
    for row in results:
        if row.frontier is not None and row.method in ranked:
            avas.setdefault(row.method, {})[row.task] = row.frontier.ava
    found = {}
    for first, second in combinations(sorted(avas), 2):
        both = sorted(avas[first].keys() & avas[second].keys())
        if len(both) > 1:
            left, right = ([avas[name][task] for task in both] for name in (first, second))
            found[first, second] = compare(left, right).p
    adjusted = dict(zip(found, holm(list(found.values())), strict=True)) if found else {}
    means = {name: float(np.mean(list(values.values()))) for name, values in avas.items()}
    return tie_groups(means, {pair: bool(p < LEVEL) for pair, p in adjusted.items()})


def shown_point(entry: Loaded, configs: int) -> PointInfo | None:
    """Return the point of a record that a board shows: chosen beforehand, else by half A.

    None where another configuration was chosen, or several were declared and none was chosen.
    """
    points = entry.record.points
    chosen = [point for point in points if point.shown]
    if chosen or not points or configs > 1:
        return chosen[0] if chosen else None
    return points[choose(entry).position]


def count_configs(entries: Sequence[Loaded]) -> int:
    """Return how many configurations were declared for a row.

    A reference counts as one: the configuration of `retrain` depends on the task.
    """
    if all(entry.record.method.reference for entry in entries):
        return 1
    return len({content_key(entry.record.method.config) for entry in entries})


def shown_points(entries: Iterable[Loaded]) -> list[tuple[Loaded, PointInfo]]:
    """Return the shown points of a method's records."""
    found = list(entries)
    configs = count_configs(found)
    pairs = [(entry, shown_point(entry, configs)) for entry in found]
    return [(entry, point) for entry, point in pairs if point is not None]


def average_values(entries: Sequence[Loaded]) -> dict[str, Value]:
    """Return each value of the shown points, averaged over seeds and then over concepts."""
    tasks = sorted({entry.record.task.id for entry in entries})
    failed = sorted({e.record.task.id for e in entries if e.record.status == "failed"})
    shown = shown_points(entries)
    names = [column.name for column in COLUMNS]
    extra = sorted({name for _, point in shown for name in point.values} - set(names))
    return {name: _average(name, tasks, failed, shown) for name in [*names, *extra]}


def _average(
    name: str, tasks: Sequence[str], failed: Sequence[str], shown: Sequence[tuple[Loaded, PointInfo]]
) -> Value:
    by_task: dict[str, list[float | None]] = {task: [] for task in tasks}
    reasons: dict[str, str] = dict.fromkeys(failed, "a run failed")
    images = 0
    for entry, point in shown:
        number, n, reason = _read(name, point)
        by_task[entry.record.task.id].append(number)
        images += n
        if reason:
            reasons[entry.record.task.id] = reason
    asked = [task for task in tasks if by_task[task] or task in failed]
    # Only categories have indirect prompts; the value of other concepts is not missing.
    asked = [task for task in asked if not reasons.get(task, "").startswith("no indirect")]
    if not asked:
        return missing(next(iter(reasons.values()), "no point was chosen to be shown"))
    if any(task in reasons for task in asked):
        bad = [task for task in asked if task in reasons]
        return missing(f"on {len(bad)} of {len(asked)} concepts: {reasons[bad[0]]}", images)
    means = [float(np.mean([v for v in by_task[task] if v is not None])) for task in asked]
    low, high = t_interval(means) if len(means) > 1 else (None, None)
    return Value(value=float(np.mean(means)), low=_clip(name, low), high=_clip(name, high), n=images)


_SHARES = frozenset(column.name for column in COLUMNS if column.style == "share")


def _clip(name: str, end: float | None) -> float | None:
    """Return an end of an interval cut to what is possible: shares from 0 to 1, costs from 0."""
    if end is not None and name in COSTS:
        return max(0.0, end)
    return min(1.0, max(0.0, end)) if end is not None and name in _SHARES else end


def _read(name: str, point: PointInfo) -> tuple[float | None, int, str]:
    """Return (number, images, reason why there is none)."""
    if name in COSTS:
        cost = point.cost.read(name)
        return (None, 0, "not recorded") if cost is None else (float(cost), 0, "")
    value = point.values.get(name) or missing("not measured in this record")
    return value.value, value.n, value.missing or ""
