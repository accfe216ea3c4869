"""The content of a method's page: settings, training curves, cost, and results by concept."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ...bench.records.load import Loaded
from ...bench.records.record import Record
from ...bench.store import content_key
from ...bench.types import Headline, Value, missing
from ..commands import repeat_row
from ..plots.curves import CurvePlot, Log, draw_logs
from ..plots.heatmap import HeatMap
from ..plots.scatter import COLORS, SeriesStyle
from ..plots.svg import SHAPES
from ..ranking.board import Result
from ..ranking.board_rows import average_values, count_configs, shown_point
from ..ranking.claims import prefer_measured, rows_of
from ..ranking.columns import COLUMNS, COSTS, Column, columns_for, write_value
from ..ranking.h_score import HResult
from ..ranking.task_rows import Role, find_role
from ..templating import flatten
from .page import find_link
from .scopes import Division


@dataclass(frozen=True)
class ConceptRow:
    """A row of the table by concept. result: None for references, which have no AVA. by_h: where H orders the
    board."""

    task: str
    values: Mapping[str, Value]
    result: Result | None
    by_h: HResult | None = None

    def value(self, name: str) -> Value:
        """Return the value under a name; what the concept's records lack is missing, with that reason."""
        return self.values.get(name) or missing("not measured in these records")


@dataclass(frozen=True)
class Setting:
    """A configuration that the method ran with. shown: whether the shown points are its own."""

    values: Mapping[str, Any]
    shown: bool


@dataclass(frozen=True)
class MethodPage:
    """The page of one row of the board, for one world and base model."""

    name: str
    role: Role
    world: str
    base: str
    headline: Headline
    summary: str
    paper: str
    link: str  # address of the paper, "" where its text names none
    settings: tuple[Setting, ...]
    columns: tuple[Column, ...]
    concepts: tuple[ConceptRow, ...]
    cost: tuple[tuple[str, str], ...]
    legend: tuple[tuple[str, SeriesStyle], ...]
    curves: tuple[CurvePlot, ...]
    heat: HeatMap | None
    entries: tuple[Loaded, ...]
    commands: tuple[str, ...]
    versions: tuple[tuple[str, str], ...]
    environment: tuple[tuple[str, str], ...]


def method_pages(division: Division, maps: Sequence[HeatMap]) -> list[MethodPage]:
    """Return one page for each row of a division, by name. maps: the rows' heat maps."""
    heat = {one.name: one for one in maps}
    return [
        _make_page(division, name, entries, heat.get(name))
        for name, entries in sorted(rows_of(division.entries).items())
    ]


def _make_page(division: Division, name: str, entries: Sequence[Loaded], heat: HeatMap | None) -> MethodPage:
    described = prefer_measured(entries)
    newest = max(described, key=lambda e: (e.record.method.version, e.name)).record.method
    measured = [entry for entry in entries if entry.record.source == "measured"]
    concepts = _concepts(division, name, measured)
    columns = columns_for(row.values for row in concepts)
    whole = average_values(measured) if measured else {}
    families = division.families
    legend = [(family, _family_look(families, family)) for family in families]
    return MethodPage(
        name=name,
        role=find_role(described[0].record),
        world=division.world,
        base=division.base,
        headline=division.headline,
        summary=newest.summary,
        paper=newest.paper,
        link=find_link(newest.paper),
        settings=tuple(_settings(described)),
        columns=tuple(columns),
        concepts=tuple(concepts),
        cost=tuple(_write_costs(whole)),
        legend=tuple(legend),
        curves=tuple(draw_logs(_logs(measured, families))),
        heat=heat,
        entries=tuple(sorted(entries, key=lambda e: e.name)),
        commands=tuple(repeat_row(entry.record for entry in described)),
        versions=tuple(_merge([_versions(entry.record) for entry in described])),
        environment=tuple(_merge([_environment(entry.record) for entry in described])),
    )


def _write_costs(values: Mapping[str, Value]) -> list[tuple[str, str]]:
    return [
        (column.title, write_value(values[column.name], column.style))
        for column in COLUMNS
        if column.name in COSTS and column.name in values
    ]


def _versions(record: Record) -> list[tuple[str, str]]:
    """Return the versions of everything that made and judged a record's images."""
    return [
        ("method", f"{record.method.name} v{record.method.version}"),
        ("world", record.task.world),
        ("judge", record.task.judge),
        ("suite", record.suite),
        ("training data", record.data),
        *flatten(record.metrics, "metric "),
        *flatten(record.sampling, "sampling "),
        (f"tasks of {record.task.family}", f"v{record.task.version}"),
    ]


def _environment(record: Record) -> list[tuple[str, str]]:
    return [*flatten(record.environment), ("commit", record.commit or "unknown")]


def _merge(tables: Sequence[Sequence[tuple[str, str]]]) -> list[tuple[str, str]]:
    """Return each key once, with all the values that the records have for it."""
    found: dict[str, list[str]] = {}
    for key, value in [pair for table in tables for pair in table]:
        known = found.setdefault(key, [])
        if value not in known:
            known.append(value)
    return [(key, "; ".join(sorted(known))) for key, known in found.items()]


def _settings(entries: Sequence[Loaded]) -> list[Setting]:
    """Return the configurations of these records, the shown one first, each once."""
    found: dict[str, Setting] = {}
    for entry in entries:
        config = entry.record.method.config
        key = content_key(config)
        shown = any(point.shown for point in entry.record.points) or (key in found and found[key].shown)
        found[key] = Setting(config, shown)
    return sorted(found.values(), key=lambda s: (not s.shown, content_key(s.values)))


def _concepts(division: Division, name: str, entries: Sequence[Loaded]) -> list[ConceptRow]:
    results = {row.task: row for row in division.results if row.method == name}
    by_h = {row.task: row for row in division.by_h or () if row.method == name}
    by_task: dict[str, list[Loaded]] = {}
    for entry in entries:
        by_task.setdefault(entry.record.task.id, []).append(entry)
    return [
        ConceptRow(task, average_values(own), results.get(task), by_h.get(task))
        for task, own in sorted(by_task.items())
    ]


def _family_look(families: Sequence[str], family: str) -> SeriesStyle:
    place = families.index(family)
    return SeriesStyle(f"k{place % COLORS}", SHAPES[place % len(SHAPES)])


def _logs(entries: Sequence[Loaded], families: Sequence[str]) -> list[Log]:
    """Return a log a concept: of the record whose point is shown, at its lowest training seed."""
    configs = count_configs(entries)
    chosen: dict[str, Loaded] = {}
    for entry in sorted(entries, key=lambda e: (e.record.seed, e.name)):
        if any(entry.record.log.values()) and shown_point(entry, configs) is not None:
            chosen.setdefault(entry.record.task.id, entry)
    return [
        Log(task, _family_look(families, entry.record.task.family), entry.record.log)
        for task, entry in sorted(chosen.items())
    ]
