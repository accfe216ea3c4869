"""clean-fid's Inception and its resize: the features of the protocol fid-clean-v1."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from ..errors import UserError
from .pinned import INCEPTION_FILE

REGISTER = {
    "name": "inception-clean",
    "summary": "features of clean-fid's Inception after its own resize, from a local weights file (FID)",
    "paper": "https://arxiv.org/abs/2104.11222",
    "version": 1,
    "function": "InceptionExtractor",
}


class InceptionExtractor:
    """Embeds images as clean-fid does: each resized by PIL's bicubic filter in float, then 2048 features."""

    def __init__(self, weights: Path, device: str = "cpu") -> None:
        """Open a weights file; downloads nothing. UserError where it is missing or of another kind."""
        if weights.name != INCEPTION_FILE or not weights.is_file():
            raise UserError(
                f"{weights}: no such file; FID needs clean-fid's Inception weights, {INCEPTION_FILE}"
            )
        from cleanfid.inception_torchscript import InceptionV3W
        from cleanfid.resize import build_resizer

        try:
            network = InceptionV3W(str(weights.parent), download=False)
        except (RuntimeError, AttributeError) as error:
            reason = str(error).strip().splitlines()[0]
            raise UserError(f"{weights}: not clean-fid's TorchScript Inception: {reason}") from None
        self.network, self.device = network.eval().requires_grad_(False).to(device), device
        self.resize = build_resizer("clean")

    @torch.no_grad()
    def embed_images(self, images: np.ndarray | Sequence[np.ndarray], batch: int = 32) -> np.ndarray:
        """Return (n, 2048) float32 of images (n, H, W, 3) uint8, or a list of images of several sizes."""
        out = []
        for start in range(0, len(images), batch):
            part = np.stack([self.resize(image) for image in images[start : start + batch]])
            x = torch.from_numpy(part).permute(0, 3, 1, 2).to(self.device)
            out.append(self.network(x).float().cpu().numpy())
        return np.concatenate(out)
