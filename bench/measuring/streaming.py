"""Judge and embed images that come one after the other: only some of them are in memory at a time."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice

import numpy as np
import pandas as pd

from ..judges.types import Extractor, Judge, Verdicts
from ..metrics.features import WORLD
from .items import Pixels, keep_whole, spread, spread_answers
from .judging import ask_judge

CHUNK_BYTES = 192 * 2**20
"""Most bytes of pixels that are judged together."""
MULTIPLE = 128
"""Chunks are whole multiples of it: judges cut batches of 16, 32, 64 or 128 images from what they are given,
and the batches, so the last bits of features, are those of all images at once."""


@dataclass(frozen=True)
class Looked:
    """What is known of n images.

    found: n rows of the judge's answers. features: extractor -> (n, d). scores: (n,), None where the judge
    has none. Failed images have None, NaN and "".
    """

    found: pd.DataFrame
    features: Mapping[str, np.ndarray]
    scores: np.ndarray | None
    pixels: Pixels


def look_at(
    images: Iterable[np.ndarray | None],
    size: tuple[int, int],
    judge: Judge,
    extractors: Mapping[str, Extractor],
) -> Looked:
    """Judge and embed images, (H, W, 3) uint8 each or None for one that failed. size: (H, W)."""
    pixels, marks = Pixels(), list[bool | None]()

    def whole() -> Iterator[np.ndarray]:
        for image in images:
            pixels.add(image)
            marks.append(None if image is None else True)
            if image is not None:
                yield image

    answers: list[Verdicts] = []
    embedded: dict[str, list[np.ndarray]] = {name: [] for name in extractors}
    for chunk in cut_chunks(whole(), size):
        answers.append(ask_judge(judge, chunk))
        for name, extractor in extractors.items():
            embedded[name].append(extractor.embed_images(chunk))
        del chunk  # before the next one is filled
    features = {WORLD: np.concatenate([verdicts.features for verdicts in answers])}
    features |= {name: np.concatenate(parts) for name, parts in embedded.items()}
    scores = [verdicts.scores for verdicts in answers if verdicts.scores is not None]
    return Looked(
        spread_answers(marks, pd.concat([verdicts.found for verdicts in answers], ignore_index=True)),
        {name: spread(marks, rows) for name, rows in features.items()},
        spread(marks, np.concatenate(scores)) if scores else None,
        pixels,
    )


def cut_chunks(images: Iterable[np.ndarray], size: tuple[int, int]) -> Iterator[np.ndarray]:
    """Yield (m, H, W, 3) of at most CHUNK_BYTES, but at least MULTIPLE images; one black image for none."""
    most = max(1, CHUNK_BYTES // (size[0] * size[1] * 3) // MULTIPLE) * MULTIPLE
    images, is_empty = iter(images), True
    while (first := next(images, None)) is not None:
        chunk = np.empty((most, *first.shape), first.dtype)  # takes memory as it is filled
        chunk[0], count = first, 1
        for image in islice(images, most - 1):
            chunk[count] = image
            count += 1
        is_empty = False
        yield chunk[:count]
        del chunk
    if is_empty:
        yield keep_whole([], size)
