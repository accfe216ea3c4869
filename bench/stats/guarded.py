"""A guard for differences: an interval that reckons with losses that no concept of the suite shows."""

from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike

from .monotone import mean_interval

WEIGHT = 0.5
"""Of the unseen concept at 0 (for the upper end at 1) that either mean may hide: half of Gaffke's."""


@lru_cache(maxsize=256)
def _mean_interval(values: tuple[float, ...], level: float) -> tuple[float, float]:
    """Return the guard's interval of one mean, made once: a board compares each method with all others."""
    return mean_interval(values, 0, 1, level, WEIGHT)


def guarded_interval(first: ArrayLike, second: ArrayLike, level: float = 0.95) -> tuple[float, float]:
    """Return an interval of mean(first) - mean(second), entry i of both (n,) in [0, 1] about one concept.

    The means' own intervals (`monotone.mean_interval`, weight 1/2) are combined by their correlation: MOVER
    (Zou & Donner 2008, Stat. Med. 27, 1693). It is wide: where it excludes 0, a difference stands even if one
    of the methods loses concepts that were not among those drawn. Raises ValueError on fewer than two pairs.
    """
    left, right = np.asarray(first, dtype=float), np.asarray(second, dtype=float)
    if left.shape != right.shape or left.ndim != 1 or left.size < 2:
        raise ValueError(f"two pairs or more, got shapes {left.shape} and {right.shape}")
    (l1, u1), (l2, u2) = (_mean_interval(tuple(x.tolist()), level) for x in (left, right))
    m1, m2 = float(left.mean()), float(right.mean())
    constant = np.ptp(left) == 0 or np.ptp(right) == 0
    r = 0.0 if constant else float(np.corrcoef(left, right)[0, 1])

    def reach(a: float, b: float) -> float:
        return float(np.sqrt(max(0.0, a * a + b * b - 2 * r * a * b)))

    return m1 - m2 - reach(m1 - l1, u2 - m2), m1 - m2 + reach(u1 - m1, m2 - l2)


def excludes_zero(interval: tuple[float, float]) -> bool:
    """Return whether 0 lies outside an interval."""
    return not interval[0] <= 0 <= interval[1]
