"""Which images of a saved point are drawn: all, or only the forget images where the point cannot count."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from ..errors import UserError
from ..metrics import ua
from ..metrics.rows import texts
from ..planning.plan import Cell, Suite, seeds_of
from ..stats.frontier import LEVELS, ROUNDING
from .requests import ImageRequest


def check_floor(suite: Suite) -> None:
    """Raise UserError where a suite leaves points unscored that could count.

    AVA reads alignment at points whose UA, averaged over the suite's runs, is at least LEVELS[0] on half of
    the prompts. Even if the other runs have UA 1, a run below 1 - runs (1 - LEVELS[0]) on both halves cannot
    be part of such a point, so its retain images are not needed. H may read any point: `Suite` refuses a
    floor with it.
    """
    runs = max(len(seeds_of(suite, row)) for row in suite.methods)
    bound = 1 - runs * (1 - LEVELS[0])
    if suite.unscored_below > max(0.0, bound) + ROUNDING:
        raise UserError(
            f"{suite.name}: unscored_below: {suite.unscored_below} leaves out points that may count; "
            f"with {runs} seed(s) it is at most {max(0.0, bound):.2f}"
        )


def is_asked(cell: Cell, step: int, image_request: ImageRequest) -> bool:
    """Return whether an image belongs to a point: indirect prompts are asked only at the shown point."""
    return image_request.prompt.split != "indirect" or cell.row.shown in (None, step)


def forget_requests(image_requests: Sequence[ImageRequest]) -> list[ImageRequest]:
    """Return the images that are drawn first: those of forget prompts."""
    return [image_request for image_request in image_requests if image_request.prompt.split == "forget"]


def reason_unscored(items: pd.DataFrame, floor: float) -> str | None:
    """Return why a point with these forget rows needs no retain images, or None where it needs them."""
    gone = np.asarray(ua.METRIC.per_item(items), dtype=float)
    if np.isnan(gone).any():
        return None
    halves = texts(items, "half")
    best = max((float(gone[halves == half].mean()) for half in set(halves)), default=float("nan"))
    return f"UA at most {best:.2f} on either half of the prompts, below {floor:.2f}" if best < floor else None
