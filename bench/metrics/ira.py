"""IRA: accuracy on retained concepts of the target's own domain.

Where a subject is forgotten: the subjects of retain prompts of the same family. Where a style is forgotten:
the styles of retain prompts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .rows import in_split
from .shares import Chosen, is_asked, share_metric

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


def chosen(items: pd.DataFrame) -> Chosen:
    """Return the attributes that count."""
    retain, target = in_split(items, "retain"), np.asarray(items["target_kind"])
    same = np.asarray(items["relation"].isin(["same", "crossed"]), dtype=bool)
    return {
        "subject": retain & (target == "subject") & same & is_asked(items, "subject"),
        "style": retain & (target == "style") & is_asked(items, "style"),
    }


METRIC = share_metric("IRA", "in-domain retain images", chosen)
