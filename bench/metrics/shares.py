"""Shares of asked attributes that the judge found: shared by VA, IRA, CRA and in_prompt."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import numpy as np

from ..stats.intervals import proportion_interval
from ..types import INTERVAL_VERSION, Metric, Value, View, missing
from .rows import Columns, check_items, describe_failed, is_given, texts

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray


Chosen = Mapping[str, "NDArray[np.bool_]"]
"""Kind of attribute -> (rows,) bool: whether a row's answer on that kind counts."""


def is_asked(items: pd.DataFrame | Columns, kind: str) -> NDArray[np.bool_]:
    """Return (rows,) bool: whether the prompt asks for an attribute of this kind."""
    return np.asarray(texts(items, f"asked_{kind}") != "", dtype=bool)


def answers(items: pd.DataFrame | Columns, kind: str) -> NDArray[np.float64]:
    """Return (rows,) 1 where the asked attribute was found, else 0; NaN: not asked, or the judge failed.

    `nothing known` is a wrong answer: such rows are never left out.
    """
    import pandas as pd

    found, asked = texts(items, f"found_{kind}").copy(), texts(items, f"asked_{kind}")
    lost = np.asarray(pd.isna(found), dtype=bool)
    found[lost] = None
    right = np.asarray(found == asked, dtype=float)
    right[lost | np.asarray(asked == "", dtype=bool)] = np.nan
    return right


def only(chosen: Chosen, rows: NDArray[np.bool_]) -> Chosen:
    """Return the choice restricted to some rows."""
    return {kind: mask & rows for kind, mask in chosen.items()}


def own_share(items: pd.DataFrame | Columns, chosen: Chosen) -> pd.Series:
    """Return each row's share of chosen attributes that were found; NaN: none chosen, or the judge failed."""
    import pandas as pd

    hits, asked = np.zeros(len(items)), np.zeros(len(items))
    for kind, mask in chosen.items():
        hits += np.where(mask, answers(items, kind), 0.0)
        asked += mask
    return pd.Series(np.divide(hits, asked, out=np.full(len(items), np.nan), where=asked > 0), items.index)


def pooled_share(items: pd.DataFrame, chosen: Chosen, what: str, version: int = INTERVAL_VERSION) -> Value:
    """Return the share of all chosen attributes that were found; every attribute counts once.

    n of the value is the number of images. what: names the rows in the reason where there are none. version:
    of the interval.
    """
    hits = np.concatenate([answers(items, kind)[mask] for kind, mask in chosen.items()])
    prompts = np.concatenate([items["prompt_id"].to_numpy()[mask] for mask in chosen.values()])
    rows = np.any(list(chosen.values()), axis=0)
    if failed := describe_failed(items, rows):
        return missing(failed, int(rows.sum()))
    return proportion(hits, prompts, what, int(rows.sum()), version)


def share_metric(name: str, what: str, choose: Callable[[pd.DataFrame], Chosen]) -> Metric:
    """Return the metric of the attributes that `choose` picks: `name` and `name`_given.

    `name` counts the rows of concepts outside the method's retain set, `name`_given those of concepts in it.
    per_item gives each row's share, NaN where nothing is chosen or the judge failed. what: names the rows in
    the reason where there are none.
    """

    def per_item(items: pd.DataFrame) -> pd.Series:
        return own_share(items, choose(items))

    def reduce(scores: pd.Series | None, view: View) -> dict[str, Value]:
        check_items(view.items)
        chosen, given, version = choose(view.items), is_given(view.items), view.interval_version
        return {
            name: pooled_share(view.items, only(chosen, ~given), f"{what} of concepts not given", version),
            f"{name}_given": pooled_share(
                view.items, only(chosen, given), f"{what} of concepts given", version
            ),
        }

    return Metric(per_item, reduce)


def proportion(
    hits: NDArray[np.float64],
    prompts: NDArray,
    what: str,
    images: int | None = None,
    version: int = INTERVAL_VERSION,
) -> Value:
    """Return the share of hits with its interval over prompts.

    hits: (answers,) of 0 and 1, NaN where the judge failed. One failure makes the value missing: to count it
    as 0 or to leave it out would both be wrong. prompts: (answers,) labels. version: of the interval.
    """
    n = hits.size if images is None else images
    if hits.size == 0:
        return missing(f"no {what}")
    failures = int(np.isnan(hits).sum())
    if failures:
        return missing(f"the judge failed on {failures} of {hits.size} answers about {what}", n)
    low, high = proportion_interval(hits, prompts, version=version)
    return Value(value=float(hits.mean()), low=low, high=high, n=n)
