"""The features of a view: their extractor, their rows, and their checks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..types import View
from .rows import check_items, describe_failed, describe_failed_base, in_split, pair_with_base

if TYPE_CHECKING:
    from numpy.typing import NDArray


WORLD = "world"
INCEPTION = "inception-clean"
CLIP = "clip"
LITE0 = "efficientnet-lite0"
REASONS = {
    INCEPTION: "clean-fid's Inception weights are not on this machine",
    LITE0: "efficientnet-lite0 is not installed (the extra unlearnbench[imagenet])",
}
"""Why the features of an extractor that not every machine has are missing."""


@dataclass(frozen=True)
class Sides:
    """Features to compare, float64: a point's retain rows (n, d), their prompts (n,), the reference (m, d),
    and the base model's images of the same prompts and noise (n, d), or None. why_no_base: the reason
    then."""

    point: NDArray[np.float64]
    prompts: NDArray
    reference: NDArray[np.float64]
    base: NDArray[np.float64] | None
    why_no_base: str = "no base model to compare with"


def world_extractor(view: View) -> str | None:
    """Return the key of the world's own features: `world`, or the only key that no other extractor has.

    None where there is none. Raises ValueError where several could be meant.
    """
    keys = sorted(set(view.features) - {INCEPTION, CLIP, LITE0})
    if WORLD in keys or len(keys) < 2:
        return WORLD if WORLD in keys else next(iter(keys), None)
    raise ValueError(f"several extractors could be the world's: {', '.join(keys)}")


def reason_without(extractor: str) -> str:
    """Return why a value that needs an extractor's features is missing."""
    return REASONS.get(extractor, f"no features of the {extractor} extractor")


def item_features(view: View, extractor: str) -> NDArray[np.float64]:
    """Return (rows, d) float64 features aligned with the items; ValueError where rows are missing."""
    features = _matrix(view.features[extractor], f"features[{extractor!r}]")
    if len(features) != len(view.items):
        raise ValueError(f"features[{extractor!r}] have {len(features)} rows, the items {len(view.items)}")
    return features


def base_features(view: View, extractor: str) -> NDArray[np.float64] | None:
    """Return (rows, d) features of the base's images of the same prompts and noise, in the view's order.

    None without a base or without its features. Raises ValueError where the rows do not pair, or where the
    widths differ, which means another extractor.
    """
    if view.base is None or extractor not in view.base.features:
        return None
    theirs = item_features(view.base, extractor)[pair_with_base(view)]
    _same_width(item_features(view, extractor), theirs, extractor)
    return theirs


def compared(view: View, extractor: str | None) -> Sides | str:
    """Return the two or three sides of a set distance, or the reason why there is nothing to compare.

    The point's side holds all its retain rows and no others: forget prompts are meant to change. Raises
    ValueError for features of another width, or of another number of rows than the items.
    """
    check_items(view.items)
    if extractor is None or extractor not in view.features:
        return reason_without(extractor or WORLD)
    if extractor not in view.reference:
        return f"no reference features of the {extractor} extractor"
    features, rows = item_features(view, extractor), in_split(view.items, "retain")
    if failed := describe_failed(view.items, rows):
        return failed
    reference = _matrix(view.reference[extractor], f"reference[{extractor!r}]")
    _same_width(features, reference, extractor)
    base, failed = base_features(view, extractor), describe_failed_base(view, rows)
    sides = Sides(
        features[rows],
        view.items["prompt_id"].to_numpy()[rows],
        reference,
        None if base is None or failed else base[rows],
        failed or Sides.why_no_base,
    )
    for matrix in (sides.point, sides.reference, sides.base):
        bad = 0 if matrix is None else int((~np.isfinite(matrix)).any(axis=1).sum())
        if bad:
            return f"the {extractor} extractor failed on {bad} images"
    return sides


def _matrix(array: NDArray, name: str) -> NDArray[np.float64]:
    matrix = np.asarray(array, dtype=np.float64)
    if matrix.ndim != 2:
        raise ValueError(f"{name} have shape {matrix.shape}, not (rows, d)")
    return matrix


def _same_width(first: NDArray, second: NDArray, extractor: str) -> None:
    if first.shape[1] != second.shape[1]:
        raise ValueError(f"{extractor}: features of width {first.shape[1]} against width {second.shape[1]}")
