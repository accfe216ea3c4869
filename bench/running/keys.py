"""Keys of the store: digests of all that a training or a record depends on, so that no stale one is used."""

from collections.abc import Iterable, Sequence
from typing import Any

from ..environment import package_versions
from ..measuring.extractors import find_extractors
from ..measuring.judging import find_plugin_judge
from ..metrics.features import LITE0
from ..models.outside import model_digest
from ..models.sampling import DRAWING_VERSION, NOISE_VERSION
from ..planning.plan import Cell
from ..planning.tasks import Task
from ..registry import Entry, Registry
from ..source import ROOT, source_digest
from ..store import content_key
from ..worlds.protocol import World

SCORING_MODULES = (
    "unlearnbench.bench.measuring.items",
    "unlearnbench.bench.judges.emoji",
    "unlearnbench.bench.judges.clip",
    "unlearnbench.bench.measuring.extractors",
    "unlearnbench.bench.running.assemble",
    "unlearnbench.bench.measuring.needed",
)
POOL_MODULE = "unlearnbench.bench.measuring.pool"
OPENING_MODULE = "unlearnbench.bench.models.outside"
"""The module that opens models that were not trained here: their fingerprint depends on how it does so."""


FLOAT32 = "torch.float32"


def train_key(cell: Cell, world: World, device: str, threads: int, dtype: str = FLOAT32) -> str:
    """Return the key of a cell's training.

    It holds the world, the concept and all targets of its kind, the method, its config, seed and data, the
    source of method and world, library versions and device. threads: CPU threads of the cell, in the key
    unless it trains on CUDA. dtype: of the networks' weights, in the key unless it is float32. A model that
    is evaluated as it is stands there by its digest.
    """
    fields: dict[str, Any] = {
        "drawing": DRAWING_VERSION,
        "world": world.digest,
        "device": device,
        # sums on a CPU are split among threads; on a GPU threads change no number
        "threads": None if device.startswith("cuda") else threads,
        "libraries": package_versions(),
        "model": models_digest(cell.models),
        "inputs": world.inputs(cell.task),
    }
    if dtype != FLOAT32:
        fields["dtype"] = dtype
    if cell.entry is not None:
        fields |= {
            "task": cell.task.concept.model_dump() | {"suite": sorted(cell.task.suite_targets)},
            "method": cell.entry.name,
            "config": cell.row.config,
            "seed": cell.seed,
            "data": cell.suite.data,
            "source": source_digest(cell.entry.module, *world_modules(world)),
        }
        if cell.entry.inline:
            fields["inline"] = cell.entry.inline
    else:
        fields["source"] = source_digest(OPENING_MODULE)
    return content_key(fields)


def world_modules(world: World) -> list[str]:
    """Return the modules that make a world's prompts and problems. A third party's world adds its own module,
    which opens its judge."""
    own = type(world).__module__
    return [world.problem_module, *([] if own.partition(".")[0] == ROOT else [own])]


def judge_modules(task: Task) -> list[str]:
    """Return the module of the third party's judge that a task names; empty where the world opens its own."""
    entry = find_plugin_judge(task)
    return [] if entry is None else [entry.module]


def problem_fields(cell: Cell, world: World) -> dict[str, Any]:
    """Return everything but the method that decides a cell's training images and how they are judged."""
    return {
        "world": world.digest,
        "inputs": world.inputs(cell.task),
        "task": [cell.task.id, cell.task.file.judge, cell.task.file.target_kind],
        "concept": cell.task.concept.model_dump() | {"suite": sorted(cell.task.suite_targets)},
        "data": cell.suite.data,
        "seed": cell.seed,
        "source": source_digest(
            world.problem_module, "unlearnbench.bench.judges.emoji", *judge_modules(cell.task)
        ),
    }


def models_digest(models: Sequence[str]) -> str:
    """Return the digest of models that somebody else made, in their order."""
    digests = [model_digest(model) for model in models or ("",)]
    return digests[0] if len(digests) == 1 else content_key({"models": digests})


def cell_key(
    cell: Cell, world: World, metrics: Registry[Entry], device: str, threads: int, dtype: str = FLOAT32
) -> str:
    """Return the key of a cell's record: its training, its prompts, its judges and its metrics."""
    # only where they are stated, so that the keys of earlier suites stay
    headline = {} if cell.suite.headline == "AVA" else {"headline": cell.suite.headline}
    label = {"label": cell.row.label} if cell.row.label else {}
    return content_key(
        headline
        | label
        | {
            "train": train_key(cell, world, device, threads, dtype),
            "task": [cell.task.id, cell.task.file.version, cell.task.concept.model_dump()],
            "suite_targets": sorted(cell.task.suite_targets),  # shown by no retain prompt
            "sizes": cell.suite.sizes.model_dump(),
            "drawn": [cell.suite.unscored_below, cell.row.shown],
            "noise": [cell.row.noise, NOISE_VERSION, DRAWING_VERSION],
            "intervals": cell.interval_version,
            "metrics": {entry.name: entry.version for entry in metrics.values()},
            "extractors": find_extractors(world) | {"reference": world.reference_key},
            "scoring": source_digest(
                *SCORING_MODULES,
                *world_modules(world),
                *judge_modules(cell.task),
                *(entry.module for entry in metrics.values()),
            ),
        }
    )


def pool_key(records: Iterable[str], worlds: Iterable[World]) -> str:
    """Return the key of pooled values: the keys of the records that they are made from, the extractors, and
    the source that pools."""
    return content_key(
        {
            "records": sorted(records),
            "extractors": sorted({str(find_extractors(world).get(LITE0)) for world in worlds}),
            "pool": source_digest(POOL_MODULE),
        }
    )
