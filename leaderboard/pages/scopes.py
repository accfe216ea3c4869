"""Scopes: the board of one world and base model, over all families or one. A site's filter chooses one."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby

from markupsafe import Markup

from ...bench.records.load import Loaded
from ...bench.records.record import PointInfo
from ...bench.types import Headline, Value, missing
from ..plots.frontiers import make_point, mean_series
from ..plots.scatter import Series, SeriesStyle, scatter
from ..ranking.board import (
    FEWEST_CONCEPTS,
    PRIMARY,
    RIVAL,
    MethodSummary,
    PairedComparison,
    Result,
    compare_with_rival,
    find_bases,
    find_row,
    find_tasks,
    measure,
    summarise,
)
from ..ranking.board_columns import Around
from ..ranking.board_rows import BoardRow, make_board_rows
from ..ranking.claims import Beside
from ..ranking.columns import Column, columns_for
from ..ranking.declared import MethodPoints, find_headline, read_method_points
from ..ranking.equal_ua import EqualUa, compare_at_equal_ua
from ..ranking.h_score import (
    HComparisons,
    HLine,
    HResult,
    can_tell,
    collect_h,
    compare_declared,
    summarise_h,
)
from ..ranking.standings import Standings, make_standings

PooledValues = Mapping[str, Mapping[str, Value]]
"""Values of all concepts' images together, by metric and then by row."""


@dataclass(frozen=True)
class Division:
    """The evaluated records of one world and base model. base: short fingerprint of the base model."""

    world: str
    base: str
    entries: tuple[Loaded, ...]
    groups: tuple[MethodPoints, ...]
    results: tuple[Result, ...]
    claims: tuple[Result, ...]  # of reported records that nobody has run again
    by_h: tuple[HResult, ...] | None = None  # of methods, then of references, where H orders the board
    claims_by_h: tuple[HResult, ...] = ()

    @property
    def headline(self) -> Headline:
        """The number that orders the board."""
        return "AVA" if self.by_h is None else "H"

    @property
    def families(self) -> list[str]:
        """The families of its tasks, in order."""
        return sorted({entry.record.task.family for entry in self.entries})


@dataclass(frozen=True)
class Scope:
    """One choice of the filter. family: "" = all. ranks: (first, last) places that a row may hold.

    tasks: the concepts that a method was measured on. claimed: the headline by row, from reported records.
    plots: the Pareto front for wide and for narrow windows. by_h: the differences of H where it orders the
    board, None where AVA does; `comparisons` are of AVA on both. equal_ua: VA at equal UA, by row.
    """

    world: str
    base: str
    family: str
    board_rows: tuple[BoardRow, ...]
    columns: tuple[Column, ...]
    pooled: tuple[str, ...]  # metrics of all concepts' images together
    ranks: Mapping[str, tuple[int, int]]
    claimed: Mapping[str, MethodSummary | HLine]
    primary: PairedComparison | None
    comparisons: tuple[PairedComparison, ...]
    missing: tuple[tuple[str, str], ...]
    plots: tuple[Markup, ...]
    undrawn: tuple[str, ...]  # rows that lack a concept: the mean of the others is not comparable
    tasks: tuple[str, ...]
    seeds: tuple[int, ...]
    by_h: HComparisons | None = None
    equal_ua: Mapping[str, EqualUa] = field(default_factory=dict)

    @property
    def headline(self) -> Headline:
        """The number that orders the board."""
        return "AVA" if self.by_h is None else "H"


def divide(loaded: Sequence[Loaded]) -> list[Division]:
    """Return the evaluated records by world and base model. Nothing is averaged over two of either.

    Raises UserError where the board's own records name two headlines.
    """
    counted = [entry for entry in loaded if entry.record.task.role == "evaluated"]
    bases, headline = find_bases(counted), find_headline(counted)

    def place(entry: Loaded) -> tuple[str, str]:
        return entry.record.task.world, bases[entry.record.task.id]

    ordered = sorted(counted, key=place)
    return [
        _make_division(world, base, list(found), headline)
        for (world, base), found in groupby(ordered, key=place)
    ]


def _make_division(world: str, base: str, entries: list[Loaded], headline: Headline) -> Division:
    groups = read_method_points(entries)
    claims = [measure(group) for group in read_method_points(entries, source="reported")]
    results = tuple(measure(group) for group in groups)
    division = Division(world, base, tuple(entries), tuple(groups), results, tuple(claims))
    if headline == "AVA":
        return division
    claimed = tuple(collect_h(entries, source="reported"))
    by_h = (*collect_h(entries), *collect_h(entries, references=True))
    return replace(division, by_h=by_h, claims_by_h=claimed)


def make_scopes(division: Division, styles: Mapping[str, SeriesStyle], pooled: PooledValues) -> list[Scope]:
    """Return the scopes of a division: all families, then each one. pooled: over all its concepts."""
    families = division.families
    chosen = ["", *families] if len(families) > 1 else [""]
    return [make_scope(division, family, styles, {} if family else pooled) for family in chosen]


def make_scope(
    division: Division, family: str, styles: Mapping[str, SeriesStyle], pooled: PooledValues
) -> Scope:
    """Return the scope of one family, "" = all. pooled: none for a family, for they are over all concepts."""
    entries = [entry for entry in division.entries if family in ("", entry.record.task.family)]
    own = {entry.record.task.id for entry in entries}
    groups = [group for group in division.groups if group.task in own]
    results = [row for row in division.results if row.task in own]
    by_h = None if division.by_h is None else [row for row in division.by_h if row.task in own]
    claims = _summarise_claims(division, own)
    tasks = tuple(sorted(find_tasks(results)))  # an added or claimed record adds no concept
    board_rows = [with_pooled(row, pooled) for row in make_board_rows(entries, results, by_h)]
    board_rows += [_unmeasured(name) for name in sorted(claims.keys() - {row.name for row in board_rows})]
    comparisons = compare_with_rival(results)
    rival = find_row({row.method for row in results}, RIVAL)
    is_declared = rival == RIVAL and _is_declared(entries)
    whole, undrawn = _whole(groups)
    return Scope(
        world=division.world,
        base=division.base,
        family=family,
        board_rows=tuple(board_rows),
        columns=tuple(columns_for(row.values for row in board_rows)),
        pooled=tuple(pooled),
        ranks=_rank(board_rows, len(tasks), by_h),
        claimed=claims,
        primary=next((d for d in comparisons if d.primary), None),
        comparisons=tuple(comparisons),
        missing=_list_missing(results, by_h),
        plots=_draw_front(board_rows, whole, styles),
        undrawn=tuple(undrawn),
        tasks=tasks,
        seeds=tuple(sorted({seed for row in results for seed in row.seeds})),
        by_h=None if by_h is None else compare_declared(by_h, rival, PRIMARY, is_declared),
        equal_ua={} if by_h is None else compare_at_equal_ua(groups, rival),
    )


def _is_declared(entries: Sequence[Loaded]) -> bool:
    """Return whether every record of the board's own source names the declaration of its suite."""
    own = [entry.record for entry in entries if entry.is_home and entry.record.source == "measured"]
    return all(record.declaration for record in own)


def standings_of(scope: Scope, beside: Beside) -> Standings:
    """Return the table of a scope. beside: with the attacks on its records."""
    around = Around(
        ranks=scope.ranks,
        claimed=scope.claimed,
        equal_ua=scope.equal_ua,
        attacks=beside.under_attack(scope.tasks),
        tasks=len(scope.tasks),
        rival=find_row([row.name for row in scope.board_rows], RIVAL),
        attacked=beside.attacked.of_tasks(scope.tasks),
    )
    return make_standings(scope.board_rows, scope.columns, around, scope.headline)


def _summarise_claims(division: Division, tasks: Collection[str]) -> dict[str, MethodSummary | HLine]:
    """Return the headline of claimed rows on some tasks."""
    if division.by_h is None:
        return {
            line.method: line for line in summarise([row for row in division.claims if row.task in tasks])
        }
    return {
        line.method: line for line in summarise_h([row for row in division.claims_by_h if row.task in tasks])
    }


def _rank(
    board_rows: Sequence[BoardRow], concepts: int, by_h: Sequence[HResult] | None
) -> dict[str, tuple[int, int]]:
    """Return the places of the rows, none where no test could tell two of them apart."""
    ranked = sum(_counts(row, concepts) for row in board_rows)
    enough = concepts >= FEWEST_CONCEPTS and (by_h is None or can_tell(concepts, ranked))
    return rank_rows(board_rows, concepts) if enough else {}


def _list_missing(results: Sequence[Result], by_h: Sequence[HResult] | None) -> tuple[tuple[str, str], ...]:
    """Return (method, concept and reason) of each missing value of the headline."""
    if by_h is not None:
        return tuple((row.method, f"{row.task}: {row.missing}") for row in by_h if row.harmonic is None)
    return tuple((row.method, f"{row.task}: {row.missing}") for row in results if row.frontier is None)


def with_pooled(row: BoardRow, pooled: PooledValues) -> BoardRow:
    """Return a row with its pooled values; where other rows have one and it has none, the value is missing.

    A column of pooled values never shows a mean over concepts.
    """
    own = {
        name: by_row.get(row.name, missing("not pooled with the other rows"))
        for name, by_row in pooled.items()
    }
    return replace(row, values={**row.values, **own})


def _unmeasured(name: str) -> BoardRow:
    """Return the row of a method whose numbers are claimed and not run again yet."""
    return BoardRow(name, "method", None, (), {}, 0)


def rank_rows(board_rows: Sequence[BoardRow], concepts: int) -> dict[str, tuple[int, int]]:
    """Return the first and the last place that each ranked row may hold.

    A row comes after every row of a higher headline that differs from it significantly, and before every
    such row of a lower one. Controls hold no place, nor do rows that lack a concept: their mean is over other
    concepts.
    """
    ranked = [(row, row.standing.value) for row in board_rows if row.standing and _counts(row, concepts)]
    places = {}
    for row, value in ranked:
        apart = [other for found, other in ranked if found is not row and found.name not in row.tied]
        ahead, behind = sum(other > value for other in apart), sum(other <= value for other in apart)
        places[row.name] = (1 + ahead, len(ranked) - behind)
    return places


def _counts(row: BoardRow, concepts: int) -> bool:
    return row.is_ranked and row.standing is not None and row.standing.concepts == concepts


def _whole(groups: Sequence[MethodPoints]) -> tuple[list[MethodPoints], list[str]]:
    """Return the groups of the methods that have every concept, and the names of the others."""
    concepts = {group.task for group in groups if group.is_home} or {group.task for group in groups}
    known: dict[str, set[str]] = {group.method: set() for group in groups}
    for group in groups:
        if group.missing is None:
            known[group.method].add(group.task)
    lacking = sorted(name for name, tasks in known.items() if tasks != concepts)
    return [group for group in groups if group.method not in lacking], lacking


def _draw_front(
    board_rows: Sequence[BoardRow], groups: Sequence[MethodPoints], styles: Mapping[str, SeriesStyle]
) -> tuple[Markup, ...]:
    """Return the plot of UA against VA, wide and narrow: all declared points, and the references."""
    ordered = sorted(groups, key=lambda g: g.method)
    series = [
        one
        for name, found in groupby(ordered, lambda g: g.method)
        for one in mean_series(name, list(found), styles)
    ]
    series += [_reference_series(row, styles[row.name]) for row in board_rows if row.role == "reference"]
    front = frozenset(row.name for row in board_rows if row.role == "method")
    title = "VA: alignment"
    return (
        scatter(series, "VA", title, 840, 440, "wide", front),
        scatter(series, "VA", title, 360, 360, "narrow", front),
    )


def _reference_series(row: BoardRow, style: SeriesStyle) -> Series:
    point: PointInfo = make_point(0, 0, {name: row.value(name) for name in ("UA", "VA")})
    return Series(row.name, style, (point,), None)
