"""KD_efficientnet_lite0: KID's distance in features of an ImageNet network that never saw the world."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..types import Metric, Value, View
from .features import LITE0, compared
from .kid import POLYNOMIAL
from .mmd import distances

if TYPE_CHECKING:
    import pandas as pd


REGISTER = {
    "name": "KD_efficientnet_lite0",
    "summary": "kernel distance of retain images to the reference, in EfficientNet-Lite0's ImageNet features",
    "paper": "Bińkowski et al. 2018, arXiv 1801.01401",
    "version": 1,
    "direction": "down",
    "needs": ["items", "features:efficientnet-lite0"],
    "function": "METRIC",
}


def per_item(items: pd.DataFrame) -> None:
    """Return None: a distance between sets has no value for one image."""
    return None


def reduce(scores: pd.Series | None, view: View) -> dict[str, Value]:
    """Return the distance to `view.reference` and the one to the base's images of the same prompts.

    A second opinion on KID, whose features come from the network that the world's judges use. Not comparable
    with any published FID or KID.
    """
    return distances("KD_efficientnet_lite0", compared(view, LITE0), POLYNOMIAL)


METRIC = Metric(per_item=per_item, reduce=reduce)
