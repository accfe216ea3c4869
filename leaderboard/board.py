"""Methods over concepts: each one's AVA from its item rows, and paired comparisons with a rival."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np

from ..bench.records import Record
from ..bench.stats.compare import Comparison, compare, detectable_difference, holm, t_interval
from ..bench.stats.frontier import LEVELS, Frontier, measure_frontier
from ..bench.store import content_key
from .load import Loaded
from .rank import score_half

HALVES = ("A", "B")
NAMES = ("UA", "VA", "in_prompt")
FEWEST_CONCEPTS = 6
"""With fewer concepts no sign-flip test can reach .05: 2^(1-5) = .0625. Such a board ranks nothing."""


@dataclass(frozen=True)
class Result:
    """A method on one concept: its frontier, or why there is none."""

    method: str
    task: str
    seeds: tuple[int, ...]
    points: int
    frontier: Frontier | None
    missing: str | None = None


@dataclass(frozen=True)
class Line:
    """A method over its concepts. low, high: 95 % t interval over concepts, None with fewer than two."""

    method: str
    concepts: int
    lacking: tuple[str, ...]
    ava: float
    low: float | None
    high: float | None
    reach: float
    in_prompt: float | None


@dataclass(frozen=True)
class Duel:
    """first - second over the concepts that both have. adjusted: Holm's p over all duels but the primary."""

    first: str
    second: str
    primary: bool
    comparison: Comparison
    adjusted: float
    detectable: float


def collect(loaded: Iterable[Loaded]) -> list[Result]:
    """Return every method's result on every evaluated concept, by method and task.

    A method's points are all its saved steps under all its configurations, each averaged over seeds.
    References, tuning concepts and reported numbers stay out.
    """
    counted = [entry for entry in loaded if _counts(entry.record)]
    counted.sort(key=_group)
    return [_measure(method, task, list(entries)) for (method, task), entries in groupby(counted, _group)]


def _counts(record: Record) -> bool:
    return record.source == "measured" and record.task.role == "evaluated" and not record.method.reference


def _group(entry: Loaded) -> tuple[str, str]:
    data = "" if entry.record.data == "diverse" else f" ({entry.record.data} data)"
    return entry.record.method.name + data, entry.record.task.id


def _measure(method: str, task: str, entries: list[Loaded]) -> Result:
    seeds = tuple(sorted({entry.record.seed for entry in entries}))
    runs: dict[tuple[int, str], dict[int, np.ndarray]] = {}
    trouble = None
    for entry in entries:
        if entry.record.status == "failed" or entry.items is None:
            trouble = f"seed {entry.record.seed} failed: {entry.record.error or 'no item rows'}"
            continue
        for position, point in enumerate(entry.record.points):
            place = runs.setdefault((point.step, content_key(entry.record.method.config)), {})
            place[entry.record.seed] = _read_point(entry, position)
    uneven = [step for (step, _), found in runs.items() if tuple(sorted(found)) != seeds]
    if trouble is None and uneven:
        trouble = f"step {uneven[0]} lacks a seed of {', '.join(map(str, seeds))}"
    if trouble is not None:
        return Result(method, task, seeds, len(runs), None, trouble)
    # points in the order of their cost: ties go to fewer steps
    means = np.stack([np.mean(list(found.values()), axis=0) for _, found in sorted(runs.items())], axis=2)
    try:
        return Result(method, task, seeds, len(runs), measure_frontier(*means))
    except ValueError as error:
        return Result(method, task, seeds, len(runs), None, str(error))


def _read_point(entry: Loaded, position: int) -> np.ndarray:
    """Return (3, 2): UA, VA and in-prompt alignment of a point on both halves; NaN = missing."""
    assert entry.items is not None
    halves = [score_half(entry.record, entry.items, position, half) for half in HALVES]
    values = [[half[name].value for half in halves] for name in NAMES]
    return np.array([[np.nan if v is None else v for v in row] for row in values])


def summarise(results: Sequence[Result]) -> list[Line]:
    """Return a line for each method, by name: nothing here is ranked."""
    return [_line(method, list(rows)) for method, rows in groupby(results, lambda r: r.method)]


def _line(method: str, rows: list[Result]) -> Line:
    found = [row.frontier for row in rows if row.frontier is not None]
    lacking = tuple(f"{row.task}: {row.missing}" for row in rows if row.frontier is None)
    if not found:
        return Line(method, 0, lacking, float("nan"), None, None, float("nan"), None)
    values = [frontier.ava for frontier in found]
    low, high = t_interval(values) if len(values) > 1 else (None, None)
    other = [frontier.in_prompt for frontier in found if frontier.in_prompt is not None]
    return Line(
        method,
        len(found),
        lacking,
        float(np.mean(values)),
        low,
        high,
        float(np.mean([frontier.reach for frontier in found])),
        float(np.mean(other)) if other else None,
    )


def duel(results: Sequence[Result], rival: str, primary: str = "balanced") -> list[Duel]:
    """Compare every method with a rival on the concepts that both have; `primary` was stated beforehand."""
    values: dict[str, dict[str, float]] = {}
    for row in results:
        if row.frontier is not None:
            values.setdefault(row.method, {})[row.task] = row.frontier.ava
    met = [(name, *_paired(values[name], values[rival])) for name in sorted(values) if name != rival]
    met = [entry for entry in met if len(entry[1]) > 1]
    found = {name: compare(first, second) for name, first, second in met}
    others = [name for name in found if name != primary]
    adjusted = dict(zip(others, holm([found[name].p for name in others]), strict=True)) if others else {}
    return [
        Duel(
            name,
            rival,
            name == primary,
            found[name],
            float(adjusted.get(name, found[name].p)),
            detectable_difference(float(np.std(first - second, ddof=1)), len(first)),
        )
        for name, first, second in met
    ]


def _paired(first: Mapping[str, float], second: Mapping[str, float]) -> tuple[np.ndarray, np.ndarray]:
    both = sorted(first.keys() & second.keys())
    return np.array([first[task] for task in both]), np.array([second[task] for task in both])


def describe_levels() -> str:
    """Return the levels of UA that AVA averages over, as prose."""
    return f"UA ≥ {LEVELS[0]:.2f} to {LEVELS[-1]:.2f} in {len(LEVELS)} steps"
