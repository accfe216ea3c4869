"""Half precision against float32: a sample of a point's images, drawn in both and judged."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from ..records.training_images import PrecisionCheck
from .items import KINDS
from .requests import ImageRequest

SAMPLE = 12
"""Most images of each split that are drawn in float32, too."""


def choose_sample(requests: Sequence[ImageRequest]) -> list[ImageRequest]:
    """Return the first images of the forget and of the retain split, in their order."""
    forget, retain = ([r for r in requests if r.prompt.split == split] for split in ("forget", "retain"))
    return [*forget[:SAMPLE], *retain[:SAMPLE]]


def count_flips(half: pd.DataFrame, full: pd.DataFrame) -> PrecisionCheck:
    """Compare the item rows of one point's images in half precision with those of a sample in float32.

    half: has a row for each row of `full`, found by prompt and noise sample. Raises KeyError where not.
    """
    drawn = {(row["prompt_id"], row["sample"]): row for row in half.to_dict("records")}
    pairs = [(drawn[row["prompt_id"], row["sample"]], row) for row in full.to_dict("records")]
    flips = sum(_verdict(first) != _verdict(second) for first, second in pairs)
    return PrecisionCheck(images=len(pairs), flips=flips)


def _verdict(row: Mapping[Any, Any]) -> tuple[Any, ...]:
    """Return whether a forget image shows a target, or which attributes asked for a retain image shows.

    An image that failed has a verdict of its own.
    """
    if not row["image_sha256"]:
        return ("failed",)
    if row["split"] == "forget":
        return (None if pd.isna(row["target_found"]) else bool(row["target_found"]),)
    return tuple(row[f"found_{kind}"] == row[f"asked_{kind}"] for kind in KINDS if row[f"asked_{kind}"])
