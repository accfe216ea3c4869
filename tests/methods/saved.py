"""Train a method as a run does, and keep its last point in a file."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from unlearnbench.bench.models.generators import Generator
from unlearnbench.bench.models.points import ModelHolder, train_points
from unlearnbench.bench.models.saved.applied import find_applied
from unlearnbench.bench.models.saved.deltas import Delta, read_delta
from unlearnbench.bench.models.saved.manifest import PointManifest
from unlearnbench.bench.registry import Entry
from unlearnbench.bench.store import Store

from .redraw import SAMPLING, Saved, hash_images
from .tiny import build_problem, small_config


@dataclass(frozen=True)
class Trained:
    """A point as it was saved, the pipeline that was trained, and what that draws itself (`images`)."""

    pipeline: Any
    saved: Saved
    point: PointManifest
    delta: Delta
    images: list[str]


def save_point(entry: Entry, model: Path, folder: Path, **config: Any) -> Trained:
    """Run a method on a pipeline's folder; return its last point. folder: for the store and the delta."""
    holder, store = ModelHolder(str(model), SAMPLING, "cpu"), Store(folder / "store")
    pipeline = holder.open()
    holder.open = lambda: pipeline  # type: ignore[method-assign]
    manifest = train_points(holder, store, "key", build_problem(), entry, small_config(entry, **config), "t")
    point = manifest.points[-1]
    payload = store.get("deltas", point.delta)
    assert payload is not None
    file = folder / f"{entry.name}-{point.fingerprint[:16]}.delta"
    file.write_bytes(payload)
    delta = read_delta(payload, "unet" if hasattr(pipeline, "unet") else "transformer")
    applied = None if delta.applied is None else find_applied(delta.applied, delta.tensors, "test")
    images = hash_images(Generator(pipeline, SAMPLING, "", applied=applied))
    return Trained(pipeline, Saved(str(model), point.delta, str(file)), point, delta, images)
