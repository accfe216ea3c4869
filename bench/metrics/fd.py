"""FD: Fréchet distance of retain images to the reference images; needs many more images than features."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..types import Metric, Value, View, missing
from .features import Sides, compared, world_extractor

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    Matrix = NDArray[np.float64]


REGISTER = {
    "name": "FD",
    "summary": "Fréchet distance of retain images to the reference images, in the world's own features",
    "paper": "Heusel et al. 2017, arXiv 1706.08500",
    "version": 1,
    "direction": "down",
    "needs": ["items", "features:world"],
    "function": "METRIC",
}
IMAGES_PER_FEATURE = 2


def frechet_distance(mean1: Matrix, cov1: Matrix, mean2: Matrix, cov2: Matrix) -> float:
    """Return the squared Fréchet distance of two normal distributions, means (d,), covariances (d, d).

    tr sqrt(cov1 cov2) is the sum of square roots of the eigenvalues of the symmetric matrix
    cov1^1/2 cov2 cov1^1/2 (the two are similar). So singular covariances need no epsilon, and no imaginary
    part is dropped. Heusel et al. 2017; Dowson & Landau 1982, eq. 4.
    """
    values, vectors = np.linalg.eigh(cov1)
    root = vectors * np.sqrt(np.clip(values, 0, None))  # cov1 = root root^T
    cross = np.sqrt(np.clip(np.linalg.eigvalsh(root.T @ cov2 @ root), 0, None)).sum()
    return _combine(mean1, float(np.trace(cov1)), mean2, float(np.trace(cov2)), float(cross))


def frechet_from_features(x: Matrix, y: Matrix) -> float:
    """Return the squared Fréchet distance of the normals fitted to x (n, d) and y (m, d).

    Covariances are unbiased (n - 1). With fewer images than features on a side the Gram form is used:
    tr sqrt(cov1 cov2) is the sum of singular values of Xc Yc^T / sqrt((n-1)(m-1)). It is exact where the
    (d, d) covariances are singular, and its matrix is smaller. Raises ValueError for fewer than two images or
    for unequal widths.
    """
    if min(len(x), len(y)) < 2 or x.shape[1] != y.shape[1]:
        raise ValueError(f"no Fréchet distance of features {x.shape} and {y.shape}")
    x, y = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    mean1, mean2 = x.mean(axis=0), y.mean(axis=0)
    if min(len(x), len(y)) >= x.shape[1]:
        covariances = (np.atleast_2d(np.cov(side, rowvar=False)) for side in (x, y))
        return frechet_distance(mean1, next(covariances), mean2, next(covariances))
    left, right = (x - mean1) / np.sqrt(len(x) - 1), (y - mean2) / np.sqrt(len(y) - 1)
    cross = np.linalg.svd(_factor(left) @ _factor(right).T, compute_uv=False).sum()
    return _combine(mean1, float((left**2).sum()), mean2, float((right**2).sum()), float(cross))


def distances(name: str, sides: Sides | str) -> dict[str, Value]:
    """Return `name` to the reference and `name`_base to the base, missing where n is too small for d.

    No interval: at finite n the distance is biased upwards, which resampling does not show.
    """
    if isinstance(sides, str):
        return {name: missing(sides), f"{name}_base": missing(sides)}
    to_base = missing(sides.why_no_base, len(sides.point))
    if sides.base is not None:
        to_base = _distance(name, sides.point, sides.base)
    return {name: _distance(name, sides.point, sides.reference), f"{name}_base": to_base}


def per_item(items: pd.DataFrame) -> None:
    """Return None: a distance between sets has no value for one image."""
    return None


def reduce(scores: pd.Series | None, view: View) -> dict[str, Value]:
    """Return FD (protocol fd-<world>: the world's features) to `view.reference`, and FD_base to the base.

    Over all retain rows, pooled; missing below 2 d images on a side. The reference must hold no image of the
    target. Raises ValueError for features of another width, or of another number of rows than the items.
    """
    return distances("FD", compared(view, world_extractor(view)))


def _distance(name: str, x: Matrix, y: Matrix) -> Value:
    n, d = min(len(x), len(y)), x.shape[1]
    needed = max(2, IMAGES_PER_FEATURE * d)
    if n < needed:
        reason = f"{name} needs {needed} images on each side for {d} features: at n={n} it is bias"
        return missing(reason, len(x))
    return Value(value=frechet_from_features(x, y), n=len(x))


def _factor(centred: Matrix) -> Matrix:
    """Return a matrix of at most d rows with the same Gram matrix F^T F: it keeps the cross product small."""
    if len(centred) <= centred.shape[1]:
        return centred
    return np.asarray(np.linalg.qr(centred, mode="r"))


def _combine(mean1: Matrix, trace1: float, mean2: Matrix, trace2: float, cross: float) -> float:
    # Rounding can leave equal distributions a hair below 0; a squared distance is not.
    return max(0.0, float(((mean1 - mean2) ** 2).sum()) + trace1 + trace2 - 2 * cross)


METRIC = Metric(per_item=per_item, reduce=reduce)
