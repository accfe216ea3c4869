"""Two observers of the same images: Cohen's kappa, and a share corrected for the errors of one of them."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtri

from ..types import INTERVAL_VERSION
from .intervals import Bounds, effective_size, proportion_interval
from .monotone import cautious_size


@dataclass(frozen=True)
class Agreement:
    """Cohen's kappa of two observers. low, high: its interval. share: of images on which they agree."""

    kappa: float
    low: float
    high: float
    share: float
    n: int


def cohen_kappa(
    first: ArrayLike,
    second: ArrayLike,
    clusters: ArrayLike,
    level: float = 0.95,
    version: int = INTERVAL_VERSION,
) -> Agreement | None:
    """Return the agreement beyond chance of two observers (Cohen 1960), None where chance explains all of it.

    first, second: (n,) of 0 and 1, one an image; clusters: (n,) labels of prompts. The interval is that of
    the share of agreement (`proportion_interval`, of this version), with the agreement by chance taken as
    known (Cohen's own simplification): so it keeps a width where the two always agree. Where both gave one
    and the same answer to every image, kappa is undefined.
    """
    left, right = _answers(first), _answers(second)
    if left.shape != right.shape:
        raise ValueError(f"two observers of one set of images: {left.shape} and {right.shape}")
    p, q = left.mean(), right.mean()
    chance = float(p * q + (1 - p) * (1 - q))
    if chance == 1:
        return None
    agreed = (left == right).astype(float)
    share = float(agreed.mean())
    low, high = proportion_interval(agreed, clusters, level, version)
    kappa, low, high = (1 - (1 - x) / (1 - chance) for x in (share, low, high))
    return Agreement(kappa, max(-1.0, low), high, share, left.size)


@dataclass(frozen=True)
class Errors:
    """How often an observer is right: k of n images that truly show the target, and of those that do not.

    Counts may be fractions: effective sizes of clustered images.
    """

    shown_right: float
    shown: float
    absent_right: float
    absent: float

    @property
    def sensitivity(self) -> float:
        return self.shown_right / self.shown

    @property
    def specificity(self) -> float:
        return self.absent_right / self.absent


def worth(hits: ArrayLike, clusters: ArrayLike, version: int = INTERVAL_VERSION) -> float:
    """Return how many independent rows clustered rows are worth, as the intervals of a version count it."""
    return effective_size(hits, clusters) if version == 1 else cautious_size(hits, clusters)


def count_errors(
    judge: ArrayLike, truth: ArrayLike, clusters: ArrayLike, version: int = INTERVAL_VERSION
) -> Errors:
    """Return a judge's errors, at effective sizes. judge, truth: (n,) of 0 and 1; clusters: (n,) labels."""
    said, true, labels = _answers(judge), _answers(truth), np.asarray(clusters)
    counts: list[float] = []
    for answer in (1, 0):
        rows = true == answer
        right = (said[rows] == answer).astype(float)
        size = worth(right, labels[rows], version) if rows.any() else 0.0
        counts += [float(right.mean()) * size if rows.any() else 0.0, size]
    return Errors(*counts)


def rogan_gladen(found: float, n: float, errors: Errors, level: float = 0.95) -> tuple[float, Bounds] | None:
    """Return the true share of images that show the target, and its interval; None where it is undetermined.

    found of n images (effective sizes) are those in which the judge sees it. Estimate (q + Sp - 1) /
    (Se + Sp - 1), Rogan & Gladen 1978, cut to [0, 1]; interval by Lang & Reiczigel 2014, which adds pseudo-
    counts and so keeps a width at shares of 0 and 1. None: an error rate rests on no image, or Se + Sp <= 1,
    a judge no better than chance.
    """
    if errors.shown <= 0 or errors.absent <= 0 or n <= 0:
        return None
    if errors.sensitivity + errors.specificity <= 1:
        return None
    z = float(ndtri(0.5 + level / 2))
    share = (found / n + errors.specificity - 1) / (errors.sensitivity + errors.specificity - 1)
    m, shown, absent = n + z * z, errors.shown + 2, errors.absent + 2
    q = (found + z * z / 2) / m
    se, sp = (errors.shown_right + 1) / shown, (errors.absent_right + 1) / absent
    youden = se + sp - 1
    middle = (q + sp - 1) / youden if youden > 0 else 0.5
    in_se, in_sp = se * (1 - se) / shown, sp * (1 - sp) / absent
    shift = 2 * z * z * (middle * in_se - (1 - middle) * in_sp)
    spread = q * (1 - q) / m + middle**2 * in_se + (1 - middle) ** 2 * in_sp
    half = z * float(np.sqrt(spread)) / youden if youden > 0 else 1.0
    low, high = middle + shift - half, middle + shift + half
    share = _cut(share)
    return share, (min(_cut(low), share), max(_cut(high), share))


def _cut(share: float) -> float:
    return min(1.0, max(0.0, float(share)))


def _answers(values: ArrayLike) -> NDArray[np.float64]:
    numbers = np.asarray(values, dtype=float)
    if numbers.ndim != 1 or numbers.size == 0 or not np.isin(numbers, (0, 1)).all():
        raise ValueError(f"answers are 0 or 1, one an image, got shape {numbers.shape}")
    return numbers
