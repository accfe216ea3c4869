"""AVA of every method over concepts, from item rows, and paired comparisons with a rival."""

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

import numpy as np

from ...bench.errors import UserError
from ...bench.records.load import Loaded
from ...bench.stats.compare import Comparison, compare, detectable_difference, holm, t_interval
from ...bench.stats.frontier import LEVELS, Frontier, measure_frontier
from .declared import MethodPoints, read_method_points

FEWEST_CONCEPTS = 6
"""Minimum number of concepts of a ranking. With five, the least p of a sign-flip test is 2^(1-5) = .0625."""
UNKNOWN = "not recorded"
"""Base model of a task without a record of `none`, where the other tasks do not determine it."""
PRIMARY, RIVAL = "balanced", "gradient_sum"
"""The comparison that was stated beforehand; every other one is exploratory."""


def find_row(names: Collection[str], method: str) -> str:
    """Return the row of a method: its own name or, where it has only other training data here, that row's.

    What was declared of a method was not declared of it with other data.
    """
    with_data = [name for name in names if re.fullmatch(rf"{re.escape(method)} \([a-z0-9-]+ data\)", name)]
    return with_data[0] if method not in names and len(with_data) == 1 else method


@dataclass(frozen=True)
class Result:
    """A method on one concept: its frontier, or why there is none."""

    method: str
    task: str
    seeds: tuple[int, ...]
    points: int
    frontier: Frontier | None
    missing: str | None = None
    is_home: bool = True  # whether it comes from the board's own source
    is_control: bool = False


@dataclass(frozen=True)
class MethodSummary:
    """A method over its concepts. low, high: 95 % t interval over concepts, cut at 0 and 1, beyond which no
    AVA is; None with fewer than two."""

    method: str
    concepts: int
    lacking: tuple[str, ...]
    ava: float
    low: float | None
    high: float | None
    reach: float
    in_prompt: float | None

    @property
    def value(self) -> float:
        """The number that orders a board."""
        return self.ava


@dataclass(frozen=True)
class PairedComparison:
    """first - second over the concepts that both have. adjusted: Holm's p over the comparisons of
    ranked methods except the primary one; None for controls and for rows that lack a concept.
    """

    first: str
    second: str
    primary: bool
    comparison: Comparison
    adjusted: float | None
    detectable: float


def list_worlds(loaded: Iterable[Loaded]) -> list[str]:
    """Return the worlds of the evaluated concepts, with the base model where a world has several.

    An AVA over two worlds or two base models would have no meaning.
    """
    counted = [entry for entry in loaded if entry.record.task.role == "evaluated"]
    bases = find_bases(counted)
    places = {(entry.record.task.world, bases[entry.record.task.id]) for entry in counted}
    worlds = [world for world, _ in places]
    return sorted(w if worlds.count(w) == 1 else f"{w} (base model {base})" for w, base in places)


def find_bases(entries: Iterable[Loaded]) -> dict[str, str]:
    """Return the short fingerprint of the base model by task: of the model that drew the images of `none`.

    A task without a record of `none` takes the base model on which all other tasks of its world agree. Claims
    do not count. Raises UserError where a task has records of `none` of two models: no record says which of
    them its method was run on.
    """
    found: dict[str, str] = {}
    worlds = {}
    for record in (entry.record for entry in entries):
        worlds[record.task.id] = record.task.world
        if record.method.is_base and record.source == "measured" and record.points:
            base = record.points[0].fingerprint[:12]
            if found.setdefault(record.task.id, base) != base:
                raise UserError(
                    f"{record.task.id}: `none` is of two base models, {found[record.task.id]} and {base}; "
                    "keep their records in folders apart, and compare each"
                )
    known: dict[str, set[str]] = {}
    for task, base in found.items():
        known.setdefault(worlds[task], set()).add(base)
    only = {world: next(iter(bases)) for world, bases in known.items() if len(bases) == 1}
    return {task: found.get(task, only.get(world, UNKNOWN)) for task, world in worlds.items()}


def collect(loaded: Iterable[Loaded]) -> list[Result]:
    """Return every method's result on every evaluated concept, by method and task.

    A method's points are all its saved steps under all its configurations, each averaged over seeds.
    References, tuning concepts and reported numbers are left out.
    """
    return [measure(group) for group in read_method_points(loaded)]


def measure(group: MethodPoints) -> Result:
    """Return the frontier of a group's points; a point without a value makes it missing."""
    result = Result(
        group.method,
        group.task,
        group.seeds,
        len(group.points),
        None,
        group.missing,
        group.is_home,
        group.is_control,
    )
    if group.missing is not None:
        return result
    try:
        ua, va, in_prompt = np.stack([point.halves for point in group.points], axis=2)
        # prompts that ask for the target and nothing else have no in-prompt alignment at any point
        frontier = measure_frontier(ua, va, None if np.isnan(in_prompt).all() else in_prompt)
    except ValueError as error:
        return replace(result, missing=str(error))
    return replace(result, frontier=frontier)


def find_tasks(results: Iterable[Result]) -> frozenset[str]:
    """Return the concepts of a board: those of its own source. Added records add no concept."""
    rows = list(results)
    return frozenset(row.task for row in rows if row.is_home) or frozenset(row.task for row in rows)


def find_ranked(results: Iterable[Result]) -> frozenset[str]:
    """Return the methods that a board ranks: measured on exactly its concepts, and no controls."""
    rows = list(results)
    tasks = find_tasks(rows)
    found: dict[str, set[str]] = {}
    for row in rows:
        if row.frontier is not None and not row.is_control:
            found.setdefault(row.method, set()).add(row.task)
    return frozenset(method for method, own in found.items() if own == tasks)


def summarise(results: Sequence[Result]) -> list[MethodSummary]:
    """Return a summary of each method, in the order of their names."""
    return [_summarise(method, list(rows)) for method, rows in groupby(results, lambda r: r.method)]


def _summarise(method: str, rows: list[Result]) -> MethodSummary:
    found = [row.frontier for row in rows if row.frontier is not None]
    lacking = tuple(f"{row.task}: {row.missing}" for row in rows if row.frontier is None)
    if not found:
        return MethodSummary(method, 0, lacking, float("nan"), None, None, float("nan"), None)
    values = [frontier.ava for frontier in found]
    low, high = np.clip(t_interval(values), 0, 1).tolist() if len(values) > 1 else (None, None)
    other = [frontier.in_prompt for frontier in found if frontier.in_prompt is not None]
    return MethodSummary(
        method,
        len(found),
        lacking,
        float(np.mean(values)),
        low,
        high,
        float(np.mean([frontier.reach for frontier in found])),
        float(np.mean(other)) if other else None,
    )


def compare_with_rival(
    results: Sequence[Result], rival: str = RIVAL, primary: str = PRIMARY
) -> list[PairedComparison]:
    """Compare every method with a rival on the concepts that both have; `primary` was stated beforehand.

    The rival's row is that of `find_row`. Nothing where it has no value.
    """
    values: dict[str, dict[str, float]] = {}
    for row in results:
        if row.frontier is not None:
            values.setdefault(row.method, {})[row.task] = row.frontier.ava
    rival = find_row(values, rival)
    if rival not in values:
        return []
    met = [(name, *_paired(values[name], values[rival])) for name in sorted(values) if name != rival]
    met = [entry for entry in met if len(entry[1]) > 1]
    found = {name: compare(first, second) for name, first, second in met}
    ranked = find_ranked(results)
    others = [name for name in found if name != primary and name in ranked]
    adjusted = (
        dict(zip(others, map(float, holm([found[name].p for name in others])), strict=True)) if others else {}
    )
    return [
        PairedComparison(
            name,
            rival,
            name == primary,
            found[name],
            found[name].p if name == primary else adjusted.get(name),
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
