"""Paired differences of two models' images, as the gate compares them."""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ..errors import UserError
from ..stats.compare import t_interval
from ..stats.monotone import mean_interval
from ..types import INTERVAL_VERSION
from . import alignment as as_metric
from . import cra, in_prompt, ira, ua, va

SCORES = {
    "UA": ua.METRIC,
    "UA_indirect": ua.METRIC,
    "VA": va.METRIC,
    "in_prompt": in_prompt.METRIC,
    "IRA": ira.METRIC,
    "CRA": cra.METRIC,
    "AS": as_metric.METRIC,
}
KEYS = ["prompt_id", "sample"]


def pair(first: pd.DataFrame, second: pd.DataFrame) -> None:
    """Raise UserError unless both hold the same prompts with the same noise seeds."""
    left, right = (items.set_index(KEYS)[["prompt", "seed"]].sort_index() for items in (first, second))
    if not left.index.equals(right.index) or not (left == right).all(axis=None):
        raise UserError(
            "baseline and candidate were not asked for the same images (prompts or noise differ); "
            "evaluate both with the same version, task and [sizes]"
        )


def score(metric: str, items: pd.DataFrame) -> pd.Series:
    """Return a metric's score of each image, indexed by prompt and sample; NaN where it has none."""
    scores = SCORES[metric].per_item(items)
    assert scores is not None
    wanted = {"UA": "forget", "UA_indirect": "indirect"}.get(metric)
    if wanted:
        scores = scores.where(items["split"] == wanted)
    elif metric != "in_prompt":  # as in the metrics' own values: concepts that no method was given
        scores = scores.where(~items["given"].astype(bool))
    return pd.Series(scores.to_numpy(dtype=float), index=pd.MultiIndex.from_frame(items[KEYS])).sort_index()


def images_equal(first: pd.DataFrame, second: pd.DataFrame) -> bool:
    digests = [items.set_index(KEYS)["image_sha256"].sort_index() for items in (first, second)]
    return bool(digests[0].equals(digests[1]))


def paired_interval(
    differences: NDArray[np.float64],
    level: float = 0.95,
    same_images: bool = False,
    bounds: tuple[float, float] = (-1.0, 1.0),
    version: int = INTERVAL_VERSION,
) -> tuple[float, float]:
    """Return the interval of a mean paired difference over prompts. differences: (n,) within bounds.

    version 2: `mean_interval`, which never falls when a prompt gets better. It is the single point 0 only
    where every image is the same, pixel by pixel. Where no prompt differs at small n, little is shown: the
    bound is that of an event that did not happen in n prompts, 1 - ((1 - level) / 2)^(1/n). version 1, in
    older statements: Student's t over prompts, and the same bound where no prompt differs.
    """
    n = len(differences)
    if same_images:
        return 0.0, 0.0
    if version == 2:
        return mean_interval(differences, *bounds, level)
    if n < 2 or np.ptp(differences) == 0:
        bound = 1 - ((1 - level) / 2) ** (1 / n)
        centre = float(differences.mean())
        return max(-1.0, centre - bound), min(1.0, centre + bound)
    return t_interval(differences, level)
