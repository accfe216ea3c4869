"""A small CNN that classifies a world's labelled images; its last class is `nothing known`."""

import json
from math import gcd
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor, nn

from ..errors import UserError
from .types import NOTHING, Verdicts, verdicts_of

REGISTER = {
    "name": "image-classifier",
    "summary": "class of an image by a calibrated CNN, trained on labelled images, that can answer "
    "`nothing known`; its pooled features measure FD and KID",
    "paper": "",
    "version": 1,
    "function": "open_judge",
}
GROUPS = 8
"""Groups of channels that are normalised together."""


class ClassifierNetwork(nn.Module):
    """A plain CNN of five layers; its last class is `nothing known`. width: size of its pooled features.

    It uses GroupNorm: BatchNorm's running statistics are skewed by the many negatives in a training batch,
    and half of the real images were then rejected.
    """

    def __init__(self, pixels: int, classes: int, width: int) -> None:
        super().__init__()
        channels = [3, width // 2, width // 2, width, width, width]
        strides = [2 if pixels >= 64 else 1, 2, 1, 2, 1]
        layers: list[nn.Module] = []
        for inside, outside, stride in zip(channels, channels[1:], strides, strict=False):
            convolution = nn.Conv2d(inside, outside, 3, stride, 1, bias=False)
            layers += [convolution, nn.GroupNorm(gcd(GROUPS, outside), outside), nn.ReLU(inplace=True)]
        self.trunk = nn.Sequential(*layers)
        self.pool = nn.AdaptiveAvgPool2d(4)
        self.head = nn.Linear(16 * width, classes + 1)

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (n, classes + 1) of images (n, 3, P, P) in [-1, 1]."""
        return self.head(F.dropout(self.pool(self.trunk(images)).flatten(1), 0.2, self.training))

    def judge(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return logits and pooled features (n, width), by one pass."""
        maps = self.trunk(images)
        return self.head(self.pool(maps).flatten(1)), maps.mean((2, 3))


class ImageJudge:
    """Judges images of one world of labelled images; opened from the world's `judges` folder.

    card: version, pixels, width, classes, temperature, threshold.
    """

    def __init__(self, card: dict[str, Any], network: ClassifierNetwork) -> None:
        self.card = card
        self.network = network.eval().requires_grad_(False)

    @property
    def version(self) -> str:
        return f"image-classifier@{self.card['version']}"

    @torch.no_grad()
    def judge(self, images: np.ndarray, batch: int = 128) -> Verdicts:
        """Judge (n, H, W, 3) uint8 images; an answer below the threshold is `nothing known`."""
        pixels = self.card["pixels"]
        if images.shape[1:] != (pixels, pixels, 3):
            raise UserError(f"{self.version} judges {pixels} px RGB images, got shape {images.shape[1:]}")
        names, answers, features = [*self.card["classes"], NOTHING], [], []
        for start in range(0, len(images), batch):
            chunk = torch.from_numpy(np.ascontiguousarray(images[start : start + batch]))
            logits, pooled = self.network.judge(chunk.permute(0, 3, 1, 2).float() / 127.5 - 1)
            confidence, best = torch.softmax(logits / self.card["temperature"], 1).max(1)
            sure = confidence >= self.card["threshold"]
            answers += [
                names[i] if ok else NOTHING for i, ok in zip(best.tolist(), sure.tolist(), strict=True)
            ]
            features.append(pooled.numpy())
        return verdicts_of("subject", answers, np.concatenate(features))


def open_judge(folder: Path) -> ImageJudge:
    """Open a world's classifier: `classifier.json` (names, calibration) and `classifier.safetensors`."""
    card = json.loads((folder / "classifier.json").read_text(encoding="utf-8"))
    network = ClassifierNetwork(card["pixels"], len(card["classes"]), card["width"])
    path = folder / "classifier.safetensors"
    try:
        network.load_state_dict({name: t.float() for name, t in load_file(path).items()})
    except RuntimeError as error:
        faults = "; ".join(line.strip() for line in str(error).splitlines()[1:])
        raise UserError(f"{path}: not this classifier's weights: {faults}; make the world again") from None
    return ImageJudge(card, network)
