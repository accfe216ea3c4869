"""VA: verified alignment, the share of the attributes asked by retain prompts that the images show.

Attributes are pooled: each asked attribute counts once, so a prompt that asks for three weighs three times
as much as one that asks for one. Where all prompts ask for equally many, this is the mean of `per_item`.
Only the asked attribute itself counts, so garbage scores 0.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .rows import KINDS, Columns, in_split
from .shares import Chosen, is_asked, share_metric

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


def chosen(items: pd.DataFrame | Columns) -> Chosen:
    """Return the attributes that count: all that retain prompts ask for."""
    retain = in_split(items, "retain")
    return {kind: retain & is_asked(items, kind) for kind in KINDS}


METRIC = share_metric("VA", "retain images", chosen)
