"""Bounds of the difference of a prompt's scores between two models."""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
UNSEEN = 0.05
"""How much further than any prompt seen the cosine of another prompt may change. CLIP's cosines of an image
with its own prompt and with another prompt are about .1 apart."""


def bounds_of(metric: str, before: Floats, differences: Floats, is_size: bool = False) -> tuple[float, float]:
    """Return the bounds of a prompt's difference after - before, or, with is_size, of its absolute value.

    before, differences: (n,). A score from 0 to 1 can fall by its value before, and rise by the rest. Cosines
    have no such useful bound: a prompt is assumed to change by at most UNSEEN more than those seen. Neither
    bound falls when a prompt gets better.
    """
    if metric != "AS":
        lost, gained = float(before.max()), 1 - float(before.min())
        return (0.0, max(lost, gained)) if is_size else (-lost, gained)
    least, most = float(differences.min()) - UNSEEN, float(differences.max()) + UNSEEN
    return (max(0.0, least) if is_size else least), most
