"""LPIPS: the perceptual distance of two images in AlexNet's features (Zhang et al. 2018, arXiv 1801.03924).

Version 0.1 with AlexNet: the variant that unlearning papers report. The five rows of weights that the authors
fitted are inside torchmetrics (extra `lpips`), byte by byte those of the authors' package; AlexNet's own are
the user's file of torchvision's `AlexNet_Weights.IMAGENET1K_V1`.
"""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from .pinned import package_file
from .unlearncanvas import fill_network, read_weights

REGISTER = {
    "name": "lpips",
    "summary": "no verdict: perceptual distance of an image to the base model's (`unlearnbench rate`)",
    "paper": "https://arxiv.org/abs/1801.03924",
    "version": 1,
    "function": "open_lpips",
}
HEADS = "functional/image/lpips_models/alex.pth"
SHA256 = "df73285e35b22355a2df87cdb6b70b343713b667eddbda73e1977e0c860835c0"
LAST = (1, 4, 7, 9, 11)
"""Indices in torchvision's `AlexNet.features` of the five activations that are compared."""
SHIFT, SCALE = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)
"""By which pixels in [-1, 1] are normalised, by channel."""
LEAST_SIDE = 31
"""Shortest side, in pixels, from which on AlexNet's last activation has a pixel."""


class Lpips:
    """Compares images pair by pair. backbone: `AlexNet.features` up to
    LAST. heads: five (1, c, 1, 1), not negative."""

    def __init__(self, backbone: torch.nn.Module, heads: list[Tensor], device: str = "cpu") -> None:
        self.backbone, self.device = backbone.float().eval().requires_grad_(False).to(device), device
        self.heads = [head.float().to(device) for head in heads]

    @torch.no_grad()
    def distances(self, first: np.ndarray, second: np.ndarray) -> np.ndarray:
        """Return (n,) float64 of two stacks of images (n, H, W, 3) uint8, at their own size; 0 = the same.

        Raises ValueError where the stacks differ in shape, or images are too small for AlexNet.
        """
        if first.shape != second.shape or min(first.shape[1:3]) < LEAST_SIDE:
            raise ValueError(f"LPIPS of images of shapes {first.shape[1:]} and {second.shape[1:]}")
        total = torch.zeros(len(first), dtype=torch.float64)
        for one, two, head in zip(self._features(first), self._features(second), self.heads, strict=True):
            total += (head * (one - two) ** 2).sum(dim=1).mean(dim=(1, 2)).double().cpu()
        return np.asarray(total)

    def _features(self, images: np.ndarray) -> list[Tensor]:
        """Return five activations (n, c, h, w), each pixel's vector at unit length."""
        x = torch.from_numpy(np.ascontiguousarray(images)).to(self.device).permute(0, 3, 1, 2).float()
        shift, scale = (torch.tensor(v, device=self.device)[None, :, None, None] for v in (SHIFT, SCALE))
        x, found = (x / 127.5 - 1 - shift) / scale, []
        for place, layer in enumerate(self.backbone.children()):
            x = layer(x)
            if place in LAST:
                # the next layers work in place
                found.append(x / (torch.linalg.vector_norm(x, dim=1, keepdim=True) + 1e-10))
        return found


def open_lpips(path: Path, device: str = "cpu") -> Lpips:
    """Open AlexNet's file of weights (torchvision's .pth, or its tensors as .safetensors); no download.

    Raises UserError where it is of another network, or torchmetrics is not installed or another one.
    """
    from torchvision.models import alexnet

    heads = torch.load(
        package_file("torchmetrics", HEADS, "lpips", SHA256), map_location="cpu", weights_only=True
    )
    with torch.device("meta"):  # only the convolutions are used
        backbone = alexnet(weights=None).features[: LAST[-1] + 1]
    weights = {name.removeprefix("features."): tensor for name, tensor in read_weights(path).items()}
    own = {name: tensor for name, tensor in weights.items() if not name.startswith("classifier.")}
    fill_network(backbone, own, path, "torchvision's AlexNet", assign=True)
    return Lpips(backbone, [heads[f"lin{i}.model.1.weight"] for i in range(len(LAST))], device)
