"""The detector's network: what subject and what style an emoji image shows, or nothing known."""

import torch.nn.functional as F
from torch import Tensor, nn


def _block(inside: int, outside: int, stride: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inside, outside, 3, stride, 1, bias=False), nn.BatchNorm2d(outside), nn.ReLU(inplace=True)
    )


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
        """Return pooled features (n, width): what FD and KID of the emoji worlds are measured in."""
        return self.trunk(images).mean((2, 3))

    def judge(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return both heads' logits and the pooled features, by one pass."""
        maps = self.trunk(images)
        pooled = self.pool(maps).flatten(1)
        return self.subject(pooled), self.style(pooled), maps.mean((2, 3))
