"""Choose each method's configurations by its AVA on the tuning concepts, in the same way for all."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np

from ...bench.errors import UserError
from ...bench.planning.choice import Candidate, Choice, ChosenRow, MethodChoice
from ...bench.records.load import Loaded
from ...bench.store import content_key
from .board import measure
from .declared import DeclaredPoint, MethodPoints, read_method_points
from .task_rows import THRESHOLD

PLACEBO = "placebo"
Configs = Mapping[str, dict[str, Any]]


def choose(loaded: Sequence[Loaded], rows: Mapping[str, int]) -> Choice:
    """Return the choice among the configurations in records of tuning concepts.

    rows: method -> how many configurations it declares. The placebo's update gets the median distance of the
    shown points. Raises UserError where methods had unequally many
    candidates or saved points, or where a concept is missing: the search would not be equal.
    """
    groups = read_method_points(loaded, role="tuning")
    methods = {name: [g for g in groups if g.method == name] for name in rows}
    _check(methods)
    configs = {content_key(e.record.method.config): e.record.method.config for e in loaded}
    found = {name: _choose(methods[name], rows[name], configs) for name in sorted(rows)}
    return Choice(
        suite=loaded[0].record.suite,
        concepts=sorted({group.task for group in groups}),
        methods=found | {PLACEBO: _placebo(loaded, found)},
        records={entry.record.cell: entry.digest for entry in loaded if entry.record.task.role == "tuning"},
    )


def _check(methods: Mapping[str, list[MethodPoints]]) -> None:
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
    searched = {(tasks[name], len(groups[0].points), _configs(groups[0])) for name, groups in methods.items()}
    if len({(t, n, len(c)) for t, n, c in searched}) > 1:
        raise UserError("choose: the methods differ in concepts, candidates or points: the search is unequal")


def _configs(group: MethodPoints) -> tuple[str, ...]:
    return tuple(sorted({point.config for point in group.points}))


def _choose(groups: list[MethodPoints], count: int, configs: Configs) -> MethodChoice:
    known = _configs(groups[0])
    candidates = [_candidate(groups, key, configs) for key in known]
    best, ava = max(
        ((chosen, _tuning_ava(groups, chosen)) for chosen in combinations(known, count)),
        key=lambda entry: -1.0 if entry[1] is None else entry[1],
    )
    if ava is None:
        raise UserError(f"choose: {groups[0].method}: every choice lacks a value on some concept")
    key, step, reached = _shown(groups, best)
    rows = [ChosenRow(config=configs[c], shown=step if c == key else 0) for c in best]
    return MethodChoice(rows=rows, ava=round(ava, 6), reached=reached, candidates=candidates)


def _only(group: MethodPoints, chosen: Iterable[str]) -> tuple[DeclaredPoint, ...]:
    return tuple(point for point in group.points if point.config in set(chosen))


def _tuning_ava(groups: list[MethodPoints], chosen: Iterable[str]) -> float | None:
    kept = [MethodPoints(g.method, g.task, g.seeds, _only(g, chosen)) for g in groups]
    found = [measure(group).frontier for group in kept]
    values = [frontier.ava for frontier in found if frontier is not None]
    return float(np.mean(values)) if len(values) == len(groups) else None


def _candidate(groups: list[MethodPoints], key: str, configs: Configs) -> Candidate:
    ava = _tuning_ava(groups, [key])
    best = max(ua for _, _, ua, _ in _means(groups, [key]))
    return Candidate(
        config=configs[key], ava=None if ava is None else round(ava, 6), best_ua=round(float(best), 6)
    )


def _means(groups: list[MethodPoints], chosen: Iterable[str]) -> list[tuple[str, int, float, float]]:
    """Return (config, step, UA, VA) of each point, averaged over the concepts."""
    places = [(point.config, point.step) for point in _only(groups[0], chosen)]
    by_place = [{(p.config, p.step): p.values[:2, 2] for p in group.points} for group in groups]
    return [(c, s, *np.mean([found[c, s] for found in by_place], axis=0)) for c, s in places]


def _shown(groups: list[MethodPoints], chosen: Iterable[str]) -> tuple[str, int, bool]:
    """Return the point that a board shows: the highest VA among mean UA >= .95, else the highest UA."""
    points = _means(groups, chosen)
    reaching = [point for point in points if point[2] >= THRESHOLD - 1e-9]
    if reaching:
        best = max(reaching, key=lambda point: (point[3], -point[1]))
    else:
        best = max(points, key=lambda point: (point[2], -point[1]))
    return best[0], best[1], bool(reaching)


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
    return MethodChoice(rows=[ChosenRow(config=config, shown=1)], ava=None, reached=False, candidates=[])
