"""KID: kernel distance of a point's retain images to the world's reference images, unbiased at small n."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..types import Metric, Value, View
from .features import compared, world_extractor
from .mmd import Kernel, distances, mmd

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    Matrix = NDArray[np.float64]


REGISTER = {
    "name": "KID",
    "summary": "kernel distance of retain images to the reference images, in the world's own features",
    "paper": "Bińkowski et al. 2018, arXiv 1801.01401",
    "version": 1,
    "direction": "down",
    "needs": ["items", "features:world"],
    "function": "METRIC",
}


def _between(x: Matrix, y: Matrix) -> Matrix:
    return (x @ y.T / x.shape[1] + 1) ** 3


def _itself(x: Matrix) -> Matrix:
    return np.asarray((np.einsum("nd,nd->n", x, x) / x.shape[1] + 1) ** 3)


POLYNOMIAL = Kernel(_between, _itself)
"""(x.y / d + 1)^3, the kernel of KID. Not multiplied by 1000."""


def kid(x: Matrix, y: Matrix) -> float:
    """Return the unbiased KID of x (n, d) and y (m, d): Bińkowski et al. 2018, eq. 4, over the whole sets."""
    return mmd(x, y, POLYNOMIAL)


def per_item(items: pd.DataFrame) -> None:
    """Return None: a distance between sets has no value for one image."""
    return None


def reduce(scores: pd.Series | None, view: View) -> dict[str, Value]:
    """Return KID to `view.reference` and KID_base to the base's images of the same prompts and noise.

    Over all retain rows; intervals as in `mmd.distances`. The reference must hold no image of the target,
    since a model that forgot it draws none. Raises ValueError for features of another width, or of another
    number of rows than the items.
    """
    return distances("KID", compared(view, world_extractor(view)), POLYNOMIAL)


METRIC = Metric(per_item=per_item, reduce=reduce)
