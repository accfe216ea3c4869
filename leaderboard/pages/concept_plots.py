"""The plots of a board's concepts: frontiers, and what was erased with the target."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ...bench.types import Headline
from ..plots.counts import plot_counts
from ..plots.curves import CurvePlot
from ..plots.frontiers import FrontierPlot, plot_concepts, plot_families
from ..plots.heatmap import HeatMap, heat_maps
from ..plots.scatter import SeriesStyle
from ..ranking.claims import prefer_measured, rows_of
from ..ranking.task_rows import TaskRow
from .scopes import Division, Scope

MANY, PICKED = 10, 4
"""Methods of a board above which some are picked at first, and how many."""


@dataclass(frozen=True)
class ConceptPlots:
    """The concepts of one world and base model.

    names: rows in the plots, in the order of the board. picked: those that a page with many draws strongly at
    first; none: all. opened: rows whose map of what was erased is open at first.
    """

    world: str
    base: str
    names: tuple[str, ...]
    picked: tuple[str, ...]
    opened: tuple[str, ...]
    families: tuple[FrontierPlot, ...]
    concepts: tuple[FrontierPlot, ...]
    heat: tuple[HeatMap, ...]
    headline: Headline
    counts: tuple[CurvePlot, ...] = ()


def make_concept_plots(
    division: Division, scope: Scope, styles: Mapping[str, SeriesStyle], task_rows: Sequence[TaskRow]
) -> ConceptPlots:
    """Return the plots of a division, its rows in the order of the board. scope: all its families."""
    names, plotted = {entry.name for entry in division.entries}, {group.method for group in division.groups}
    places = {row.name: place for place, row in enumerate(scope.board_rows)}
    methods = [row.name for row in scope.board_rows if row.role == "method"]
    picked = methods[:PICKED] if len(methods) > MANY else []
    rows = rows_of(division.entries)
    own = {name: rows[name] for name in sorted(rows, key=lambda name: (places.get(name, len(places)), name))}
    return ConceptPlots(
        world=division.world,
        base=division.base,
        names=tuple(name for name in own if name in plotted),
        picked=tuple(picked),
        opened=tuple(picked or methods[:1]),
        families=tuple(plot_families(division.groups, styles)),
        concepts=tuple(plot_concepts(division.groups, styles)),
        heat=tuple(
            heat_maps([entry for found in own.values() for entry in prefer_measured(found)], list(own))
        ),
        headline=division.headline,
        counts=tuple(plot_counts([row for row in task_rows if row.source.name in names], styles)),
    )
