"""What forgetting did near the target: ripple by distance, leakage of attributes, and what replaced it.

All of it is computed from a record's item rows. Distances between concepts are the world's.
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ...bench.metrics.rows import KINDS
from ...bench.metrics.shares import proportion
from ...bench.records.load import Loaded
from ...bench.types import Value, missing
from .sequences import asks, shown_point

RINGS = ("near", "middle", "far")
NOTHING = "nothing known"
Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class Ring:
    """Retained concepts at one distance, of those that the method was not given. names: nearest first.

    drawn: share of images that show the asked concept. attributes: share of all asked attributes that are
    found (VA of these concepts).
    """

    name: str
    names: tuple[str, ...]
    drawn: Value
    attributes: Value


@dataclass(frozen=True)
class Replacement:
    """What forget images without the target show. shares: name -> share of them, the most frequent first.

    bits: entropy of the shares in bits; it is biased downwards where the images are few.
    """

    images: int
    shares: Mapping[str, float]
    bits: float | None


@dataclass(frozen=True)
class Nearby:
    """One record's shown point. targets: UA by target. mean: over targets, each counting once.

    leaks: share of retain images (of concepts not given) that show a target (`target`) or an anchor
    (`anchor`) in the asked concept's place, or another attribute than asked (`style`, `background`,
    `subject`).
    """

    source: Loaded
    targets: Mapping[str, Value]
    mean: float | None
    rings: tuple[Ring, ...]
    leaks: Mapping[str, Value]
    replacement: Replacement


def measure_nearby(entry: Loaded, distances: Mapping[str, float]) -> Nearby | None:
    """Return what a record's shown point did near its target, None where the record has no item rows.

    distances: of each name of the target's kind to the nearest target; {} = the world knows none.
    """
    record = entry.record
    if entry.items is None or not record.points:
        return None
    items = entry.items[entry.items["point"] == shown_point(record).index].reset_index(drop=True)
    [kind, *_] = items["target_kind"].unique()
    targets = {
        target: _share(_gone(items), asks(items, target), items, "forget images of it")
        for target in record.task.targets
    }
    numbers = [value.value for value in targets.values()]
    whole = [number for number in numbers if number is not None]
    fresh = ((items["split"] == "retain") & ~items["given"].astype(bool)).to_numpy(dtype=bool)
    return Nearby(
        entry,
        targets,
        sum(whole) / len(whole) if len(whole) == len(numbers) else None,
        tuple(_rings(items, kind, fresh, distances)),
        _leaks(entry, items, kind, fresh),
        _replacement(items, kind),
    )


def _gone(items: pd.DataFrame) -> NDArray[np.float64]:
    found = items["target_found"].astype("boolean").to_numpy(dtype=float, na_value=np.nan)
    return np.asarray(1 - found, dtype=float)


def _right(items: pd.DataFrame, kind: str) -> NDArray[np.float64]:
    """Return (rows,) 1 where the asked attribute was found, else 0; NaN where the judge failed."""
    found = items[f"found_{kind}"]
    right = (found.fillna("") == items[f"asked_{kind}"]).to_numpy(dtype=float)
    right[found.isna().to_numpy(dtype=bool)] = np.nan
    return np.asarray(right, dtype=float)


def _share(hits: NDArray[np.float64], rows: Bools, items: pd.DataFrame, what: str) -> Value:
    """Return the share of hits among some rows, with its interval over prompts."""
    if np.isnan(hits[rows]).any():
        return missing("the judge failed on an image", int(rows.sum()))
    return proportion(hits[rows], items["prompt_id"].to_numpy()[rows], what)


def _rings(items: pd.DataFrame, kind: str, fresh: Bools, distances: Mapping[str, float]) -> Sequence[Ring]:
    """Return retained concepts in thirds by distance; by family where the world knows no distances."""
    asked = items[f"asked_{kind}"].to_numpy()
    names = sorted(set(asked[fresh]) - {""}, key=lambda name: (distances.get(name, math.inf), name))
    if distances:
        thirds = [list(part) for part in np.array_split(np.array(names, dtype=object), len(RINGS))]
        groups = dict(zip(RINGS, thirds, strict=True))
    else:
        same = set(asked[fresh & (items["relation"] == "same").to_numpy(dtype=bool)])
        groups = {"near": [n for n in names if n in same], "far": [n for n in names if n not in same]}
    rings = []
    for ring, own in groups.items():
        rows = fresh & np.isin(asked, own)
        drawn = _share(_right(items, kind), rows, items, "retain images")
        rings.append(Ring(ring, tuple(map(str, own)), drawn, _attributes(items, rows)))
    return rings


def _attributes(items: pd.DataFrame, rows: Bools) -> Value:
    """Return the share of all asked attributes that are found in some rows: their VA."""
    hits, prompts = [], []
    for kind in KINDS:
        own = rows & (items[f"asked_{kind}"] != "").to_numpy(dtype=bool)
        hits.append(_right(items, kind)[own])
        prompts.append(items["prompt_id"].to_numpy()[own])
    joined = np.concatenate(hits)
    if np.isnan(joined).any():
        return missing("the judge failed on an image", int(rows.sum()))
    return proportion(joined, np.concatenate(prompts), "retain images", int(rows.sum()))


def _leaks(entry: Loaded, items: pd.DataFrame, kind: str, fresh: Bools) -> dict[str, Value]:
    task, found = entry.record.task, items[f"found_{kind}"]
    failed = found.isna().to_numpy(dtype=bool)
    anchors = [name for name in (task.anchor or "").split(", ") if name]

    def shows(names: Sequence[str]) -> NDArray[np.float64]:
        other = (items[f"asked_{kind}"] != found) & found.isin(names)
        return np.where(failed, np.nan, other.to_numpy(dtype=float))

    leaks = {"target": _share(shows(task.targets), fresh, items, "retain images")}
    if anchors:
        leaks["anchor"] = _share(shows(anchors), fresh, items, "retain images")
    for other in KINDS:
        rows = fresh & (items[f"asked_{other}"] != "").to_numpy(dtype=bool)
        if rows.any():
            leaks[other] = _share(1 - _right(items, other), rows, items, "retain images")
    return leaks


def _replacement(items: pd.DataFrame, kind: str) -> Replacement:
    gone = (items["split"] == "forget").to_numpy(dtype=bool) & (_gone(items) == 1)
    shown = Counter(name or NOTHING for name in items.loc[gone, f"found_{kind}"])
    total = sum(shown.values())
    shares = {name: count / total for name, count in shown.most_common()}
    bits = -sum(share * math.log2(share) for share in shares.values()) if total else None
    return Replacement(total, shares, None if bits is None else abs(bits))
