"""VA: verified alignment, the share of what retain prompts ask for that is in the image."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..types import Metric, Value, View
from .rows import KINDS, check_items, in_split, is_given
from .shares import Chosen, is_asked, only, own_share, pooled_share

if TYPE_CHECKING:
    import pandas as pd

REGISTER = {
    "name": "VA",
    "summary": "verified alignment: share of the attributes asked by retain prompts that the judge finds",
    "paper": "",
    "version": 1,
    "direction": "up",
    "needs": ["items"],
    "function": "METRIC",
}


def per_item(items: pd.DataFrame) -> pd.Series:
    """Return each retain image's own share of asked attributes found; NaN elsewhere, or the judge failed."""
    return own_share(items, _chosen(items))


def reduce(scores: pd.Series | None, view: View) -> dict[str, Value]:
    """Return VA on concepts that the method's retain set never held, and VA_given on those it held.

    Attributes are pooled: each asked attribute counts once, so a prompt that asks for three weighs
    three times one that asks for one; where all prompts ask for equally many this is the mean of
    `per_item`. What counts is the asked attribute itself, so garbage scores 0.
    """
    check_items(view.items)
    chosen, given = _chosen(view.items), is_given(view.items)
    return {
        "VA": pooled_share(view.items, only(chosen, ~given), "retain images of concepts not given"),
        "VA_given": pooled_share(view.items, only(chosen, given), "retain images of concepts given"),
    }


def _chosen(items: pd.DataFrame) -> Chosen:
    retain = in_split(items, "retain")
    return {kind: retain & is_asked(items, kind) for kind in KINDS}


METRIC = Metric(per_item=per_item, reduce=reduce)
