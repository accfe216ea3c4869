"""A point's values once more from its item rows, counted as the metrics count: a record is not believed."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ..metrics import alignment, cra, in_prompt, ira, ua, va
from ..metrics.rows import fill_answers, in_split, is_given
from ..metrics.shares import only, pooled_share, proportion
from ..types import INTERVAL_VERSION, Metric, Value, missing

KEYS = ["prompt_id", "sample"]
SHARES = ("UA", "UA_other", "UA_nothing", "UA_indirect", "VA", "VA_given", "in_prompt", "IRA", "IRA_given",
          "CRA", "CRA_given")  # fmt: skip
"""Values that are shares of answers: their intervals follow from the rows as well."""


def recompute(
    items: pd.DataFrame, base: pd.DataFrame | None, version: int = INTERVAL_VERSION
) -> dict[str, Value]:
    """Return the values that follow from one point's item rows: SHARES, AS, AS_chance and AS_delta.

    base: the base model's rows of the same prompts and noise; without them AS_delta is left out. Distances
    need features and are not among them. AS and its differences come without their bootstrap intervals.
    version: of the intervals of shares.
    """
    given = is_given(items)
    values = _forgetting(items, version)
    values["VA"] = pooled_share(items, only(va.chosen(items), ~given), "retain images", version)
    values["VA_given"] = pooled_share(items, only(va.chosen(items), given), "retain images given", version)
    values["in_prompt"] = pooled_share(items, in_prompt.chosen(items), "forget images", version)
    for name, metric in (("IRA", ira.METRIC), ("CRA", cra.METRIC)):
        values[name] = _share_of_images(metric, items, ~given, version)
        values[f"{name}_given"] = _share_of_images(metric, items, given, version)
    return values | _alignment(items, base)


def _forgetting(items: pd.DataFrame, version: int) -> dict[str, Value]:
    scores = ua.METRIC.per_item(items)
    gone = np.asarray(scores, dtype=float)
    kind = str(items["target_kind"].iloc[0])
    nothing = np.asarray(items[f"found_{kind}"].fillna("") == "", dtype=float)
    forget, indirect = in_split(items, "forget"), in_split(items, "indirect")
    prompts = items["prompt_id"].to_numpy()
    found = {"UA": gone, "UA_other": gone * (1 - nothing), "UA_nothing": gone * nothing}
    values = {
        name: proportion(hits[forget], prompts[forget], "forget images", version=version)
        for name, hits in found.items()
    }
    asked = proportion(gone[indirect], prompts[indirect], "indirect images", version=version)
    return values | {"UA_indirect": asked}


def _share_of_images(metric: Metric, items: pd.DataFrame, rows: NDArray[np.bool_], version: int) -> Value:
    """Return the share of a metric that asks one attribute an image, of the rows that it speaks of."""
    scores = np.asarray(metric.per_item(items), dtype=float)
    kept = rows & ~np.isnan(np.asarray(metric.per_item(fill_answers(items)), dtype=float))
    prompts = items["prompt_id"].to_numpy()[kept]
    return proportion(scores[kept], prompts, "retain images", version=version)


def _alignment(items: pd.DataFrame, base: pd.DataFrame | None) -> dict[str, Value]:
    cosine = np.asarray(alignment.METRIC.per_item(items), dtype=float)
    rows = in_split(items, "retain") & ~is_given(items)
    shuffled = items["alignment_shuffled"].to_numpy(dtype=float)
    values = {"AS": _mean(cosine[rows]), "AS_chance": _mean((cosine - shuffled)[rows])}
    if base is not None:
        there = pd.MultiIndex.from_frame(base[KEYS]).get_indexer(pd.MultiIndex.from_frame(items[KEYS]))
        before = base["alignment"].to_numpy(dtype=float)[there]
        values["AS_delta"] = _mean(np.where(there < 0, np.nan, cosine - before)[rows])
    return values


def _mean(values: NDArray[np.float64]) -> Value:
    if values.size == 0 or np.isnan(values).any():
        return missing("no cosine", values.size)
    return Value(value=float(values.mean()), n=values.size)


def differ(stated: float | None, found: float | None) -> bool:
    """Return whether a stated number is another than the one found; records keep seven digits."""
    if stated is None or found is None:
        return stated is not found
    return abs(stated - found) > 1e-9 + 5e-7 * abs(found)


def find_problems_in_values(
    stated: dict[str, Value], found: dict[str, Value], names: Sequence[str] = SHARES
) -> list[str]:
    """Return one line a stated value that the item rows do not give, or whose interval they do not give."""
    complaints = []
    for name, value in found.items():
        own = stated.get(name)
        if own is None and value.value is None:
            continue  # a metric that lacks what it needs gives its own name alone, as missing
        if own is None:
            complaints.append(f"{name}: is not stated, the item rows give {_write(value.value)}")
        elif differ(own.value, value.value):
            complaints.append(f"{name}: states {_write(own.value)}, the item rows give {_write(value.value)}")
        elif name in names and (differ(own.low, value.low) or differ(own.high, value.high)):
            complaints.append(f"{name}: its interval is not the one that the item rows give")
        elif value.value is not None and own.n != value.n:
            complaints.append(f"{name}: states n = {own.n}, the item rows give {value.n}")
    return complaints


def _write(number: float | None) -> str:
    return "missing" if number is None else f"{number:.7g}"
