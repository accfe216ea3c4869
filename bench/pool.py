"""FD of a whole suite: features of all concepts' retain images pooled, so that there are enough of them."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydantic import BaseModel, ConfigDict

from .config import read_json
from .metrics.fd import IMAGES_PER_FEATURE, frechet_from_features
from .types import Value, View, missing

FOLDER, FILE = "pooled", "fd.json"


class Pooled(BaseModel):
    """Pooled FD by method. key: of the records that it was made from."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    key: str
    fd: dict[str, Value]


@dataclass(frozen=True)
class Part:
    """Features of one run's retain images on one concept, (n, d), and the reference's without its targets."""

    task: str
    seed: int
    images: np.ndarray
    reference: np.ndarray


def take_part(view: View, task: str, seed: int) -> Part:
    """Return the part of a view: retain rows of concepts that the method never got."""
    items = view.items
    rows = ((items["split"] == "retain") & ~items["given"].astype(bool)).to_numpy()
    return Part(task, seed, view.features["world"][rows], view.reference["world"])


def pooled_fd(parts: Iterable[Part], images: int) -> Value:
    """Return FD of the images of all concepts together, averaged over seeds; low and high: its range.

    images: how many a seed must have, the same for every row: FD falls with n, so unequal numbers would
    compare nothing. Each concept's reference is drawn on as often as it has images.
    """
    by_seed: dict[int, list[Part]] = {}
    for part in sorted(parts, key=lambda p: (p.seed, p.task)):
        by_seed.setdefault(part.seed, []).append(part)
    values, n = [], 0
    for found in by_seed.values():
        drawn = np.concatenate([part.images for part in found])
        n += len(drawn)
        if len(drawn) != images:
            return missing(f"{len(drawn)} retain images pooled, not the {images} of the other rows", n)
        reference = _references(found)
        if len(reference) < 2:
            return missing("the world has no reference images", n)
        values.append(frechet_from_features(drawn, reference))
    if not values:
        return missing("no images to pool")
    width = next(iter(by_seed.values()))[0].images.shape[1]
    if images < IMAGES_PER_FEATURE * width:
        return missing(f"{images} images for {width} features: FD would be bias", n)
    spread = (min(values), max(values)) if len(values) > 1 else (None, None)
    return Value(value=float(np.mean(values)), low=spread[0], high=spread[1], n=n)


def _references(parts: Sequence[Part]) -> np.ndarray:
    """Return references of all concepts, each cut to the same length so that concepts weigh alike."""
    shortest = min(len(part.reference) for part in parts)
    return np.concatenate([part.reference[:shortest] for part in parts])


def write_pooled(folder: Path, key: str, fd: Mapping[str, Value]) -> None:
    """Write the pooled values beside the records, atomically."""
    path = folder / FOLDER / FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = path.with_suffix(".tmp")
    content = Pooled(key=key, fd=dict(fd)).model_dump(mode="json")
    scratch.write_text(json.dumps(content, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    scratch.replace(path)


def read_pooled(folder: Path) -> Pooled | None:
    """Return the pooled values of a folder of records, None where there are none; UserError on a bad file."""
    path = folder / FOLDER / FILE
    return read_json(Pooled, path) if path.exists() else None
