"""Choose each method's configurations by the headline on the tuning concepts, in the same way for all."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any

import numpy as np

from ...bench.errors import UserError
from ...bench.planning.choice import Candidate, Choice, ChosenRow, MethodChoice
from ...bench.records.load import Loaded
from ...bench.store import content_key
from ...bench.types import Headline
from .board import measure
from .declared import DeclaredPoint, MethodPoints, find_headline, read_method_points
from .h_score import find_h_bases, measure_h
from .task_rows import THRESHOLD

PLACEBO = "placebo"
Configs = Mapping[str, dict[str, Any]]
"""Configurations by digest, in the order in which ties are broken."""
WIDENED = 2
"""Candidates that one edge of a grid of two by two has."""


def choose(
    loaded: Sequence[Loaded], rows: Mapping[str, int], listed: Sequence[tuple[str, Mapping[str, Any]]] = ()
) -> Choice:
    """Return the choice among the configurations in records of tuning concepts.

    rows: method -> how many configurations it declares. The headline of the records' suite decides: AVA, or
    H. The placebo's update gets the median distance of the shown points. Raises UserError where a concept is
    missing, or where methods had unequally many candidates or saved points: the search would not be equal.
    With H, an edge of a method's grid may have been widened once (WIDENED candidates more), and methods may
    have fewer points: one edit has one. listed: methods with complete configurations, in the order in which
    the tuning suite lists them; a tie goes to the first, without it to the first by digest.
    """
    groups = read_method_points(loaded, role="tuning")
    methods = {name: [g for g in groups if g.method == name] for name in rows}
    headline = find_headline(loaded)
    _check(methods, headline)
    order = [content_key(config) for _, config in listed]
    configs = {content_key(e.record.method.config): e.record.method.config for e in loaded}
    configs = {key: configs[key] for key in sorted(configs, key=lambda key: _rank(key, order))}
    score = _by_h(loaded) if headline == "H" else BY_AVA
    found = {name: _choose(methods[name], rows[name], configs, score) for name in sorted(rows)}
    return Choice(
        headline=headline,
        suite=loaded[0].record.suite,
        concepts=sorted({group.task for group in groups}),
        methods=found | {PLACEBO: _placebo(loaded, found)},
        records={entry.record.cell: entry.digest for entry in loaded if entry.record.task.role == "tuning"},
    )


def _check(methods: Mapping[str, list[MethodPoints]], headline: Headline) -> None:
    tasks = {name: tuple(group.task for group in groups) for name, groups in methods.items()}
    for name, groups in methods.items():
        if not groups:
            raise UserError(f"choose: no records of {name} on tuning concepts")
        for group in groups:
            if group.missing is not None:
                raise UserError(f"choose: {name} on {group.task}: {group.missing}")
        sizes = {(len({p.config for p in group.points}), len(group.points)) for group in groups}
        if len(sizes) > 1:
            raise UserError(f"choose: {name} has not the same candidates on every concept")
    searched = [(tasks[name], len(g[0].points), len(_configs(g[0]))) for name, g in methods.items()]
    if not _is_equal(searched, headline):
        raise UserError("choose: the methods differ in concepts, candidates or points: the search is unequal")


def _is_equal(searched: Sequence[tuple[tuple[str, ...], int, int]], headline: Headline) -> bool:
    """Return whether methods were searched equally. searched: concepts, points and configurations of each."""
    if headline == "AVA":
        return len(set(searched)) == 1
    counts = [configs for _, _, configs in searched]
    return len({tasks for tasks, _, _ in searched}) == 1 and max(counts) - min(counts) <= WIDENED


def _rank(key: str, order: Sequence[str]) -> tuple[int, str]:
    return (order.index(key) if key in order else len(order), key)


def _configs(group: MethodPoints) -> tuple[str, ...]:
    return tuple(sorted({point.config for point in group.points}))


@dataclass(frozen=True)
class Score:
    """How points are judged. measure: of one concept's points, None where it is missing. show: the point that
    a board shows: configuration, step, and whether its mean UA reaches the threshold."""

    name: Headline
    measure: Callable[[MethodPoints], float | None]
    show: Callable[[list[MethodPoints], Sequence[str]], tuple[str, int, bool]]


def _choose(groups: list[MethodPoints], count: int, configs: Configs, score: Score) -> MethodChoice:
    known = [key for key in configs if key in _configs(groups[0])]
    candidates = [_candidate(groups, key, configs, score) for key in known]
    best, value = max(
        ((chosen, _tuning_score(groups, chosen, score)) for chosen in combinations(known, count)),
        key=lambda entry: -1.0 if entry[1] is None else round(entry[1], 9),
    )
    if value is None:
        raise UserError(f"choose: {groups[0].method}: every choice lacks a value on some concept")
    key, step, reached = score.show(groups, best)
    rows = [ChosenRow(config=configs[c], shown=step if c == key else 0) for c in best]
    own = {"ava" if score.name == "AVA" else "h": round(value, 6)}
    return MethodChoice(rows=rows, reached=reached, candidates=candidates, **own)


def _only(group: MethodPoints, chosen: Iterable[str]) -> tuple[DeclaredPoint, ...]:
    return tuple(point for point in group.points if point.config in set(chosen))


def _tuning_score(groups: list[MethodPoints], chosen: Iterable[str], score: Score) -> float | None:
    kept = [replace(g, points=_only(g, chosen)) for g in groups]
    values = [value for value in map(score.measure, kept) if value is not None]
    return float(np.mean(values)) if len(values) == len(groups) else None


def _candidate(groups: list[MethodPoints], key: str, configs: Configs, score: Score) -> Candidate:
    value = _tuning_score(groups, [key], score)
    best = max(ua for _, _, ua, _ in _means(groups, [key]))
    own = {"ava" if score.name == "AVA" else "h": None if value is None else round(value, 6)}
    return Candidate(config=configs[key], best_ua=round(float(best), 6), **own)


def _measure_ava(group: MethodPoints) -> float | None:
    frontier = measure(group).frontier
    return None if frontier is None else frontier.ava


def _by_h(loaded: Sequence[Loaded]) -> Score:
    """Return the score by H. Relative alignment refers to the records of `none` among those loaded."""
    bases = find_h_bases(loaded)

    def measure_group(group: MethodPoints) -> float | None:
        found = measure_h(group, bases.get(group.task)).harmonic
        return None if found is None else found.h

    def show(groups: list[MethodPoints], chosen: Sequence[str]) -> tuple[str, int, bool]:
        """The point of the highest H by itself, a mean over concepts; ties go to fewer steps."""
        places = [(point.config, point.step) for point in _only(groups[0], chosen)]
        values = {place: _mean_alone(groups, place, measure_group) for place in places}
        config, step = max(places, key=lambda place: (values[place], -place[1]))
        ua = next(ua for c, s, ua, _ in _means(groups, chosen) if (c, s) == (config, step))
        return config, step, bool(ua >= THRESHOLD - 1e-9)

    return Score("H", measure_group, show)


def _mean_alone(
    groups: list[MethodPoints], place: tuple[str, int], measure_group: Callable[[MethodPoints], float | None]
) -> float:
    """Return the mean score of one point over the concepts, -1 where it is missing on one."""
    alone = [replace(g, points=tuple(p for p in g.points if (p.config, p.step) == place)) for g in groups]
    values = [value for value in map(measure_group, alone) if value is not None]
    return float(np.mean(values)) if len(values) == len(groups) else -1.0


def _means(groups: list[MethodPoints], chosen: Iterable[str]) -> list[tuple[str, int, float, float]]:
    """Return (config, step, UA, VA) of each point, averaged over the concepts."""
    places = [(point.config, point.step) for point in _only(groups[0], chosen)]
    by_place = [{(p.config, p.step): p.values[:2, 2] for p in group.points} for group in groups]
    return [(c, s, *np.mean([found[c, s] for found in by_place], axis=0)) for c, s in places]


def _shown(groups: list[MethodPoints], chosen: Sequence[str]) -> tuple[str, int, bool]:
    """Return the point that a board shows: the highest VA among mean UA >= .95, else the highest UA."""
    points = _means(groups, chosen)
    reaching = [point for point in points if point[2] >= THRESHOLD - 1e-9]
    if reaching:
        best = max(reaching, key=lambda point: (point[3], -point[1]))
    else:
        best = max(points, key=lambda point: (point[2], -point[1]))
    return best[0], best[1], bool(reaching)


BY_AVA = Score("AVA", _measure_ava, _shown)


def _placebo(loaded: Sequence[Loaded], found: Mapping[str, MethodChoice]) -> MethodChoice:
    """Return the placebo whose update has the median length of the shown points' updates."""
    shown = {
        (method, content_key(row.config), row.shown)
        for method, choice in found.items()
        for row in choice.rows
    }
    distances = [
        point.cost.distance
        for entry in loaded
        if entry.record.task.role == "tuning"
        for point in entry.record.points
        if (entry.record.method.name, content_key(entry.record.method.config), point.step) in shown
    ]
    known = [distance for distance in distances if distance is not None]
    if not known:
        raise UserError("choose: no record says how far a shown point moved from the base")
    config = {"steps": 1, "checkpoints": [1], "norm": round(float(np.median(known)), 6)}
    return MethodChoice(rows=[ChosenRow(config=config, shown=1)], reached=False, candidates=[])
