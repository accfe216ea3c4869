"""Estimate how many prompts would decide an unclear rule."""

import math

import numpy as np
from numpy.typing import NDArray

from ..stats.monotone import exact_interval

MOST_NEEDED = 1_000_000
"""Largest number of prompts that is suggested."""


def needed_for_share(share: float, limit: float, name: str) -> int | None:
    """Return the least n at which the exact interval of a share lies on the right side of a limit."""
    if not 0 <= share <= 1 or not 0 < limit < 1 or share == limit:
        return None
    n = 8
    while n <= MOST_NEEDED:
        low, high = exact_interval(share * n, n)
        if (low >= limit or high < limit) if name == "at_least" else (high <= limit or low > limit):
            return n
        n = math.ceil(n * 1.1)
    return None


def needed_for_difference(
    differences: NDArray[np.float64], margin: float, width: float, limit: float, level: float
) -> int | None:
    """Return about how many prompts would decide a rule if mean and spread stay the same."""
    n = len(differences)
    if n < 2 or np.ptp(differences) == 0:
        needed = math.log((1 - level) / 2) / math.log(1 - limit) if 0 < limit < 1 else math.inf
    else:
        needed = n * (width / 2 / margin) ** 2 if margin else math.inf
    return math.ceil(needed) if needed <= MOST_NEEDED else None
