"""AS: cosine of image and prompt embeddings, the field's alignment score."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..stats.intervals import cluster_bootstrap
from ..types import Metric, Value, View, missing
from .rows import check_items, describe_failed, describe_failed_base, in_split, is_given, pair_with_base

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray


REGISTER = {
    "name": "AS",
    "summary": "alignment score: mean cosine of image and prompt embeddings on retain prompts",
    "paper": "Ko et al. 2024, arXiv 2412.07808",
    "version": 1,
    "direction": "up",
    "needs": ["items", "alignment"],
    "function": "METRIC",
}


def per_item(items: pd.DataFrame) -> pd.Series:
    """Return the cosine of each retain image of a concept that was not given; NaN elsewhere."""
    import pandas as pd

    cosine = items["alignment"].to_numpy(dtype=float, na_value=np.nan, copy=True)
    cosine[~(in_split(items, "retain") & ~is_given(items))] = np.nan
    return pd.Series(cosine, items.index)


def reduce(scores: pd.Series | None, view: View) -> dict[str, Value]:
    """Return AS, AS_delta (its paired difference to the base) and AS_chance (AS minus shuffled pairs').

    All over retain images of concepts not given; every image counts once; intervals over prompts. One missing
    cosine makes the value missing. Raises ValueError where the base's rows do not pair with these.
    """
    items = view.items
    check_items(items)
    rows = in_split(items, "retain") & ~is_given(items)
    prompts = items["prompt_id"].to_numpy()[rows]
    cosine = np.asarray(per_item(items) if scores is None else scores, dtype=float)[rows]
    if failed := describe_failed(items, rows):
        return dict.fromkeys(("AS", "AS_delta", "AS_chance"), missing(failed, int(rows.sum())))
    shuffled = _column(items, "alignment_shuffled")[rows]
    delta = _difference(cosine, _base_cosine(view, rows), prompts)
    if failed := describe_failed_base(view, rows):
        delta = missing(failed, int(rows.sum()))
    return {
        "AS": _mean(cosine, prompts),
        "AS_delta": delta,
        "AS_chance": _difference(cosine, shuffled, prompts),
    }


def _base_cosine(view: View, rows: NDArray[np.bool_]) -> NDArray[np.float64] | None:
    if view.base is None:
        return None
    return _column(view.base.items, "alignment")[pair_with_base(view)][rows]


def _column(items: pd.DataFrame, name: str) -> NDArray[np.float64]:
    return np.asarray(items[name].to_numpy(dtype=float, na_value=np.nan))


def _difference(cosine: NDArray[np.float64], other: NDArray[np.float64] | None, prompts: NDArray) -> Value:
    if other is None:
        return missing("no base model to compare with")
    return _mean(cosine - other, prompts)


def _mean(values: NDArray[np.float64], prompts: NDArray) -> Value:
    """Return the mean of (images,) values with its interval over prompts; NaN makes it missing."""
    if values.size == 0:
        return missing("no retain images of concepts not given")
    lacking = int(np.isnan(values).sum())
    if lacking:
        return missing(f"no cosine for {lacking} of {values.size} retain images", values.size)
    low, high = cluster_bootstrap(values, prompts)
    return Value(value=float(values.mean()), low=low, high=high, n=values.size)


METRIC = Metric(per_item=per_item, reduce=reduce)
