"""timm's networks for ImageNet's thousand classes: their features, and a judge of Imagenette's ten."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch

from ..errors import UserError
from .types import NOTHING, Verdicts, verdicts_of

IMAGENETTE = {
    "tench": 0,
    "English springer": 217,
    "cassette player": 482,
    "chain saw": 491,
    "church": 497,
    "French horn": 566,
    "garbage truck": 569,
    "gas pump": 571,
    "golf ball": 574,
    "parachute": 701,
}
"""Imagenette's classes -> their index among ImageNet's thousand classes."""


def number_names(judge: str, names: Sequence[str]) -> dict[int, str]:
    """Return index -> name of some of Imagenette's classes; raises UserError for a name that is not one."""
    unknown = [name for name in names if name not in IMAGENETTE]
    if unknown:
        raise UserError(f"{judge}: names: {unknown[0]!r} is none of {', '.join(IMAGENETTE)}")
    return {IMAGENETTE[name]: name for name in names}


class TimmExtractor:
    """Embeds images by a timm network's pooled features.

    prepare: (H, W, 3) uint8 -> (3, side, side) float32, the network's input.
    """

    def __init__(
        self, network: Any, prepare: Callable[[np.ndarray], torch.Tensor], device: str = "cpu"
    ) -> None:
        self.network, self.prepare, self.device = network.to(device), prepare, device

    @torch.no_grad()
    def pooled(self, images: np.ndarray | Sequence[np.ndarray], batch: int = 32) -> torch.Tensor:
        """Return (n, d) on the device, of images (n, H, W, 3) uint8 or a list of several sizes."""
        out = []
        for start in range(0, len(images), batch):
            part = torch.stack([self.prepare(image) for image in images[start : start + batch]])
            x = part.contiguous(memory_format=torch.channels_last).to(self.device)
            out.append(self.network.forward_head(self.network.forward_features(x), pre_logits=True))
        return torch.cat(out)

    def embed_images(self, images: np.ndarray | Sequence[np.ndarray]) -> np.ndarray:
        """Return (n, d) float32."""
        return np.asarray(self.pooled(images).float().cpu().numpy())


class ImagenetteJudge:
    """Names the likeliest of the thousand classes where it is one of `names`, else `nothing known`.

    All thousand classes are compared: among only ten, every image would be one of the ten.
    """

    def __init__(self, names: Mapping[int, str], extractor: TimmExtractor) -> None:
        self.names, self.extractor = dict(names), extractor

    @torch.no_grad()
    def judge(self, images: np.ndarray) -> Verdicts:
        """Judge (n, H, W, 3) uint8 images; features: the network's own."""
        features = self.extractor.pooled(images)
        best = self.extractor.network.get_classifier()(features).argmax(dim=1).tolist()
        answers = [self.names.get(number, NOTHING) for number in best]
        return verdicts_of("subject", answers, features.float().cpu().numpy())
