"""IRA: accuracy on retained concepts of the target's own domain."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..types import Metric, Value, View
from .rows import check_items, in_split, is_given
from .shares import Chosen, is_asked, only, own_share, pooled_share

if TYPE_CHECKING:
    import pandas as pd

REGISTER = {
    "name": "IRA",
    "summary": "in-domain retain accuracy: share of retained concepts of the same family that are drawn",
    "paper": "Zhang et al. 2024, UnlearnCanvas, arXiv 2402.11846",
    "version": 1,
    "direction": "up",
    "needs": ["items"],
    "function": "METRIC",
}


def per_item(items: pd.DataFrame) -> pd.Series:
    """Return 1 where the retained concept was found, else 0; NaN: not in the domain, or the judge failed."""
    return own_share(items, _chosen(items))


def reduce(scores: pd.Series | None, view: View) -> dict[str, Value]:
    """Return IRA on concepts that the method's retain set never held, and IRA_given on those it held.

    To forget a subject: the subject of retain prompts of the same family. To forget a style: the
    style of retain prompts.
    """
    check_items(view.items)
    chosen, given = _chosen(view.items), is_given(view.items)
    return {
        "IRA": pooled_share(view.items, only(chosen, ~given), "in-domain retain images not given"),
        "IRA_given": pooled_share(view.items, only(chosen, given), "in-domain retain images given"),
    }


def _chosen(items: pd.DataFrame) -> Chosen:
    retain, target = in_split(items, "retain"), np.asarray(items["target_kind"])
    same = np.asarray(items["relation"] == "same", dtype=bool)
    return {
        "subject": retain & (target == "subject") & same & is_asked(items, "subject"),
        "style": retain & (target == "style") & is_asked(items, "style"),
    }


METRIC = Metric(per_item=per_item, reduce=reduce)
