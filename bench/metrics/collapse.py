"""Collapse check: does the model still draw different images, or noise, blanks, one image for all?"""

from __future__ import annotations

from typing import TYPE_CHECKING, get_args

import numpy as np

from ..types import Metric, Split, Value, View, missing
from .features import base_features, item_features, reason_without, world_extractor
from .rows import check_items, describe_failed, describe_failed_base, in_split

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    Rows = NDArray[np.bool_]


REGISTER = {
    "summary": "collapse check: 1 draws as varied images as the base, 0 draws blanks, noise or one image",
    "paper": "",
    "version": 1,
    "direction": "up",
    "needs": ["items", "features:world"],
    "function": "METRIC",
}
FLAT = 0.02
"""An image whose pixels have a standard deviation below this (5 of 255) is blank. It is computed within each
colour channel: across channels a plain red image would look structured."""
COLLAPSED = 0.25
"""Below this value a model is flagged: most images are blank or copies, or most variety is gone."""


def is_collapsed(value: Value) -> bool | None:
    """Return whether a value of `collapse` is flagged; None where it is missing, which is not a pass."""
    return None if value.value is None else value.value < COLLAPSED


def per_item(items: pd.DataFrame) -> pd.Series:
    """Return 1 for an image that is neither blank nor a copy of an image of another seed, else 0.

    NaN where the image's digest or flatness is missing.
    """
    import pandas as pd

    flatness = items["flatness"].to_numpy(dtype=float, na_value=np.nan)
    seeds = items.groupby("image_sha256")["seed"].transform("nunique").to_numpy(dtype=float, na_value=np.nan)
    sound = ((flatness >= FLAT) & (seeds == 1)).astype(float)
    return pd.Series(np.where(np.isnan(flatness) | np.isnan(seeds), np.nan, sound), items.index)


def reduce(scores: pd.Series | None, view: View) -> dict[str, Value]:
    """Return collapse, the least of collapse_images and collapse_variance over the splits, and these two.

    collapse_images: share of images that are neither blank nor copies. collapse_variance: total feature
    variance over that of the base's images of the same prompts and noise, at most 1; to an extractor noise
    and blanks look alike, so it falls. Without a base, retain rows are compared with the reference images;
    forget rows are not, since they ask for only one concept. The value is the least over splits, not the
    mean, because a model can collapse on the forget prompts only.
    """
    items = view.items
    check_items(items)
    splits = [rows for split in get_args(Split) if (rows := in_split(items, split)).any()]
    if not splits:
        return dict.fromkeys(("collapse", "collapse_images", "collapse_variance"), missing("no images"))
    if failed := describe_failed(items):
        names = ("collapse", "collapse_images", "collapse_variance")
        return dict.fromkeys(names, missing(failed, len(items)))
    sound = np.asarray(per_item(items) if scores is None else scores, dtype=float)
    images = _images(sound, splits)
    variance = _variance(view, splits)
    return {"collapse": _least(images, variance), "collapse_images": images, "collapse_variance": variance}


def _images(sound: NDArray[np.float64], splits: list[Rows]) -> Value:
    failures = int(np.isnan(sound).sum())
    if failures:
        return missing(f"no digest or flatness of {failures} of {sound.size} images", sound.size)
    return Value(value=min(float(sound[rows].mean()) for rows in splits), n=sound.size)


def _variance(view: View, splits: list[Rows]) -> Value:
    n, extractor = len(view.items), world_extractor(view)
    if extractor is None:
        return missing(reason_without("world"), n)
    features, base = item_features(view, extractor), base_features(view, extractor)
    if failed := describe_failed_base(view, np.ones(n, dtype=bool)):
        return missing(failed, n)
    if base is not None:
        pairs = [(features[rows], base[rows]) for rows in splits if rows.sum() > 1]
    else:
        retain = in_split(view.items, "retain")
        pairs = [(features[retain], np.asarray(view.reference.get(extractor, np.empty((0, 1))), dtype=float))]
    shares = [_kept(x, y) for x, y in pairs]
    if not shares or not np.isfinite(shares).all():
        return missing("no varied images of the base or the reference to compare with", n)
    return Value(value=min(shares), n=n)


def _kept(x: NDArray[np.float64], y: NDArray[np.float64]) -> float:
    """Return the share, at most 1, of y's total feature variance that x has; NaN where it is undefined."""
    if min(len(x), len(y)) < 2 or y.var(axis=0).sum() == 0:
        return float("nan")
    return float(np.minimum(1.0, x.var(axis=0, ddof=1).sum() / y.var(axis=0, ddof=1).sum()))


def _least(first: Value, second: Value) -> Value:
    for part in (first, second):
        if part.value is None:
            return part
    return min((first, second), key=lambda part: float(part.value or 0.0))


METRIC = Metric(per_item=per_item, reduce=reduce)
