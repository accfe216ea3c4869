"""H of methods over concepts, from their item rows: the number of boards after the first (STATISTICS.md)."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from ...bench.errors import UserError
from ...bench.records.load import Loaded
from ...bench.stats.compare import Comparison, compare, detectable_difference, holm, sign_flip
from ...bench.stats.guarded import WEIGHT, excludes_zero, guarded_interval
from ...bench.stats.harmonic import Harmonic, measure_harmonic, relative_alignment
from ...bench.stats.monotone import mean_interval
from .declared import MethodPoints, read_method_points

LEVEL = 0.05
UNSCORED = "a point without retain images could have been chosen"


@dataclass(frozen=True)
class HResult:
    """H of a method on one concept, or why there is none. parts: how many H is the mean of, 0 without H."""

    method: str
    task: str
    seeds: tuple[int, ...]
    harmonic: Harmonic | None
    missing: str | None
    parts: int
    is_home: bool = True
    is_control: bool = False


@dataclass(frozen=True)
class HLine:
    """A method over its concepts. low, high: 95 % interval of its mean H, by Gaffke's bounds at half weight.

    runs: the fewest training runs on a concept. ua, alignment, in_prompt: means where H was read.
    """

    method: str
    concepts: int
    lacking: tuple[str, ...]
    runs: int
    h: float
    low: float
    high: float
    ua: float
    alignment: float
    in_prompt: float | None

    @property
    def value(self) -> float:
        return self.h


@dataclass(frozen=True)
class HComparison:
    """first - second over their concepts: t interval and sign-flip p, and the guard's interval.

    adjusted: Holm's p over all comparisons of the same call. stands: whether the methods are told apart, by
    the test and by the guard: the test alone finds too many where one method loses whole concepts (its size
    is then up to .21, STATISTICS.md).
    """

    first: str
    second: str
    comparison: Comparison
    adjusted: float
    guard: tuple[float, float]
    detectable: float

    @property
    def stands(self) -> bool:
        return self.adjusted < LEVEL and excludes_zero(self.guard)


def collect_h(
    loaded: Iterable[Loaded], source: str = "measured", role: str = "evaluated", references: bool = False
) -> list[HResult]:
    """Return H of every method on every concept of a role, by method and task. source: of the records.

    references: of the references in place of the methods; they are marked as controls, which nothing ranks.
    Raises UserError where H is of three parts on some concepts and of two on others: no mean is of both.
    """
    entries = list(loaded)
    bases = find_h_bases(entries)
    groups = read_method_points(entries, role, source, references)
    results = [measure_h(group, bases.get(group.task)) for group in groups]
    kinds = {row.parts: row.task for row in results if row.harmonic is not None}
    if len(kinds) > 1:
        said = " and ".join(f"of {parts} parts on {task}" for parts, task in sorted(kinds.items()))
        raise UserError(f"H is {said}: keep such concepts in boards apart, and compare each")
    return results


def find_h_bases(loaded: Iterable[Loaded]) -> dict[str, Loaded]:
    """Return the record of `none` of each task, to which relative alignment refers."""
    return {entry.record.task.id: entry for entry in loaded if _is_base(entry)}


def _is_base(entry: Loaded) -> bool:
    record = entry.record
    measured = record.source == "measured" and record.status == "ok" and entry.items is not None
    return measured and record.method.is_base and record.sampling.get("noise", 0) == 0


def measure_h(group: MethodPoints, base: Loaded | None = None) -> HResult:
    """Return H of a group's points; a value that is missing and could count makes it missing.

    Points of all configurations of one training seed are one run's. Where no judge verifies the retain
    prompts, alignment is the score above chance relative to `base`, the task's record of `none`. A point
    that was too weak to be scored counts as if its alignment were 1: where it is not chosen even so, H is
    what it would be with its images; where it is, H is missing.
    """
    place = (group.method, group.task, group.seeds)
    if group.missing is not None:
        return HResult(*place, None, group.missing, 0, group.is_home, group.is_control)
    table, unscored = _read_parts(group)
    try:
        if np.isnan(table[1][np.repeat(~unscored[:, None], 2, axis=1)]).all():
            table[1] = _read_relative(group, base)
        table[1] = np.where(unscored[:, None] & np.isnan(table[1]), 1.0, table[1])
        parts = table[:2] if np.isnan(table[2]).all() else table
        found = measure_harmonic(*parts)
        if np.take_along_axis(unscored, found.chosen, axis=1).any():
            raise ValueError(UNSCORED)
    except ValueError as error:
        return HResult(*place, None, str(error), 0, group.is_home, group.is_control)
    return HResult(*place, found, None, len(parts), group.is_home, group.is_control)


def _read_parts(group: MethodPoints) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Return UA, VA and in-prompt (3, runs, 2, points), and which points of which run were not scored."""
    table = np.full((3, len(group.seeds), 2, len(group.points)), np.nan)
    unscored = np.zeros(table.shape[1::2], dtype=bool)
    for k, point in enumerate(group.points):
        for entry, position in point.places:
            run = group.seeds.index(entry.record.seed)
            assert entry.means is not None  # else the group is missing
            table[:, run, :, k] = entry.means[position][:, :2]
            unscored[run, k] = entry.record.points[position].unscored is not None
    return table, unscored


def _read_relative(group: MethodPoints, base: Loaded | None) -> NDArray[np.float64]:
    """Return the relative alignment (runs, 2, points) of a group's points."""
    if base is None:
        raise ValueError("no judge verifies the retain prompts, and there is no record of `none`")
    found = np.full((len(group.seeds), 2, len(group.points)), np.nan)
    for k, point in enumerate(group.points):
        for entry, position in point.places:
            if entry.record.points[position].unscored is None:
                own, run = entry.record.points[position].index, group.seeds.index(entry.record.seed)
                for half, name in enumerate("AB"):
                    columns = _scores(entry, own, name), _scores(base, base.record.points[0].index, name)
                    found[run, half, k] = relative_alignment(*columns[0], *columns[1])
    return found


def _scores(entry: Loaded, point: int, half: str) -> list[NDArray[np.float64]]:
    """Return the scores of a point's retain images of one half, with their own and with shuffled prompts."""
    items = entry.items
    assert items is not None
    rows = items[(items["point"] == point) & (items["half"] == half) & (items["split"] == "retain")]
    rows = rows[~rows["given"].astype(bool)]
    return [rows[name].to_numpy(dtype=float) for name in ("alignment", "alignment_shuffled")]


def find_complete(results: Sequence[HResult]) -> frozenset[str]:
    """Return the methods that H ranks: on all of the board's concepts and on no others, and no controls."""
    own = [row for row in results if row.is_home] or list(results)
    tasks = {row.task for row in own}
    found: dict[str, set[str]] = {}
    for row in results:
        if row.harmonic is not None and not row.is_control:
            found.setdefault(row.method, set()).add(row.task)
    return frozenset(method for method, places in found.items() if places == tasks)


def summarise_h(results: Sequence[HResult]) -> list[HLine]:
    """Return a line for each method: complete ones first, then by H. Methods without H stand last."""
    complete = find_complete(results)
    lines = [_line(method, list(rows)) for method, rows in groupby(results, lambda row: row.method)]
    return sorted(lines, key=lambda x: (x.method not in complete, not x.concepts, -x.h, x.method))


def _line(method: str, rows: Sequence[HResult]) -> HLine:
    found = [row.harmonic for row in rows if row.harmonic is not None]
    lacking = tuple(f"{row.task}: {row.missing}" for row in rows if row.harmonic is None)
    runs = min(len(row.seeds) for row in rows)
    if not found:
        nan = float("nan")
        return HLine(method, 0, lacking, runs, nan, nan, nan, nan, nan, None)
    values = [x.h for x in found]
    other = [x.in_prompt for x in found if x.in_prompt is not None]
    return HLine(
        method,
        len(found),
        lacking,
        runs,
        float(np.mean(values)),
        *mean_interval(values, 0, 1, weight=WEIGHT),
        float(np.mean([x.ua for x in found])),
        float(np.mean([x.alignment for x in found])),
        float(np.mean(other)) if other else None,
    )


def compare_h(results: Sequence[HResult], pairs: Iterable[tuple[str, str]]) -> list[HComparison]:
    """Return the declared comparisons whose methods are both complete, with Holm's correction over these.

    A pair of which one is a control, or lacks a concept, is not there: no test is spent on it.
    """
    values = _values(results, find_complete(results))
    met = [(a, b) for a, b in pairs if a != b and a in values and b in values]
    if not met or len(next(iter(values.values()))) < 2:
        return []
    tables = [_paired(values, pair) for pair in met]
    found = [compare(first, second) for first, second in tables]
    adjusted = holm([comparison.p for comparison in found])
    return [
        HComparison(
            *pair,
            comparison,
            float(p),
            guarded_interval(first, second),
            detectable_difference(float(np.std(first - second, ddof=1)), len(first)),
        )
        for pair, comparison, p, (first, second) in zip(met, found, adjusted, tables, strict=True)
    ]


@dataclass(frozen=True)
class HComparisons:
    """Each complete method with the rival: one family of Holm's.

    primary: the claim's own, None where one of its methods lacks H. is_declared: whether the records name a
    declaration.
    """

    primary: HComparison | None
    rows: tuple[HComparison, ...]
    is_declared: bool


def compare_declared(results: Sequence[HResult], rival: str, primary: str, is_declared: bool) -> HComparisons:
    """Compare each complete method with the rival, the primary one first."""
    others = sorted(find_complete(results) - {rival}, key=lambda name: (name != primary, name))
    found = compare_h(results, [(name, rival) for name in others])
    return HComparisons(next((r for r in found if r.first == primary), None), tuple(found), is_declared)


def tied_by_h(results: Sequence[HResult]) -> dict[str, list[str]]:
    """Return, for each complete method from the best down, those that the data cannot tell from it.

    Holm's family is the row's own comparisons with the other methods, so what is said of a row holds for it
    by itself. A family of all pairs could tell no two of 15 methods apart on 12 concepts, whatever they do:
    the least p of the sign-flip test is then 2^-11, and there are 105 pairs.
    """
    values = _values(results, find_complete(results))
    ranked = sorted(values, key=lambda name: (-float(np.mean(list(values[name].values()))), name))
    if not ranked or len(values[ranked[0]]) < 2:
        return {name: ranked for name in ranked}
    found = {}
    for name in ranked:
        others = [other for other in ranked if other != name]
        tables = {other: _paired(values, (name, other)) for other in others}
        p_values = holm([sign_flip(a - b) for a, b in tables.values()]).tolist() if others else []
        apart = {
            other
            for other, p in zip(others, p_values, strict=True)
            if p < LEVEL and excludes_zero(guarded_interval(*tables[other]))
        }
        found[name] = [other for other in ranked if other not in apart]
    return found


def can_tell(concepts: int, methods: int) -> bool:
    """Return whether a row's comparisons with the others could reach the level, by Holm's correction."""
    return concepts > 1 and (methods - 1) * 2.0 ** (1 - concepts) < LEVEL


def _values(results: Sequence[HResult], methods: frozenset[str]) -> dict[str, dict[str, float]]:
    values: dict[str, dict[str, float]] = {}
    for row in results:
        if row.method in methods and row.harmonic is not None:
            values.setdefault(row.method, {})[row.task] = row.harmonic.h
    return values


def _paired(
    values: Mapping[str, Mapping[str, float]], pair: tuple[str, str]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    first, second = (values[name] for name in pair)
    tasks = sorted(first)
    return np.array([first[task] for task in tasks]), np.array([second[task] for task in tasks])
