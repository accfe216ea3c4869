"""EfficientNet-Lite0 trained on ImageNet: a classifier over named classes, and features of its own."""

from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image

from .imagenet import ImagenetteJudge, TimmExtractor, number_names
from .pinned import LITE0_PACKAGE, package_file

REGISTER = {
    "name": "efficientnet-lite0",
    "summary": "the likeliest of 1,000 ImageNet classes, where it is one of a task's names (Imagenette's)",
    "paper": "https://arxiv.org/abs/1905.11946",
    "version": 1,
    "function": "ImageNetJudge",
}
FILE = "models/efficientnet-lite0-57934424.pth"
SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
PINNED = {FILE: SHA256}
SIDE, CROP = 224, 0.875
"""Side in pixels of the network's input, and the share of an image's shorter side that is cropped for it."""


def open_network() -> torch.nn.Module:
    """Return the network with the package's weights, for evaluation.

    The file is a pickle of tensors: once its digest is checked, torch's `weights_only` reader reads it, which
    runs no code. Its tensors have the names of another implementation, in the order and shapes of timm's.
    """
    path = package_file(LITE0_PACKAGE, FILE, "imagenet", SHA256)
    import timm

    weights = torch.load(path, map_location="cpu", weights_only=True)
    network = timm.create_model("tf_efficientnet_lite0", pretrained=False)
    network.load_state_dict(dict(zip(network.state_dict(), weights.values(), strict=True)))
    return network.eval().requires_grad_(False)


class EfficientNetLite0(TimmExtractor):
    """Embeds images: 1280 pooled features. crop: share of the shorter side that is used, 1 = all of it."""

    def __init__(self, network: torch.nn.Module, device: str = "cpu", crop: float = 1.0) -> None:
        super().__init__(network, lambda image: _prepare(image, crop), device)


class ImageNetJudge(ImagenetteJudge):
    """Judges by EfficientNet-Lite0."""

    def __init__(
        self, names: Sequence[str], network: torch.nn.Module | None = None, device: str = "cpu"
    ) -> None:
        known = number_names("efficientnet-lite0", names)
        super().__init__(known, EfficientNetLite0(network or open_network(), device, CROP))


def _prepare(image: np.ndarray, crop: float) -> torch.Tensor:
    """Return (3, SIDE, SIDE) float32, (x - 127) / 128, of the middle of an image."""
    picture = Image.fromarray(image)
    if crop < 1:
        side = round(min(picture.size) * crop)
        left, top = (picture.width - side) // 2, (picture.height - side) // 2
        picture = picture.crop((left, top, left + side, top + side))
    resized = np.asarray(picture.resize((SIDE, SIDE), Image.Resampling.BICUBIC), dtype=np.float32)
    return torch.from_numpy((resized - 127) / 128).permute(2, 0, 1)
