"""What the page of a method shows: its settings, training curves, cost, and results concept by concept."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ...bench.records.load import Loaded
from ...bench.records.record import Record, safe_command
from ...bench.store import content_key
from ...bench.types import Value, missing
from ..plots.curves import Log, Panel, draw_logs
from ..plots.heatmap import HeatMap
from ..plots.scatter import COLORS, SeriesStyle
from ..plots.svg import SHAPES
from ..ranking.board import Result
from ..ranking.columns import COLUMNS, COSTS, Column, columns_for, write_value
from ..ranking.rank import Role, find_role
from ..ranking.standing import average_values, count_configs, shown_point
from ..templating import flatten
from .scopes import Part, prefer_measured, rows_of

ARXIV = re.compile(r"arXiv[:\s]*(\d{4}\.\d{4,5})", re.IGNORECASE)


@dataclass(frozen=True)
class Concept:
    """A row of the table by concept. result: None for references, which have no AVA."""

    task: str
    values: Mapping[str, Value]
    result: Result | None

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
    """All that the page shows of a row of the board, in one world and on one base model."""

    name: str
    role: Role
    world: str
    base: str
    summary: str
    paper: str
    link: str  # where the paper lies, "" where its text does not say
    settings: tuple[Setting, ...]
    columns: tuple[Column, ...]
    concepts: tuple[Concept, ...]
    cost: tuple[tuple[str, str], ...]
    legend: tuple[tuple[str, SeriesStyle], ...]
    curves: tuple[Panel, ...]
    heat: HeatMap | None
    entries: tuple[Loaded, ...]
    commands: tuple[str, ...]
    versions: tuple[tuple[str, str], ...]
    environment: tuple[tuple[str, str], ...]


def method_pages(part: Part, maps: Sequence[HeatMap]) -> list[MethodPage]:
    """Return a page a row of the part's boards, by name. maps: of what each row erased."""
    heat = {one.name: one for one in maps}
    return [
        _make_page(part, name, entries, heat.get(name))
        for name, entries in sorted(rows_of(part.entries).items())
    ]


def _make_page(part: Part, name: str, entries: Sequence[Loaded], heat: HeatMap | None) -> MethodPage:
    told = prefer_measured(entries)
    newest = max(told, key=lambda e: (e.record.method.version, e.name)).record.method
    measured = [entry for entry in entries if entry.record.source == "measured"]
    concepts = _concepts(part, name, measured)
    columns = columns_for(row.values for row in concepts)
    whole = average_values(measured) if measured else {}
    families = part.families
    legend = [(family, _family_look(families, family)) for family in families]
    return MethodPage(
        name=name,
        role=find_role(told[0].record),
        world=part.world,
        base=part.base,
        summary=newest.summary,
        paper=newest.paper,
        link=find_link(newest.paper),
        settings=tuple(_settings(told)),
        columns=tuple(columns),
        concepts=tuple(concepts),
        cost=tuple(_write_costs(whole)),
        legend=tuple(legend),
        curves=tuple(draw_logs(_logs(measured, families))),
        heat=heat,
        entries=tuple(sorted(entries, key=lambda e: e.name)),
        commands=tuple(sorted({safe_command(entry.record) for entry in told} - {""})),
        versions=tuple(_merge([_versions(entry.record) for entry in told])),
        environment=tuple(_merge([_environment(entry.record) for entry in told])),
    )


def _write_costs(values: Mapping[str, Value]) -> list[tuple[str, str]]:
    return [
        (column.title, write_value(values[column.name], column.style))
        for column in COLUMNS
        if column.name in COSTS and column.name in values
    ]


def _versions(record: Record) -> list[tuple[str, str]]:
    """Return what made and judged a record's images; a task's version stands with its family's."""
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


def find_link(paper: str) -> str:
    """Return the address that a paper's text is or names, "" where there is none."""
    if re.fullmatch(r"https?://\S+", paper):
        return paper
    found = ARXIV.search(paper)
    return f"https://arxiv.org/abs/{found[1]}" if found else ""


def _settings(entries: Sequence[Loaded]) -> list[Setting]:
    """Return the configurations of these records, the shown one first, each once."""
    found: dict[str, Setting] = {}
    for entry in entries:
        config = entry.record.method.config
        key = content_key(config)
        shown = any(point.shown for point in entry.record.points) or (key in found and found[key].shown)
        found[key] = Setting(config, shown)
    return sorted(found.values(), key=lambda s: (not s.shown, content_key(s.values)))


def _concepts(part: Part, name: str, entries: Sequence[Loaded]) -> list[Concept]:
    results = {row.task: row for row in part.results if row.method == name}
    by_task: dict[str, list[Loaded]] = {}
    for entry in entries:
        by_task.setdefault(entry.record.task.id, []).append(entry)
    return [Concept(task, average_values(own), results.get(task)) for task, own in sorted(by_task.items())]


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
