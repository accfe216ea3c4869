"""From images to item rows, and from item rows to the values of a point."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from .types import ITEM_COLUMNS, OPTIONAL_COLUMNS, Prompt

KINDS = ("subject", "style", "background")


@dataclass(frozen=True)
class Ask:
    """One image that a task asks for: a prompt, its noise sample and the noise's seed."""

    prompt: Prompt
    sample: int
    seed: int


def shuffled_partner(asks: Sequence[Ask]) -> list[int | None]:
    """Return for each ask the index of an ask of its split with another prompt, for the chance level of AS.

    The prompts of a split are shifted by half their number, so that partners share attributes no more
    often than any two prompts do; None where a split has one prompt alone.
    """
    partner: list[int | None] = [None] * len(asks)
    for split in dict.fromkeys(ask.prompt.split for ask in asks):
        rows = [i for i, ask in enumerate(asks) if ask.prompt.split == split]
        first = {asks[i].prompt.text: i for i in reversed(rows)}
        texts = list(dict.fromkeys(asks[i].prompt.text for i in rows))
        if len(texts) < 2:
            continue
        following = {text: texts[(k + len(texts) // 2) % len(texts)] for k, text in enumerate(texts)}
        for i in rows:
            partner[i] = first[following[asks[i].prompt.text]]
    return partner


def build_items(
    asks: Sequence[Ask],
    images: np.ndarray,
    found: pd.DataFrame,
    scorer: Any,
    embedded: np.ndarray | None = None,
    scores: np.ndarray | None = None,
) -> pd.DataFrame:
    """Return one row an image with the columns of ITEM_COLUMNS, and those of OPTIONAL_COLUMNS it needs.

    images: (n, H, W, 3) uint8; found: n rows with columns subject, style, background ("" = nothing
    known, None = the judge failed); scorer: an AlignmentScorer or None; embedded: the scorer's
    embeddings (n, d) of the images where they are there already; scores: (n,) the judge's of the target.
    """
    rows = [_ask_columns(ask) for ask in asks]
    items = pd.DataFrame(rows)
    for kind in KINDS:
        items[f"found_{kind}"] = found[kind].to_numpy()
    items["target_found"] = [
        _target_found(a, found.iloc[i][a.prompt.target_kind]) for i, a in enumerate(asks)
    ]
    items["alignment"], items["alignment_shuffled"] = _alignment(asks, images, scorer, embedded)
    items["flatness"] = (images / 255.0).std(axis=(1, 2)).mean(-1).round(6).astype(np.float32)
    items["image_sha256"] = [image_digest(image) for image in images]
    if any(ask.prompt.guidance is not None for ask in asks):
        items["guidance"] = [np.nan if a.prompt.guidance is None else a.prompt.guidance for a in asks]
    if scores is not None:
        aimed = [bool(ask.prompt.targets) for ask in asks]
        items["target_score"] = np.where(aimed, scores, np.nan).round(6)
    return items[[*ITEM_COLUMNS, *(name for name in OPTIONAL_COLUMNS if name in items)]]


def read_guidance(row: Mapping[Any, Any]) -> float | None:
    """Return the guidance scale that an item row names for its image, None where the record's own holds."""
    guidance = row.get("guidance")
    return None if guidance is None or pd.isna(guidance) else float(guidance)


def image_digest(image: np.ndarray) -> str:
    """Return the first 128 bits of the sha256 of an image's pixels in hex: half the size in every record."""
    return hashlib.sha256(np.ascontiguousarray(image).tobytes()).hexdigest()[:32]


def _ask_columns(ask: Ask) -> dict[str, Any]:
    prompt = ask.prompt
    row: dict[str, Any] = {
        "split": prompt.split,
        "prompt_id": prompt.id,
        "prompt": prompt.text,
        "sample": ask.sample,
        "seed": ask.seed,
        "half": prompt.half,
        "relation": prompt.relation,
        "given": prompt.given,
        "target_kind": prompt.target_kind,
    }
    return row | {f"asked_{kind}": prompt.asked.get(kind, "") for kind in KINDS}


def _target_found(ask: Ask, answer: str | None) -> bool | None:
    if not ask.prompt.targets or pd.isna(answer):  # pandas turns a None among strings into NaN
        return None
    return answer in ask.prompt.targets


def _alignment(
    asks: Sequence[Ask], images: np.ndarray, scorer: Any, embedded: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray]:
    if scorer is None:
        nothing = np.full(len(asks), np.nan)
        return nothing, nothing
    by_image = scorer.embed_images(images) if embedded is None else embedded
    by_text = scorer.embed_prompts([ask.prompt.text for ask in asks])
    partner = shuffled_partner(asks)
    other = by_text[[i if p is None else p for i, p in enumerate(partner)]]
    chance = np.where([p is None for p in partner], np.nan, (by_image * other).sum(1))
    # six digits: what the record's digest is made of must not hang on the last bit of a dot product
    return (by_image * by_text).sum(1).round(6), chance.round(6)
