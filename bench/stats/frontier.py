"""AVA: alignment along a method's frontier, chosen on one half of the prompts and scored on the other."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
LEVELS: tuple[float, ...] = (0.80, 0.825, 0.85, 0.875, 0.90, 0.925, 0.95)
"""The least UA at which alignment is read."""
MAX_POINTS = 8
"""Maximum number of declared points, because more tries give a better frontier."""
ROUNDING = 1e-9
"""Shares such as 19/20 may lie a rounding error below their level."""


@dataclass(frozen=True)
class Frontier:
    """A method on one concept. ava, in_prompt in [0, 1]: zero counts where no point reached a level.

    reach: share of (half, level) at which a point was there to be chosen. chosen: (2, levels) indices of
    the points chosen on half A and on half B, -1 = none.
    """

    ava: float
    reach: float
    in_prompt: float | None
    chosen: NDArray[np.intp]


def choose_points(ua: ArrayLike, va: ArrayLike, levels: tuple[float, ...] = LEVELS) -> NDArray[np.intp]:
    """Return k*(h, u): (2, levels) indices of the points of highest VA among those with UA >= u, -1 = none.

    ua, va: (2, points), means over seeds and prompts of half A and of half B. Points come in order of their
    cost: ties go to the earlier one.
    """
    forgotten, aligned = _points(ua, "UA"), _points(va, "VA")
    if forgotten.shape != aligned.shape:
        raise ValueError(f"UA {forgotten.shape} and VA {aligned.shape} are not of the same points")
    allowed = forgotten[:, None, :] >= np.asarray(levels)[None, :, None] - ROUNDING
    # rounded, so that a tie does not depend on the last bit of a mean
    best = np.where(allowed, np.round(aligned, 9)[:, None, :], -np.inf).argmax(axis=2)
    return np.where(allowed.any(axis=2), best, -1)


def measure_frontier(
    ua: ArrayLike, va: ArrayLike, in_prompt: ArrayLike | None = None, levels: tuple[float, ...] = LEVELS
) -> Frontier:
    """Return AVA, reach and in-prompt alignment at the points that AVA chose.

    ua, va, in_prompt: (2, points) in [0, 1], half A first. A level is scored on the half that did not choose
    its point, and both directions are averaged. Raises ValueError where a value is missing (NaN): a declared
    point that failed makes the concept's AVA missing, not zero.
    """
    chosen = choose_points(ua, va, levels)
    found = chosen >= 0
    other = None if in_prompt is None else _read_across(_points(in_prompt, "in-prompt"), chosen)
    return Frontier(_read_across(_points(va, "VA"), chosen), float(found.mean()), other, chosen)


def _read_across(values: Floats, chosen: NDArray[np.intp]) -> float:
    """Mean of the other half's values at the chosen points; a level without a point counts zero."""
    crossed = np.stack([values[1, chosen[0]], values[0, chosen[1]]])
    return float(np.where(chosen >= 0, crossed, 0.0).mean())


def _points(values: ArrayLike, name: str) -> Floats:
    array = np.asarray(values, dtype=float)
    if array.ndim != 2 or array.shape[0] != 2 or not 1 <= array.shape[1] <= MAX_POINTS:
        raise ValueError(f"{name}: two halves of 1 to {MAX_POINTS} points, got shape {array.shape}")
    if not np.isfinite(array).all():
        raise ValueError(f"{name}: a declared point has no value, so there is no AVA")
    return array
