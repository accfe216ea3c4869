"""Frontiers of a board: for each concept and each family, every declared point with its interval."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from ...bench.records.means import ScoredRows, sum_shares
from ...bench.records.record import Cost, PointInfo
from ...bench.stats.compare import crossed_bootstrap, t_interval
from ...bench.types import Value
from ..ranking.declared import DeclaredPoint, MethodPoints
from .scatter import Series, SeriesStyle, scatter

RESAMPLES = 2_000
METRICS = ("UA", "VA")
_WIDE, _TALL = 380, 320


@dataclass(frozen=True)
class FrontierPlot:
    """One plot. title: name of the concept or family."""

    title: str
    plot: Markup


def plot_concepts(groups: Sequence[MethodPoints], styles: Mapping[str, SeriesStyle]) -> list[FrontierPlot]:
    """Return one plot for each concept; intervals: crossed bootstrap over training runs and prompts."""
    ordered = sorted(groups, key=lambda g: g.task)
    return [
        FrontierPlot(task, _plot([s for g in found for s in _concept_series(g, styles)]))
        for task, found in groupby(ordered, lambda g: g.task)
    ]


def plot_families(groups: Sequence[MethodPoints], styles: Mapping[str, SeriesStyle]) -> list[FrontierPlot]:
    """Return one plot for each family: means over its concepts with t intervals over them."""
    ordered = sorted(groups, key=lambda g: (g.task.split("/")[0], g.method))
    panels = []
    for family, found in groupby(ordered, lambda g: g.task.split("/")[0]):
        methods = [(name, list(rows)) for name, rows in groupby(found, lambda g: g.method)]
        series = [s for name, rows in methods for s in mean_series(name, rows, styles)]
        panels.append(FrontierPlot(family, _plot(series)))
    return panels


def _plot(series: Sequence[Series]) -> Markup:
    return scatter(series, "VA", "VA: alignment", _WIDE, _TALL, "small")


def _by_config(points: Sequence[DeclaredPoint]) -> list[tuple[str, list[DeclaredPoint]]]:
    ordered = sorted(points, key=lambda p: (p.config, p.step))
    return [(config, list(found)) for config, found in groupby(ordered, lambda p: p.config)]


def _concept_series(group: MethodPoints, styles: Mapping[str, SeriesStyle]) -> list[Series]:
    found = []
    for _, points in _by_config(group.points):
        infos = [make_point(i, p.step, _concept_values(p)) for i, p in enumerate(points) if _is_drawn(p)]
        shown = next((i for i, p in enumerate(points) if p.shown and _is_drawn(p)), None)
        found.append(Series(group.method, styles[group.method], tuple(infos), shown))
    return found


def _is_drawn(point: DeclaredPoint) -> bool:
    """Return whether every run of a point was scored. A run without retain images has no VA to draw."""
    return not any(entry.record.points[i].unscored for entry, i in point.places)


def _concept_values(point: DeclaredPoint) -> dict[str, Value]:
    values = {}
    for row, name in enumerate(METRICS):
        mean = float(point.values[row, 2])
        if np.isnan(mean):
            continue
        table = prompt_table(point, name)
        low, high = crossed_bootstrap(table - table.mean(), RESAMPLES)
        values[name] = Value(value=mean, low=max(0.0, mean + low), high=min(1.0, mean + high), n=table.size)
    return values


def prompt_table(point: DeclaredPoint, name: str) -> NDArray[np.float64]:
    """Return (runs, prompts) of UA or VA over each prompt's images; given concepts are left out of VA."""
    rows = []
    for entry, position in point.places:
        assert entry.items is not None
        kept = (entry.items["point"] == entry.record.points[position].index).to_numpy(dtype=bool)
        scores, counted = _score(entry.scored, name)
        kept = kept & counted & ~entry.scored.given & ~np.isnan(scores)
        _, codes = np.unique(entry.scored.prompts[kept], return_inverse=True)
        rows.append(np.bincount(codes, scores[kept]) / np.bincount(codes))
    return np.stack(rows)


def _score(scored: ScoredRows, name: str) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Return (rows,) scores of UA or VA, and which rows each counts."""
    if name == "UA":
        return scored.gone, scored.forget
    hits, asked = sum_shares(scored, scored.chosen["VA"])
    return np.divide(hits, asked, out=np.full(hits.shape, np.nan), where=asked > 0), asked > 0


def mean_series(
    method: str, groups: Sequence[MethodPoints], styles: Mapping[str, SeriesStyle]
) -> list[Series]:
    """Return one series for each configuration: means of the points that all of these concepts have."""
    known = [group for group in groups if group.missing is None]
    if not known:
        return []
    tables = [{(p.config, p.step): p for p in group.points} for group in known]
    both = set(tables[0]).intersection(*tables[1:])
    found = []
    for _, points in _by_config([p for place, p in tables[0].items() if place in both]):
        infos, shown = [], None
        for i, point in enumerate(points):
            same = [table[point.config, point.step] for table in tables]
            if all(_is_drawn(p) for p in same):
                infos.append(make_point(i, point.step, _family_values(same)))
                shown = i if point.shown else shown
        found.append(Series(method, styles[method], tuple(infos), shown))
    return found


def _family_values(points: Sequence[DeclaredPoint]) -> dict[str, Value]:
    values = {}
    for row, name in enumerate(METRICS):
        means = [float(p.values[row, 2]) for p in points]
        if np.isnan(means).any():
            continue
        low, high = t_interval(means) if len(means) > 1 else (None, None)
        values[name] = Value(
            value=float(np.mean(means)),
            low=None if low is None else max(0.0, low),
            high=None if high is None else min(1.0, high),
            n=len(means),
        )
    return values


def make_point(index: int, step: int, values: dict[str, Value]) -> PointInfo:
    """Return a point of a plot. It has no fingerprint, because it averages several models."""
    cost = Cost(seconds=None, memory_bytes=None, parameters=0, delta_bytes=None)
    return PointInfo(index=index, step=step, label=str(step), fingerprint="", values=values, cost=cost)
