"""The detector of the emoji worlds: subject and style by a calibrated network, background by exact pixels."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from ..errors import UserError
from ..models.whole import load_whole
from .emoji_network import DetectorNetwork

REGISTER = {
    "name": "emoji-detector",
    "summary": "subject and style of an emoji image by a calibrated CNN that can answer `nothing known`; "
    "background colour by its border pixels",
    "paper": "",
    "version": 1,
    "function": "open_judge",
}

NOTHING = ""
"""The judge's answer `nothing known`."""
BORDER = 2
"""Width in pixels of the border that shows pure background: sprites never reach it."""
COLOUR_TOLERANCE = 40.0
"""Greatest distance (Euclidean, of 8-bit sRGB) between a border and the colour that it counts as."""


SCORE_DIGITS = 6
"""Decimals of a judge's scores: item rows keep no more, and both must be on one side of a threshold."""


@dataclass(frozen=True)
class Verdicts:
    """What a judge says of n images. found: columns subject, style, background; features: (n, d) float32.

    scores: (n,) how sure a judge of one target is that it is there, compared with a threshold by `found`.
    """

    found: pd.DataFrame
    features: np.ndarray
    scores: np.ndarray | None = None


def verdicts_of(
    kind: str, answers: Sequence[str], features: np.ndarray, scores: np.ndarray | None = None
) -> Verdicts:
    """Return the verdicts of a judge that answers for one kind of attribute alone."""
    found = pd.DataFrame({name: [NOTHING] * len(answers) for name in ("subject", "style", "background")})
    found[kind] = list(answers)
    return Verdicts(found, features, scores)


def border_colour(images: np.ndarray) -> np.ndarray:
    """Return the median colour (n, 3) of each image's border; images: (n, H, W, 3) uint8."""
    n = len(images)
    rows = [images[:, :BORDER].reshape(n, -1, 3), images[:, -BORDER:].reshape(n, -1, 3)]
    columns = [
        images[:, BORDER:-BORDER, :BORDER].reshape(n, -1, 3),
        images[:, BORDER:-BORDER, -BORDER:].reshape(n, -1, 3),
    ]
    return np.median(np.concatenate(rows + columns, axis=1).astype(np.float64), axis=1)


def name_backgrounds(images: np.ndarray, colours: dict[str, tuple[int, int, int]]) -> list[str]:
    """Return the nearest background colour of each border, or `nothing known` beyond the tolerance."""
    names = list(colours)
    palette = np.array([colours[name] for name in names], dtype=np.float64)
    distance = np.linalg.norm(border_colour(images)[:, None] - palette[None], axis=2)
    nearest = distance.argmin(1)
    near = distance[np.arange(len(images)), nearest] <= COLOUR_TOLERANCE
    return [names[i] if ok else NOTHING for i, ok in zip(nearest, near, strict=True)]


class EmojiJudge:
    """Judges images of one emoji world; opened from the world's `judges` folder."""

    def __init__(self, card: dict[str, Any], network: DetectorNetwork) -> None:
        self.card = card
        self.network = network.eval().requires_grad_(False)

    @property
    def version(self) -> str:
        return f"emoji-detector@{self.card['version']}"

    def name(self, head: str, logits: Tensor) -> list[str]:
        """Turn one head's logits into names; an answer below the threshold is `nothing known`."""
        names, fit = [*self.card[head + "s"], NOTHING], self.card["calibration"]
        confidence, best = torch.softmax(logits / fit[f"{head}_temperature"], 1).max(1)
        sure = confidence >= fit[f"{head}_threshold"]
        return [names[i] if ok else NOTHING for i, ok in zip(best.tolist(), sure.tolist(), strict=True)]

    @torch.no_grad()
    def judge(self, images: np.ndarray, batch: int = 64) -> Verdicts:
        """Judge (n, H, W, 3) uint8 images."""
        pixels = self.card["pixels"]
        if images.shape[1:] != (pixels, pixels, 3):
            raise UserError(f"{self.version} judges {pixels} px RGB images, got shape {images.shape[1:]}")
        device = next(self.network.parameters()).device
        subjects: list[str] = []
        styles: list[str] = []
        features = []
        for chunk in np.array_split(images, max(1, -(-len(images) // batch))):
            x = (
                torch.from_numpy(np.ascontiguousarray(chunk)).to(device).permute(0, 3, 1, 2).float() / 127.5
                - 1
            )
            subject, style, pooled = self.network.judge(x)
            subjects += self.name("subject", subject)
            styles += self.name("style", style)
            features.append(pooled.float().cpu().numpy())
        backgrounds = name_backgrounds(images, self.card["backgrounds"])
        found = pd.DataFrame({"subject": subjects, "style": styles, "background": backgrounds})
        return Verdicts(found, np.concatenate(features))


def open_judge(folder: Path) -> EmojiJudge:
    """Open a world's detector: `detector.json` (names, calibration) and `detector.safetensors`."""
    card = json.loads((folder / "detector.json").read_text(encoding="utf-8"))
    network = DetectorNetwork(card["pixels"], len(card["subjects"]), len(card["styles"]), card["width"])
    load_whole(network, folder / "detector.safetensors")
    return EmojiJudge(card, network)
