"""Distances of a whole suite: the retain images of all concepts are pooled, so that there are enough."""

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from ..config import read_json
from ..files import write_file
from ..metrics.fd import IMAGES_PER_FEATURE, frechet_from_features
from ..metrics.features import LITE0, WORLD, reason_without
from ..metrics.kid import POLYNOMIAL
from ..metrics.mmd import CHUNK
from ..records.record import Record
from ..store import content_key
from ..types import Value, View, missing

FOLDER, FILE = "pooled", "fd.json"
FD, KD = "FD", "KD_efficientnet_lite0"
"""The metrics whose values are pooled."""
EXTRACTORS = {FD: WORLD, KD: LITE0}
BASE_ROW = "none"
"""The row whose number of images every other row must have."""


class Pooled(BaseModel):
    """Pooled distances by row. key: of the records that they were made from; made_from: digest of each row's.

    Older files have only FD, and no `made_from`.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    key: str
    fd: dict[str, Value]
    kd_efficientnet_lite0: dict[str, Value] = Field(default_factory=dict)
    made_from: dict[str, str] = Field(default_factory=dict)

    @property
    def by_metric(self) -> dict[str, dict[str, Value]]:
        """Metric -> row -> value; metrics without any value are left out."""
        found = {FD: self.fd, KD: self.kd_efficientnet_lite0}
        return {name: values for name, values in found.items() if values}


@dataclass(frozen=True)
class Part:
    """Features by extractor of one run on one concept: its retain images (n, d), and the reference images
    without its targets (m, d)."""

    task: str
    seed: int
    images: Mapping[str, np.ndarray]
    reference: Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Row:
    """The inputs of one row's values.

    made_from: see `digest_of`. images: number of images that its records name, by seed. lacking: why some are
    not there, "" where all are.
    """

    made_from: str
    images: Mapping[int, int]
    parts: tuple[Part, ...]
    lacking: str = ""


def take_part(view: View, task: str, seed: int) -> Part:
    """Return the part of a view: its retain rows of concepts that the method was not given."""
    items = view.items
    rows = ((items["split"] == "retain") & ~items["given"].astype(bool)).to_numpy()
    there = [name for name in EXTRACTORS.values() if name in view.features]
    images = {name: view.features[name][rows] for name in there}
    return Part(task, seed, images, {name: view.reference[name] for name in there})


def digest_of(records: Iterable[Record]) -> str:
    """Return the digest of records over their keys and item rows, which hold the digests of the images."""
    return content_key({"records": sorted([record.key, record.items_sha256 or ""] for record in records)})


def whole_row(records: Iterable[Record], parts: Sequence[Part]) -> Row:
    """Return a row of which every image is there."""
    images: Counter[int] = Counter()
    for part in parts:
        images[part.seed] += len(next(iter(part.images.values())))
    return Row(digest_of(records), images, tuple(parts))


def make_pooled(
    key: str, rows: Mapping[str, Row], there: Pooled | None, whole: Mapping[str, str] | None = None
) -> Pooled:
    """Return the values of all rows, one of which is `none`.

    whole: digest of the records of every row of the folder. A row that is not in `rows` keeps its value in
    `there` if both it and the base model's row were made from these records.
    A row with missing images or features keeps its value in `there`, if that was made from the same records
    and as many images; otherwise its value is missing.
    """
    number = rows[BASE_ROW].images[min(rows[BASE_ROW].images)]
    values = {
        metric: {
            name: _value(row, metric, number, _kept(name, row, metric, there)) for name, row in rows.items()
        }
        for metric in EXTRACTORS
    }
    others = _find_others(rows, there, whole or {})
    for metric in EXTRACTORS:
        found = {} if there is None else there.by_metric.get(metric, {})
        values[metric] |= {name: found[name] for name in others if name in found}
    tried = any(LITE0 in part.images for row in rows.values() for part in row.parts)
    known = tried or any(value.value is not None for value in values[KD].values())
    return Pooled(
        key=key,
        fd=values[FD],
        kd_efficientnet_lite0=values[KD] if known else {},
        made_from={name: row.made_from for name, row in rows.items()} | others,
    )


def _find_others(rows: Mapping[str, Row], there: Pooled | None, whole: Mapping[str, str]) -> dict[str, str]:
    """Return the digests of the rows that only `there` has, and whose records are those of the folder."""
    if there is None or there.made_from.get(BASE_ROW) != rows[BASE_ROW].made_from:
        return {}
    return {
        name: digest
        for name, digest in there.made_from.items()
        if name not in rows and whole.get(name) == digest
    }


def _kept(name: str, row: Row, metric: str, there: Pooled | None) -> Value | None:
    """Return the value in `there` of a row that was made from the same records."""
    if there is None or there.made_from.get(name) != row.made_from:
        return None
    return there.by_metric.get(metric, {}).get(name)


def _value(row: Row, metric: str, images: int, kept: Value | None) -> Value:
    """Return a row's value: measured, else kept, else missing."""
    there = not row.lacking and all(EXTRACTORS[metric] in part.images for part in row.parts)
    if there:
        return pool(metric, row.parts, images)
    if kept is not None and kept.value is not None and kept.n == images * len(row.images):
        return kept
    return missing(row.lacking or reason_without(EXTRACTORS[metric]))


def pool(metric: str, parts: Iterable[Part], images: int) -> Value:
    """Return FD or KD of the images of all concepts together, averaged over seeds; low and high: its range.

    images: number that each seed must have, the same for every row: FD falls with n, so values at unequal
    numbers are not comparable. The references of all concepts have the same weight.
    """
    extractor = EXTRACTORS[metric]
    by_seed: dict[int, list[Part]] = {}
    for part in sorted(parts, key=lambda p: (p.seed, p.task)):
        by_seed.setdefault(part.seed, []).append(part)
    values, n = [], 0
    for found in by_seed.values():
        drawn = np.concatenate([part.images[extractor] for part in found])
        n += len(drawn)
        if len(drawn) != images:
            return missing(f"{len(drawn)} retain images pooled, not the {images} of the other rows", n)
        reference = _references([part.reference[extractor] for part in found])
        if min(len(reference), len(drawn)) < 2:
            return missing("the world has no reference images", n)
        if not (np.isfinite(drawn).all() and np.isfinite(reference).all()):
            return missing(f"the {extractor} extractor failed on some images", n)
        values.append((frechet_from_features if metric == FD else kernel_distance)(drawn, reference))
    if not values:
        return missing("no images to pool")
    width = next(iter(by_seed.values()))[0].images[extractor].shape[1]
    if metric == FD and images < IMAGES_PER_FEATURE * width:
        return missing(f"{images} images for {width} features: FD would be bias", n)
    spread = (min(values), max(values)) if len(values) > 1 else (None, None)
    return Value(value=float(np.mean(values)), low=spread[0], high=spread[1], n=n)


def _references(parts: Sequence[np.ndarray]) -> np.ndarray:
    """Return the references of all concepts, each cut to the same length so that concepts weigh alike."""
    shortest = min(len(part) for part in parts)
    return np.concatenate([part[:shortest] for part in parts])


def kernel_distance(x: np.ndarray, y: np.ndarray) -> float:
    """Return the unbiased MMD^2 of x (n, d) and y (m, d) by KID's kernel; it may be below 0.

    Concepts share reference images, so y holds the same image many times. A pair of an image with itself is
    no pair of two draws: such pairs are left out, like the diagonal. Where y repeats nothing, this is
    `metrics.mmd.mmd`. Images in x that look alike are the model's doing and stay.
    """
    distinct, times = np.unique(np.asarray(y, dtype=np.float64), axis=0, return_counts=True)
    drawn = np.asarray(x, dtype=np.float64)
    of_x, of_y = np.full(len(drawn), 1 / len(drawn)), times / times.sum()
    cross = _weighted(drawn, of_x, distinct, of_y)
    return _apart(drawn, of_x) + _apart(distinct, of_y) - 2 * cross


def _apart(x: np.ndarray, weights: np.ndarray) -> float:
    """Return the weighted mean kernel of all pairs of two rows; weights sum to 1."""
    own = weights**2
    itself = float(own @ POLYNOMIAL.itself(x))
    return (_weighted(x, weights, x, weights) - itself) / (1 - float(own.sum()))


def _weighted(x: np.ndarray, of_x: np.ndarray, y: np.ndarray, of_y: np.ndarray) -> float:
    """Return the weighted mean kernel of x with y, in chunks: the whole matrix may not fit in memory."""
    parts = [slice(i, i + CHUNK) for i in range(0, len(x), CHUNK)]
    return float(sum(of_x[part] @ POLYNOMIAL.between(x[part], y) @ of_y for part in parts))


def write_pooled(folder: Path, pooled: Pooled) -> Path:
    """Write the pooled values next to the records, atomically; return the path."""
    path = folder / FOLDER / FILE
    content = json.dumps(pooled.model_dump(mode="json"), indent=1, sort_keys=True, allow_nan=False)
    return write_file(path, content + "\n")


def read_pooled(folder: Path) -> Pooled | None:
    """Return the pooled values of a folder of records, None where there are none; UserError on a bad file."""
    path = folder / FOLDER / FILE
    return read_json(Pooled, path) if path.exists() else None
