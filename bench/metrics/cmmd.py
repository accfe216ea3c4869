"""CMMD: Gaussian kernel distance of a point's retain images to the reference images in CLIP embeddings."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..types import Metric, Value, View
from .features import CLIP, compared
from .mmd import Kernel, distances

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    Matrix = NDArray[np.float64]


REGISTER = {
    "name": "CMMD",
    "summary": "Gaussian kernel distance of retain images to the reference, in the world's CLIP embeddings",
    "paper": "Jayasumana et al. 2024, arXiv 2401.09603",
    "version": 1,
    "direction": "down",
    "needs": ["items", "features:clip"],
    "function": "METRIC",
}
SIGMA, SCALE = 10.0, 1000.0
"""Bandwidth and factor of the paper, for embeddings of unit length."""


def _between(x: Matrix, y: Matrix) -> Matrix:
    squared = (x**2).sum(axis=1)[:, None] + (y**2).sum(axis=1)[None] - 2 * x @ y.T
    return np.asarray(np.exp(-squared / (2 * SIGMA**2)))


def _itself(x: Matrix) -> Matrix:
    return np.ones(len(x))


GAUSSIAN = Kernel(_between, _itself, SCALE)
"""1000 exp(-|x - y|^2 / (2 sigma^2))."""


def per_item(items: pd.DataFrame) -> None:
    """Return None: a distance between sets has no value for one image."""
    return None


def reduce(scores: pd.Series | None, view: View) -> dict[str, Value]:
    """Return CMMD to `view.reference` and CMMD_base to the base's images of the same prompts and noise.

    The estimator is unbiased and may be below 0. The authors' released code uses the biased one (Gretton et
    al. 2012, eq. 5: with the diagonal of each side). It is larger by scale (1 - k) / n for each side, where k
    is the mean kernel off the diagonal: nothing at the paper's 30,000 images, some hundredths at a hundred.
    The model is the world's CLIP, not the paper's ViT-L/14 at 336 px, so the figures are not comparable.
    Raises ValueError for embeddings that are not of unit length: sigma is defined for these.
    """
    sides = compared(view, CLIP)
    if not isinstance(sides, str):
        for matrix in (sides.point, sides.reference, sides.base):
            if matrix is not None and not np.allclose((matrix**2).sum(axis=1), 1, atol=1e-3):
                raise ValueError("CMMD is defined on embeddings of unit length")
    return distances("CMMD", sides, GAUSSIAN)


METRIC = Metric(per_item=per_item, reduce=reduce)
