"""FID by the protocol fid-clean-v1: the Fréchet distance in clean-fid's Inception features."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..types import Metric, Value, View
from .fd import distances
from .features import INCEPTION, Sides, compared

if TYPE_CHECKING:
    import pandas as pd


REGISTER = {
    "name": "FID",
    "summary": "Fréchet distance of retain images to the reference, fid-clean-v1 (clean-fid's Inception)",
    "paper": "Parmar et al. 2022, arXiv 2104.11222",
    "version": 1,
    "direction": "down",
    "needs": ["items", "features:inception-clean"],
    "function": "METRIC",
}
WIDTH = 2048


def per_item(items: pd.DataFrame) -> None:
    """Return None: a distance between sets has no value for one image."""
    return None


def reduce(scores: pd.Series | None, view: View) -> dict[str, Value]:
    """Return FID to `view.reference` and FID_base to the base, in features["inception-clean"].

    Missing without those features, and below 4096 images on a side. Raises ValueError for features that are
    not 2048 wide: those of an early Inception layer (torchmetrics' `feature=64`) would give a number near 1
    under the same name.
    """
    sides = compared(view, INCEPTION)
    if isinstance(sides, Sides) and sides.point.shape[1] != WIDTH:
        raise ValueError(f"fid-clean-v1 is defined on {WIDTH} features, not on {sides.point.shape[1]}")
    return distances("FID", sides)


METRIC = Metric(per_item=per_item, reduce=reduce)
