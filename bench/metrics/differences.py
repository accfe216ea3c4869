"""Between what the difference of a prompt's scores of two models can lie."""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
UNSEEN = 0.05
"""How much further than every prompt seen the cosine of another prompt may change: CLIP's cosines of an image
with its own prompt and with another one lie about .1 apart."""


def bounds_of(metric: str, before: Floats, differences: Floats, is_size: bool = False) -> tuple[float, float]:
    """Return between what a prompt's difference after - before can lie, or its size.

    before, differences: (n,). A score of 0 to 1 can lose what it had and gain the rest. Cosines have no such
    bound that is of use: no prompt is taken to change by more than UNSEEN beyond those seen. Neither end can
    fall when a prompt gets better.
    """
    if metric != "AS":
        lost, gained = float(before.max()), 1 - float(before.min())
        return (0.0, max(lost, gained)) if is_size else (-lost, gained)
    least, most = float(differences.min()) - UNSEEN, float(differences.max()) + UNSEEN
    return (max(0.0, least) if is_size else least), most
