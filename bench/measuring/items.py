"""From images to item rows, and from item rows to the values of a point."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from ..judges.types import JointEmbedder
from ..types import ITEM_COLUMNS, OPTIONAL_COLUMNS
from .requests import ImageRequest

KINDS = ("subject", "style", "background")


def keep_whole(images: Sequence[np.ndarray | None], size: tuple[int, int] = (64, 64)) -> np.ndarray:
    """Return (m, H, W, 3) uint8: the images that did not fail.

    Where all failed, it is one black image of `size` (height, width), because the width of a judge's features
    is unknown without an image; `spread` and `spread_answers` leave its answers out.
    """
    whole = [image for image in images if image is not None]
    return np.stack(whole) if whole else np.zeros((1, *size, 3), np.uint8)


def spread(images: Sequence[object | None], rows: np.ndarray) -> np.ndarray:
    """Return (n, ...) floats for n images from those for `keep_whole`; NaN for images that failed (None)."""
    whole = np.array([image is not None for image in images], dtype=bool)
    if whole.all():
        return rows
    values = np.full((len(images), *rows.shape[1:]), np.nan, dtype=rows.dtype)
    values[whole] = rows[: whole.sum()]
    return values


def spread_answers(images: Sequence[object | None], found: pd.DataFrame) -> pd.DataFrame:
    """Return a judge's answers for n images from those for `keep_whole`; None for images that failed."""
    whole = [place for place, image in enumerate(images) if image is not None]
    if len(whole) == len(images):
        return found
    values = np.full((len(images), len(found.columns)), None, dtype=object)
    values[whole] = found.iloc[: len(whole)].to_numpy(dtype=object)
    return pd.DataFrame(values, columns=found.columns)


@dataclass
class Pixels:
    """What item rows say about pixels. flatness: of each image, NaN where it failed. digests: "" there."""

    flatness: list[float] = field(default_factory=list)
    digests: list[str] = field(default_factory=list)

    def add(self, image: np.ndarray | None) -> None:
        """Add the next image, (H, W, 3) uint8, or None for one that failed."""
        self.flatness.append(float("nan") if image is None else _flatness(image))
        self.digests.append("" if image is None else image_digest(image))


def describe_pixels(images: Iterable[np.ndarray | None]) -> Pixels:
    """Return what item rows say about the pixels of images."""
    pixels = Pixels()
    for image in images:
        pixels.add(image)
    return pixels


def shuffled_partner(image_requests: Sequence[ImageRequest]) -> list[int | None]:
    """Return for each request the index of one of its split with another prompt, for AS's chance level.

    The prompts of a split are shifted by half their number, so that partners share attributes no more often
    than any two prompts do. None where a split has only one prompt.
    """
    partner: list[int | None] = [None] * len(image_requests)
    for split in dict.fromkeys(image_request.prompt.split for image_request in image_requests):
        rows = [i for i, image_request in enumerate(image_requests) if image_request.prompt.split == split]
        first = {image_requests[i].prompt.text: i for i in reversed(rows)}
        texts = list(dict.fromkeys(image_requests[i].prompt.text for i in rows))
        if len(texts) < 2:
            continue
        following = {text: texts[(k + len(texts) // 2) % len(texts)] for k, text in enumerate(texts)}
        for i in rows:
            partner[i] = first[following[image_requests[i].prompt.text]]
    return partner


def build_items(
    image_requests: Sequence[ImageRequest],
    pixels: Pixels,
    found: pd.DataFrame,
    scorer: JointEmbedder | None,
    embedded: np.ndarray | None,
    scores: np.ndarray | None = None,
) -> pd.DataFrame:
    """Return one row for each image, with the columns of ITEM_COLUMNS and those of OPTIONAL_COLUMNS it needs.

    pixels: of the n images. found: n rows with columns subject, style, background ("" = nothing known, None =
    the judge or the image failed). scorer: None = no alignment. embedded: (n, d) the scorer's embeddings of
    the images, NaN rows for failed images. scores: (n,) the judge's scores of the target.
    """
    rows = [request_columns(image_request) for image_request in image_requests]
    items = pd.DataFrame(rows)
    for kind in KINDS:
        items[f"found_{kind}"] = found[kind].to_numpy()
    items["target_found"] = [
        _target_found(a, found.iloc[i][a.prompt.target_kind]) for i, a in enumerate(image_requests)
    ]
    items["alignment"], items["alignment_shuffled"] = _alignment(image_requests, scorer, embedded)
    items["flatness"] = np.array(pixels.flatness, dtype=np.float32)
    items["image_sha256"] = pixels.digests
    if any(image_request.prompt.guidance is not None for image_request in image_requests):
        items["guidance"] = [
            np.nan if a.prompt.guidance is None else a.prompt.guidance for a in image_requests
        ]
    if scores is not None:
        aimed = [bool(image_request.prompt.targets) for image_request in image_requests]
        items["target_score"] = np.where(aimed, scores, np.nan).round(6)
    return items[[*ITEM_COLUMNS, *(name for name in OPTIONAL_COLUMNS if name in items)]]


def _flatness(image: np.ndarray) -> float:
    return float((image / 255.0).std(axis=(0, 1)).mean(-1).round(6))


def read_guidance(row: Mapping[Any, Any]) -> float | None:
    """Return the guidance scale of an item row's own, None where the image was drawn with the record's."""
    guidance = row.get("guidance")
    return None if guidance is None or pd.isna(guidance) else float(guidance)


def image_digest(image: np.ndarray) -> str:
    """Return the first 128 bits, in hex, of the sha256 of an image's pixels: half the size in records."""
    return hashlib.sha256(np.ascontiguousarray(image).tobytes()).hexdigest()[:32]


def request_columns(image_request: ImageRequest) -> dict[str, Any]:
    prompt = image_request.prompt
    row: dict[str, Any] = {
        "split": prompt.split,
        "prompt_id": prompt.id,
        "prompt": prompt.text,
        "sample": image_request.sample,
        "seed": image_request.seed,
        "half": prompt.half,
        "relation": prompt.relation,
        "given": prompt.given,
        "target_kind": prompt.target_kind,
    }
    return row | {f"asked_{kind}": prompt.asked.get(kind, "") for kind in KINDS}


def _target_found(image_request: ImageRequest, answer: str | None) -> bool | None:
    if not image_request.prompt.targets or pd.isna(answer):  # pandas turns a None among strings into NaN
        return None
    return answer in image_request.prompt.targets


def _alignment(
    image_requests: Sequence[ImageRequest], scorer: JointEmbedder | None, by_image: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray]:
    if scorer is None:
        nothing = np.full(len(image_requests), np.nan)
        return nothing, nothing
    assert by_image is not None  # `find_extractors` names the scorer wherever there is one
    by_text = scorer.embed_prompts([image_request.prompt.text for image_request in image_requests])
    partner = shuffled_partner(image_requests)
    other = by_text[[i if p is None else p for i, p in enumerate(partner)]]
    chance = np.where([p is None for p in partner], np.nan, (by_image * other).sum(1))
    # six digits: the record's digest must not depend on the last bit of a dot product
    return (by_image * by_text).sum(1).round(6), chance.round(6)
