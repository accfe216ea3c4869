"""What a site's filter chooses among: the rows of one world and base model, over all families or one."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

from markupsafe import Markup

from ...bench.records.load import Loaded
from ...bench.records.record import PointInfo
from ...bench.types import Value, missing
from ..plots.frontiers import make_point, mean_series
from ..plots.scatter import Series, SeriesStyle, scatter
from ..ranking.board import (
    FEWEST_CONCEPTS,
    Line,
    PairedComparison,
    Result,
    duel,
    find_bases,
    find_tasks,
    measure,
    summarise,
)
from ..ranking.columns import Column, columns_for
from ..ranking.declared import Group, read_groups
from ..ranking.standing import BoardRow, stand

PooledValues = Mapping[str, Mapping[str, Value]]
"""Values of all concepts' images together, by metric and then by row."""


@dataclass(frozen=True)
class Part:
    """The evaluated records of one world and base model. base: short fingerprint of the base model."""

    world: str
    base: str
    entries: tuple[Loaded, ...]
    groups: tuple[Group, ...]
    results: tuple[Result, ...]
    claims: tuple[Result, ...]  # of records that report numbers that nobody has run again

    @property
    def families(self) -> list[str]:
        """The families of its tasks, in order."""
        return sorted({entry.record.task.family for entry in self.entries})


@dataclass(frozen=True)
class Scope:
    """One choice of the filter. family: "" = all. ranks: (first, last) places that a row may hold.

    tasks: the concepts that a method was measured on. claimed: AVA by row, from reported records.
    plots: the Pareto front for wide and for narrow windows.
    """

    world: str
    base: str
    family: str
    standings: tuple[BoardRow, ...]
    columns: tuple[Column, ...]
    pooled: tuple[str, ...]  # metrics of all concepts' images together
    ranks: Mapping[str, tuple[int, int]]
    claimed: Mapping[str, Line]
    primary: PairedComparison | None
    duels: tuple[PairedComparison, ...]
    missing: tuple[tuple[str, str], ...]
    plots: tuple[Markup, ...]
    undrawn: tuple[str, ...]  # rows that lack a concept: the mean of the others is not comparable
    tasks: tuple[str, ...]
    seeds: tuple[int, ...]


def divide(loaded: Sequence[Loaded]) -> list[Part]:
    """Return the evaluated records by world and base model: nothing is ever averaged over two of either."""
    counted = [entry for entry in loaded if entry.record.task.role == "evaluated"]
    bases = find_bases(counted)

    def place(entry: Loaded) -> tuple[str, str]:
        return entry.record.task.world, bases[entry.record.task.id]

    ordered = sorted(counted, key=place)
    return [_make_part(world, base, list(found)) for (world, base), found in groupby(ordered, key=place)]


def _make_part(world: str, base: str, entries: list[Loaded]) -> Part:
    groups = read_groups(entries)
    claims = [measure(group) for group in read_groups(entries, source="reported")]
    results = tuple(measure(group) for group in groups)
    return Part(world, base, tuple(entries), tuple(groups), results, tuple(claims))


def make_scopes(part: Part, looks: Mapping[str, SeriesStyle], pooled: PooledValues) -> list[Scope]:
    """Return the scopes of a part: all families, then each. pooled: over all its concepts."""
    families = part.families
    chosen = ["", *families] if len(families) > 1 else [""]
    return [make_scope(part, family, looks, {} if family else pooled) for family in chosen]


def make_scope(part: Part, family: str, looks: Mapping[str, SeriesStyle], pooled: PooledValues) -> Scope:
    """Return the scope of one family, "" = all. pooled: none for a family, for they are over all concepts."""
    entries = [entry for entry in part.entries if family in ("", entry.record.task.family)]
    own = {entry.record.task.id for entry in entries}
    groups = [group for group in part.groups if group.task in own]
    results = [row for row in part.results if row.task in own]
    claims = {line.method: line for line in summarise([row for row in part.claims if row.task in own])}
    tasks = tuple(sorted(find_tasks(results)))  # what is added, or claimed, on another concept adds none
    standings = [with_pooled(row, pooled) for row in stand(entries, results)]
    standings += [_unmeasured(name) for name in sorted(claims.keys() - {row.name for row in standings})]
    duels = duel(results)
    whole, undrawn = _whole(groups)
    return Scope(
        world=part.world,
        base=part.base,
        family=family,
        standings=tuple(standings),
        columns=tuple(columns_for(row.values for row in standings)),
        pooled=tuple(pooled),
        ranks=rank_rows(standings, len(tasks)) if len(tasks) >= FEWEST_CONCEPTS else {},
        claimed=claims,
        primary=next((d for d in duels if d.primary), None),
        duels=tuple(duels),
        missing=tuple((row.method, f"{row.task}: {row.missing}") for row in results if row.frontier is None),
        plots=_draw_front(standings, whole, looks),
        undrawn=tuple(undrawn),
        tasks=tasks,
        seeds=tuple(sorted({seed for row in results for seed in row.seeds})),
    )


def with_pooled(row: BoardRow, pooled: PooledValues) -> BoardRow:
    """Return a row with its pooled values; where other rows have one and it has none, the value is missing.

    A mean over concepts never stands in a column of pooled values.
    """
    own = {
        name: by_row.get(row.name, missing("not pooled with the other rows"))
        for name, by_row in pooled.items()
    }
    return replace(row, values={**row.values, **own})


def _unmeasured(name: str) -> BoardRow:
    """Return the row of a method whose numbers are claimed and not re-run yet."""
    return BoardRow(name, "method", None, (), {}, 0)


def rank_rows(standings: Sequence[BoardRow], concepts: int) -> dict[str, tuple[int, int]]:
    """Return the first and the last place that each ranked row may hold, among those that it ties with.

    A row stands behind all that are told apart from it and have a higher AVA, and before the others. One that
    lacks some of the concepts, or has others, holds no place: its mean is of other concepts. Nor does a
    control.
    """
    ranked = [(row, row.line.ava) for row in standings if row.line and _counts(row, concepts)]
    places = {}
    for row, ava in ranked:
        apart = [other for found, other in ranked if found is not row and found.name not in row.tied]
        ahead, behind = sum(other > ava for other in apart), sum(other <= ava for other in apart)
        places[row.name] = (1 + ahead, len(ranked) - behind)
    return places


def _counts(row: BoardRow, concepts: int) -> bool:
    return row.is_ranked and row.line is not None and row.line.concepts == concepts


def _whole(groups: Sequence[Group]) -> tuple[list[Group], list[str]]:
    """Return the groups of the methods that have every concept, and the names of the others."""
    concepts = {group.task for group in groups if group.is_home} or {group.task for group in groups}
    known: dict[str, set[str]] = {group.method: set() for group in groups}
    for group in groups:
        if group.missing is None:
            known[group.method].add(group.task)
    lacking = sorted(name for name, tasks in known.items() if tasks != concepts)
    return [group for group in groups if group.method not in lacking], lacking


def _draw_front(
    standings: Sequence[BoardRow], groups: Sequence[Group], looks: Mapping[str, SeriesStyle]
) -> tuple[Markup, ...]:
    """Return the plot of UA against VA, wide and narrow: all declared points, and the references."""
    ordered = sorted(groups, key=lambda g: g.method)
    series = [
        one
        for name, found in groupby(ordered, lambda g: g.method)
        for one in mean_series(name, list(found), looks)
    ]
    series += [_reference_series(row, looks[row.name]) for row in standings if row.role == "reference"]
    front = frozenset(row.name for row in standings if row.role == "method")
    title = "VA: alignment"
    return (
        scatter(series, "VA", title, 840, 440, "wide", front),
        scatter(series, "VA", title, 360, 360, "narrow", front),
    )


def _reference_series(row: BoardRow, look: SeriesStyle) -> Series:
    point: PointInfo = make_point(0, 0, {name: row.value(name) for name in ("UA", "VA")})
    return Series(row.name, look, (point,), None)


def prefer_measured(entries: Sequence[Loaded]) -> list[Loaded]:
    """Return the measured ones of a row's records, or all where nobody measured any: a claim adds nothing."""
    return [entry for entry in entries if entry.record.source == "measured"] or list(entries)


def rows_of(entries: Sequence[Loaded]) -> dict[str, list[Loaded]]:
    """Return records by the name of their row on the board."""
    found: dict[str, list[Loaded]] = {}
    for entry in entries:
        found.setdefault(entry.row, []).append(entry)
    return found
