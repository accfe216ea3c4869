"""The descriptive part of a record: task, method, prompts, time and commit."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

from ..environment import find_commit
from ..judges.packages import judge_versions
from ..measuring.judging import find_plugin_judge
from ..measuring.requests import ImageRequest
from ..models.saved.manifest import PointManifest
from ..planning.plan import RETRAIN, Cell
from ..planning.tasks import Task
from ..records.record import Cost, MethodInfo, PointInfo, Record, TaskInfo
from ..store import content_key
from ..types import Value, not_scored
from ..worlds.protocol import World

DIGITS, LOG_DIGITS = 7, 5
"""Significant digits of a record's values and of its training log."""
INTERVAL = "prompts and noise, one training run"


def describe_cell(cell: Cell, world: World, image_requests: Sequence[ImageRequest]) -> Record:
    """Return a record with everything that is known before anything is measured."""
    prompts = [
        [image_request.prompt.id, image_request.sample, image_request.seed]
        for image_request in image_requests
    ]
    return Record(
        cell=cell.stem,
        key="",
        suite=cell.suite.name,
        inline=cell.is_inline,
        source="measured",
        status="ok",
        error=None,
        task=describe_task(cell, world),
        method=describe_method(cell),
        seed=cell.seed,
        data=cell.suite.data,
        choice=cell.suite.choice_sha256,
        headline=cell.suite.headline,
        declaration=cell.suite.declaration_sha256,
        sampling={},
        prompts_sha256=content_key({"prompts": prompts}),
        metrics={},
        interval=INTERVAL,
        interval_version=cell.interval_version,
        points=[],
        log={},
        items_sha256=None,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        seconds=0.0,
        environment={},
        command="",
        commit=find_commit(),
    )


def describe_point(
    index: int,
    point: PointManifest,
    values: dict[str, Value],
    shown: int | None,
    unscored: str | None,
    failed_images: int = 0,
) -> PointInfo:
    """Return the entry of a saved point in a record. shown: as in MethodRow; the others: as in PointInfo."""
    cost = Cost(
        seconds=point.seconds,
        memory_bytes=point.memory,
        memory_of="process" if point.memory is None else "training",
        parameters=point.parameters,
        delta_bytes=point.bytes,
        distance=point.distance,
    )
    return PointInfo(
        index=index,
        step=point.step,
        label=point.label or str(point.step),
        fingerprint=point.fingerprint,
        values={name: _or_unscored(_rounded(value), unscored) for name, value in values.items()},
        cost=cost,
        shown=shown == point.step,
        unscored=unscored,
        failed_images=failed_images,
    )


def _rounded(value: Value) -> Value:
    numbers = {name: getattr(value, name) for name in ("value", "low", "high")}
    return value.model_copy(update={name: _to_digits(n, DIGITS) for name, n in numbers.items()})


def round_log(log: dict[str, list[float | None]]) -> dict[str, list[float | None]]:
    """Return a training log rounded to the digits of records."""
    return {column: [_to_digits(number, LOG_DIGITS) for number in row] for column, row in log.items()}


def _to_digits(number: float | None, digits: int) -> float | None:
    return None if number is None else float(f"{number:.{digits}g}")


def _or_unscored(value: Value, unscored: str | None) -> Value:
    return value if unscored is None or value.value is not None else not_scored(unscored)


def describe_task(cell: Cell, world: World) -> TaskInfo:
    """Return the entry of a cell's task in its record."""
    file, concept = cell.task.file, cell.task.concept
    return TaskInfo(
        id=cell.task.id,
        family=file.family,
        concept=concept.name,
        anchor=concept.anchor,
        world=world.id,
        judge=file.judge,
        role=concept.role,
        version=file.version,
        targets=concept.targets,
    )


def name_captions(task: Task) -> dict[str, str]:
    """Return the entry in a record's sampling that names its published captions; empty without captions."""
    captions = task.file.captions
    return {} if captions is None else {"captions": captions.name}


def describe_method(cell: Cell) -> MethodInfo:
    """Return the entry of a cell's method in its record: the whole config, with its defaults."""
    if cell.row.name == RETRAIN:
        return MethodInfo(
            name=cell.row.name,
            version=1,
            summary="trained anew from the start without any target of the task's kind: the gold standard",
            paper="",
            config={"without": sorted(cell.task.suite_targets)},
            reference=True,
        )
    if cell.models:
        return MethodInfo(
            name=cell.row.name,
            version=1,
            summary="somebody's models, evaluated as they are",
            paper="",
            config=cell.row.config,
        )
    if cell.entry is None:
        return MethodInfo(
            name=cell.row.name,
            version=1,
            summary="the base model itself, nothing forgotten",
            paper="",
            config={},
            reference=True,
        )
    config = cell.build_config()
    full = json.loads(config.model_dump_json()) if hasattr(config, "model_dump_json") else dict(vars(config))
    return MethodInfo(
        name=cell.entry.name,
        version=cell.entry.version,
        summary=cell.entry.summary,
        paper=cell.entry.paper,
        config=full,
        label=cell.row.label,
    )


def describe_judge(task: Task) -> dict[str, Any]:
    """Return the versions of the packages that a task's judge uses, nothing where it uses none."""
    found, plugin = judge_versions(task.file.judge), find_plugin_judge(task)
    if plugin is not None:
        found[plugin.distribution] = version(plugin.distribution)
    return {"judge_packages": found} if found else {}
