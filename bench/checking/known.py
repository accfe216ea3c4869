"""Compare a record's task, method, metrics and suite with those of this package."""

import hashlib
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from ..config import build
from ..errors import UserError
from ..metrics.rows import BASE_FAILED
from ..names import file_part, task_part
from ..planning.plan import REFERENCES, MethodRow, Suite
from ..planning.sequences import cell_parts
from ..planning.tasks import Task
from ..records.load import Loaded
from ..records.record import Record
from ..records.statements import CLAIMED
from ..registry import Entry, Registry
from ..running.catalog import open_folder_world, open_world, registry, suites_folder
from ..running.session import DEFAULT_WORLD, WorldSettings, open_tasks, open_worlds
from ..worlds.protocol import World
from .expected import Expectations, noise_of
from .named import Check
from .sequences import find_problems_in_sequence, targets_of

RESULTS = "results"
"""Folder of published records, with one folder for each suite."""
VALUES = {
    "UA": ("UA", "UA_other", "UA_nothing", "UA_indirect"), "VA": ("VA", "VA_given"),
    "in_prompt": ("in_prompt",), "IRA": ("IRA", "IRA_given"), "CRA": ("CRA", "CRA_given"),
    "AS": ("AS", "AS_chance", "AS_delta"), "collapse": ("collapse", "collapse_images", "collapse_variance"),
    **{name: (name, f"{name}_base") for name in ("KID", "FD", "FID", "CMMD", "KD_efficientnet_lite0")},
}  # fmt: skip
"""Metric -> names of all values that it may give. A plug-in metric gives NAME and NAME_..."""
LATER = {"CMMD", "KD_efficientnet_lite0"}
"""Metrics that older records lack. Every record has all others of VALUES."""


@dataclass
class Known:
    """What this package provides. open_world: name -> world. find_suite: a shipped suite by name, or None."""

    tasks: Registry[Task]
    methods: Registry[Entry]
    attacks: Registry[Entry]
    metrics: Registry[Entry]
    open_world: Callable[[str], World]
    find_suite: Callable[[str], Suite | None]
    declarations: Mapping[str, str] = field(default_factory=dict)  # sha256 -> name of a shipped declaration
    expectations: Expectations = field(default_factory=Expectations)
    bases: dict[Path, dict[tuple[str, str, int], Loaded]] = field(default_factory=dict)


def find_problems_in_versions(record: Record, known: Known) -> Iterator[str]:
    """Yield where a record's task, world, judge, method or metrics are not those of this package."""
    if record.task.id not in known.tasks:
        remedy = "add the plug-in that brings it, or give its file with --task-file"
        yield f"task.id: {record.task.id} is no task of this package; {remedy}"
        return
    task = known.tasks[record.task.id]
    world = known.open_world(task.file.world)
    for complaint in find_problems_in_sequence(record, known.tasks):
        yield complaint
        return
    own: dict[str, Any] = {"family": task.file.family, "concept": task.concept.name, "world": world.id,
                           "judge": task.file.judge, "role": task.concept.role,
                           "version": task.file.version, "targets": targets_of(record, known.tasks),
                           "anchor": _anchor(record, task, known)}  # fmt: skip
    for name, value in own.items():
        stated = getattr(record.task, name)
        if stated != value:
            yield f"task.{name}: the record says {stated!r:.60}, this package {value!r:.60}"
    for name, version in record.metrics.items():
        if name not in known.metrics:
            yield f"metrics.{name}: no such metric in this package; add the plug-in that brings it"
        elif known.metrics[name].version != version:
            yield f"metrics.{name}: version {version}; this package has {known.metrics[name].version}"
    yield from _find_problems_in_method(record, known)


def _anchor(record: Record, task: Task, known: Known) -> str | None:
    """Return the anchor that a record must name: its suite's, else its task's. Without a suite: its own."""
    suite = suite_of(record, known)
    if suite is None:
        return record.task.anchor
    named = {name.partition("@")[0]: anchor for name, anchor in suite.anchors.items()}
    return named.get(task.id.partition("@")[0], task.concept.anchor)


def _find_problems_in_method(record: Record, known: Known) -> Iterator[str]:
    method, evaluated = record.method, is_evaluated(record)
    if method.reference != (method.name in REFERENCES):
        what = "is" if method.reference else "is not"
        yield f"method.reference: {method.name} {what} said to be a model that the world supplies"
    if method.reference:
        return
    if method.name not in known.methods:
        if not (evaluated or record.inline or record.source == "external"):
            remedy = "install the plug-in that brings it"
            yield f"method.name: {method.name!r:.60} is no method of this package; {remedy}"
        return
    entry = known.methods[method.name]
    if evaluated:
        yield f"method.name: {method.name} is a method of this package; evaluated models have another name"
    elif entry.version != method.version:
        yield f"method.version: {method.name} {method.version}; this package has {entry.version}"
    else:
        try:
            build(entry.load_config(), method.config, "method.config")
        except UserError as error:
            yield str(error)


def is_evaluated(record: Record) -> bool:
    """Return whether a record is of given models that `evaluate` measured."""
    return "model" in record.method.config or "points" in record.method.config


def suite_of(record: Record, known: Known) -> Suite | None:
    """Return the shipped suite that a record names, None where it names none."""
    return known.find_suite(record.suite.partition("-draw-")[0])


def find_problems_in_metrics(record: Record) -> Iterator[str]:
    """Yield where a record lacks a metric or its value, or states a value that no metric of it gives."""
    for point in record.points:
        for name in point.values:
            if not any(_gives(metric, name) for metric in record.metrics):
                yield f"points.values.{name}: belongs to no metric that the record names"
    if record.status != "ok":
        return
    lacking = [name for name in VALUES if name not in LATER and name not in record.metrics]
    if lacking:
        yield f"metrics: lacks {', '.join(lacking)}; every record has these"
    for point in record.points:
        lost = [name for name in record.metrics if name not in point.values]
        if lost:
            yield f"points.values: point {point.label} lacks {lost[0]}, a metric that the record names"
            return
        values = point.values
        failed = point.failed_images or str(values["collapse"].missing).startswith(BASE_FAILED)
        if (
            "KID" in values
            and values["KID"].value is not None
            and values["collapse"].value is None
            and not failed
        ):
            yield f"points.values.collapse: point {point.label} lacks it, though it has the features of KID"


def _gives(metric: str, name: str) -> bool:
    if metric in VALUES:
        return name in VALUES[metric]
    return name == metric or name.startswith(f"{metric}_")


def find_problems_in_suite(path: Path, record: Record, known: Known) -> Iterator[str]:
    """Yield where a record differs from what its suite makes: folder, name, noise, choice, shown point."""
    folder = path.resolve().parent
    folder = folder.parent if folder.name == CLAIMED else folder
    if record.mark and (folder.parent.name == RESULTS or record.source == "reported"):
        yield f"{record.mark}: {record.method.name}: such a record is never published"
    if folder.parent.name == RESULTS and folder.name != record.suite and known.find_suite(folder.name):
        yield f"suite: is {record.suite}, but the record lies in {RESULTS}/{folder.name}"
    suite = suite_of(record, known)
    rows = [] if suite is None else [row for row in suite.methods if _is_row(row, record, known)]
    noises = {row.noise for row in suite.methods if row.name == record.method.name} if suite else set()
    if noise_of(record) not in (noises or {0}) and (suite is not None or not record.method.reference):
        drawn = sorted(noises or {0})
        yield f"sampling.noise: {noise_of(record)}; {record.method.name} is drawn with {drawn}"
    if suite is not None and record.headline != suite.headline:
        yield f"headline: is {record.headline}; the board of {suite.name} is ordered by {suite.headline}"
    yield from _find_problems_in_label(record, suite)
    yield from _find_problems_in_declaration(record, suite, known)
    yield from _find_problems_in_stem(record, rows)
    yield from _find_problems_in_choice(record, suite, rows)


def _find_problems_in_label(record: Record, suite: Suite | None) -> Iterator[str]:
    """Yield where a record's row on the board is none of its suite's."""
    if suite is None:
        return
    name, label = record.method.name, record.method.label
    labels = {row.label for row in suite.methods if row.name == name} or {""}
    if label not in labels:
        yield f"method.label: is {label!r}; {suite.name} has {', '.join(map(repr, sorted(labels)))} of {name}"


def _find_problems_in_declaration(record: Record, suite: Suite | None, known: Known) -> Iterator[str]:
    """Yield where the record of a shipped suite holds the digest of no shipped declaration.

    An earlier declaration of a suite counts as long as its file ships: what a run was declared by stays true.
    """
    if suite is None or (suite.declaration is None and not record.declaration):
        return
    if not record.declaration:
        yield f"declaration: is not there; {suite.name} was declared beforehand in {suite.declaration}"
    elif record.declaration not in known.declarations:
        shipped = ", ".join(sorted(known.declarations.values())) or "none ships"
        yield f"declaration: no shipped file has the digest {record.declaration:.64} (shipped: {shipped})"


def check_declaration(record: Record, known: Known) -> list[Check]:
    """Return a check for a record of no shipped suite whose declaration does not ship, else nothing."""
    if not record.declaration or record.declaration in known.declarations or suite_of(record, known):
        return []
    text = f"declaration: no shipped file has the digest {record.declaration:.64}; ask for the text"
    return [Check("versions", "unchecked", text)]


def find_declarations(folder: Path) -> dict[str, str]:
    """Return the declarations in a folder of suites: sha256 -> file name."""
    return {hashlib.sha256(path.read_bytes()).hexdigest(): path.name for path in sorted(folder.glob("*.md"))}


def _is_row(row: MethodRow, record: Record, known: Known) -> bool:
    """Return whether a record is of a suite's row. Settings of later versions have their defaults."""
    method = record.method
    if (row.name, row.label, row.noise) != (method.name, method.label, noise_of(record)):
        return False
    if method.reference:
        return True
    kind = known.methods[row.name].load_config()
    return bool(kind(**row.config) == kind(**method.config))


def _find_problems_in_stem(record: Record, rows: list[MethodRow]) -> Iterator[str]:
    """Yield where a cell's name differs from its content: two files of one cell would count as two runs.

    The name holds the configuration as its suite writes it; that of a method in no shipped suite is unknown.
    """
    method, task = record.method, task_part(record.task.id)
    configs = [row.config for row in rows]
    if method.reference or is_evaluated(record):
        configs = [{} if method.reference else method.config]
    turn = None if record.sequence is None else (record.sequence.tasks, record.sequence.step)
    parts = [cell_parts(config, noise_of(record), record.data, method.label, turn) for config in configs]
    digests, place = [digest for digest, _ in parts], cell_parts({}, 0, "", "", turn)[1]
    first, last = f"{task}.{method.name}.", f".s{record.seed}{place}"
    if is_evaluated(record) and not record.cell.startswith(first):
        first = f"{task}.{file_part(method.name)}."
    middle = record.cell.removeprefix(first).removesuffix(last)
    named = record.cell == first + middle + last and re.fullmatch(r"[0-9a-f]{6}", middle)
    if not named or (digests and middle not in digests):
        yield f"cell: is not named {first}{digests[0] if digests else 'CONFIG'}{last}, as its content says"


def _find_problems_in_choice(record: Record, suite: Suite | None, rows: list[MethodRow]) -> Iterator[str]:
    """Yield where a record's choice is not its suite's, or it shows a point that was not chosen."""
    shown = [point.step for point in record.points if point.shown]
    if suite is None:
        if shown and (record.choice is None or len(shown) > 1):
            yield f"points.shown: of the steps {shown}; one point is shown, where a choice was made before"
        return
    if record.choice != suite.choice_sha256:
        yield f"choice: is not the digest of the configurations that {suite.name} chose"
    chosen = [[row.shown] if row.shown else [] for row in rows] or [[]]
    if record.status == "ok" and shown not in chosen:
        yield f"points.shown: of the steps {shown}; {suite.name} chose {chosen[0]}"


def make_known(settings: WorldSettings = DEFAULT_WORLD) -> Known:
    """Return the package's tasks, methods, metrics, worlds and suites, for `validate`.

    settings: where parts of real models lie.
    """
    from ..planning.plan import read_suite, resolve_presets, take_choice

    folder = settings.world_folder
    own = None if folder is None else open_folder_world(folder).name

    @cache
    def find_suite(name: str) -> Any:
        path = suites_folder() / f"{name}.toml"
        if not path.is_file():
            return None
        return resolve_presets(take_choice(read_suite(path)), registry("methods"))

    @cache
    def find_world(name: str) -> World:
        if folder is not None and name == own:
            return open_folder_world(folder)
        world = open_world(name)
        return open_worlds({name}, settings)[name] if world.is_placed else world

    return Known(
        open_tasks(settings),
        registry("methods"),
        registry("attacks"),
        registry("metrics"),
        find_world,
        find_suite,
        find_declarations(suites_folder()),
    )
