"""In-prompt alignment: the other attributes that a forget prompt asks for must still be drawn."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..types import Metric, Value, View
from .rows import KINDS, Columns, check_items, in_split
from .shares import Chosen, is_asked, own_share, pooled_share

if TYPE_CHECKING:
    import pandas as pd


REGISTER = {
    "summary": "in-prompt alignment: on forget prompts, share of the attributes other than the target found",
    "paper": "Ren et al. 2025, Six-CD, arXiv 2406.14855",
    "version": 1,
    "direction": "up",
    "needs": ["items"],
    "function": "METRIC",
}


def per_item(items: pd.DataFrame) -> pd.Series:
    """Return each forget image's share of other attributes found; NaN elsewhere, or if the judge failed."""
    return own_share(items, chosen(items))


def reduce(scores: pd.Series | None, view: View) -> dict[str, Value]:
    """Return in_prompt: the share of attributes of other kinds than the target's that were found, as in VA.

    A method that forgets by drawing garbage loses here.
    """
    check_items(view.items)
    found = pooled_share(
        view.items, chosen(view.items), "forget images that ask for more", view.interval_version
    )
    return {"in_prompt": found}


def chosen(items: pd.DataFrame | Columns) -> Chosen:
    """Return the attributes that count: on forget prompts, those of other kinds than the target's."""
    forget, target = in_split(items, "forget"), np.asarray(items["target_kind"])
    return {kind: forget & (target != kind) & is_asked(items, kind) for kind in KINDS}


METRIC = Metric(per_item=per_item, reduce=reduce)
