"""CRA: accuracy on retained concepts of other domains than the target's.

Where a subject is forgotten: the subjects of retain prompts of other families, and the styles of `crossed`
prompts (UnlearnCanvas' other domain). Where a style is forgotten: the subjects of retain prompts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .rows import in_split
from .shares import Chosen, is_asked, share_metric

if TYPE_CHECKING:
    import pandas as pd


REGISTER = {
    "name": "CRA",
    "summary": "cross-domain retain accuracy: share of retained concepts of other families that are drawn",
    "paper": "Zhang et al. 2024, UnlearnCanvas, arXiv 2402.11846",
    "version": 1,
    "direction": "up",
    "needs": ["items"],
    "function": "METRIC",
}


def chosen(items: pd.DataFrame) -> Chosen:
    """Return the attributes that count."""
    retain, target = in_split(items, "retain"), np.asarray(items["target_kind"])
    other = np.asarray(items["relation"] == "other", dtype=bool)
    crossed = np.asarray(items["relation"] == "crossed", dtype=bool)
    domain = ((target == "subject") & other) | (target == "style")
    return {
        "subject": retain & domain & is_asked(items, "subject"),
        "style": retain & (target == "subject") & crossed & is_asked(items, "style"),
    }


METRIC = share_metric("CRA", "cross-domain retain images", chosen)
