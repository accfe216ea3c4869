"""EfficientNet-Lite0 trained on ImageNet: a classifier over named classes, and features of its own."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image

from ..errors import UserError
from ..extractors import LITE0_PACKAGE
from .emoji import NOTHING, Verdicts, verdicts_of
from .pinned import package_file

REGISTER = {
    "name": "efficientnet-lite0",
    "summary": "the likeliest of 1,000 ImageNet classes, where it is one of a task's names (Imagenette's)",
    "paper": "https://arxiv.org/abs/1905.11946",
    "version": 1,
    "function": "ImageNetJudge",
}
FILE = "models/efficientnet-lite0-57934424.pth"
SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
SIDE, CROP = 224, 0.875
"""Pixels that the network sees, and the share of a photograph's shorter side that it is scored on."""
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
"""Imagenette's classes by their number among ImageNet's thousand."""


def open_network() -> torch.nn.Module:
    """Return the network with the package's weights, for evaluation.

    The file is a pickle of tensors: it is read by torch's `weights_only` reader, which runs no code, after
    its digest was checked. Its tensors carry another implementation's names, in timm's order and shapes.
    """
    path = package_file(LITE0_PACKAGE, FILE, "imagenet", SHA256)
    import timm

    weights = torch.load(path, map_location="cpu", weights_only=True)
    network = timm.create_model("tf_efficientnet_lite0", pretrained=False)
    network.load_state_dict(dict(zip(network.state_dict(), weights.values(), strict=True)))
    return network.eval().requires_grad_(False)


class EfficientNetLite0:
    """Embeds images: 1280 pooled features. crop: the share of the shorter side that is seen, 1 for all."""

    def __init__(self, network: torch.nn.Module, device: str = "cpu", crop: float = 1.0) -> None:
        self.network: Any = network.to(device)
        self.device, self.crop = device, crop

    @torch.no_grad()
    def pooled(self, images: np.ndarray | Sequence[np.ndarray], batch: int = 32) -> torch.Tensor:
        """Return (n, 1280) on the device, of images (n, H, W, 3) uint8 or a list of several sizes."""
        out = []
        for start in range(0, len(images), batch):
            part = np.stack([_prepare(image, self.crop) for image in images[start : start + batch]])
            x = torch.from_numpy(part).permute(0, 3, 1, 2).to(self.device)
            out.append(self.network.forward_head(self.network.forward_features(x), pre_logits=True))
        return torch.cat(out)

    def embed_images(self, images: np.ndarray | Sequence[np.ndarray]) -> np.ndarray:
        """Return (n, 1280) float32."""
        return np.asarray(self.pooled(images).float().cpu().numpy())


class ImageNetJudge:
    """Names the likeliest of the thousand classes where it is one of `names`, else `nothing known`.

    No class is left out of the comparison: among ten alone, every image would be one of the ten.
    """

    def __init__(
        self, names: Sequence[str], network: torch.nn.Module | None = None, device: str = "cpu"
    ) -> None:
        unknown = [name for name in names if name not in IMAGENETTE]
        if unknown:
            raise UserError(f"efficientnet-lite0: names: {unknown[0]!r} is none of {', '.join(IMAGENETTE)}")
        self.names = {IMAGENETTE[name]: name for name in names}
        self.extractor = EfficientNetLite0(network or open_network(), device, CROP)

    def judge(self, images: np.ndarray) -> Verdicts:
        """Judge (n, H, W, 3) uint8 images; features: the network's own."""
        features = self.extractor.pooled(images)
        with torch.no_grad():
            best = self.extractor.network.get_classifier()(features).argmax(dim=1).tolist()
        answers = [self.names.get(number, NOTHING) for number in best]
        return verdicts_of("subject", answers, features.float().cpu().numpy())


def _prepare(image: np.ndarray, crop: float) -> np.ndarray:
    """Return (SIDE, SIDE, 3) float32, (x - 127) / 128, of the middle of an image."""
    picture = Image.fromarray(image)
    if crop < 1:
        side = round(min(picture.size) * crop)
        left, top = (picture.width - side) // 2, (picture.height - side) // 2
        picture = picture.crop((left, top, left + side, top + side))
    resized = np.asarray(picture.resize((SIDE, SIDE), Image.Resampling.BICUBIC), dtype=np.float32)
    return np.asarray((resized - 127) / 128)
