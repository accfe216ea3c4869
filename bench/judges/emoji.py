"""The detector of the emoji worlds: subject and style by a calibrated network, background by exact pixels."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import UserError
from ..models.whole import load_whole
from .types import NOTHING, Verdicts

REGISTER = {
    "name": "emoji-detector",
    "summary": "subject and style of an emoji image by a calibrated CNN that can answer `nothing known`; "
    "background colour by its border pixels",
    "paper": "",
    "version": 1,
    "function": "open_judge",
}
BORDER = 2
"""Width in pixels of the border that shows pure background: sprites never reach it."""
COLOUR_TOLERANCE = 40.0
"""Greatest distance (Euclidean, of 8-bit sRGB) between a border and the colour that it counts as."""


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


class DetectorNetwork(nn.Module):
    """A plain CNN with two heads; each head's last class is `nothing known`.

    width: channels of its deepest maps and size of its pooled features.
    """

    def __init__(self, pixels: int, subjects: int, styles: int, width: int) -> None:
        super().__init__()
        strides = [2, 2, 1, 2, 1] if pixels >= 64 else [1, 2, 1, 2, 1]
        channels = [3, width // 4, width // 2, 3 * width // 4, width, width]
        pairs = zip(channels, channels[1:], strict=False)
        self.trunk = nn.Sequential(*(_block(*pair, s) for pair, s in zip(pairs, strides, strict=True)))
        self.pool = nn.AdaptiveAvgPool2d(4)
        self.subject = nn.Linear(16 * width, subjects + 1)
        self.style = nn.Linear(16 * width, styles + 1)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return logits (n, subjects + 1) and (n, styles + 1) of images (n, 3, P, P) in [-1, 1]."""
        maps = self.pool(self.trunk(images)).flatten(1)
        maps = F.dropout(maps, 0.2, self.training)
        return self.subject(maps), self.style(maps)

    def features(self, images: Tensor) -> Tensor:
        """Return pooled features (n, width), in which FD and KID of the emoji worlds are measured."""
        return self.trunk(images).mean((2, 3))

    def judge(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return both heads' logits and the pooled features, by one pass."""
        maps = self.trunk(images)
        pooled = self.pool(maps).flatten(1)
        return self.subject(pooled), self.style(pooled), maps.mean((2, 3))


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


def _block(inside: int, outside: int, stride: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inside, outside, 3, stride, 1, bias=False), nn.BatchNorm2d(outside), nn.ReLU(inplace=True)
    )
