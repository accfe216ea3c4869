"""Composite sprites onto backgrounds: a world's training and reference images, with known truth."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from ...errors import UserError
from .spec import WorldSpec

WIDEST = (0.70, 0.92)
"""Least and greatest share of the image's side that a sprite may take: a border of pure background remains.

The autoencoder and the judges see this whole range; a world draws in its own range within it (`scale`)."""


class Canvas:
    """The sprites of a world as tensors, ready to composite.

    sprites: (subjects, styles, 4, P, P) premultiplied RGBA in [0, 1]; colours: (backgrounds, 3) in [0, 1].
    """

    def __init__(self, spec: WorldSpec, sprites: Tensor) -> None:
        self.spec = spec
        self.pixels = spec.pixels
        self.sprites = sprites
        self.colours = torch.tensor(list(spec.backgrounds.values()), dtype=torch.float32) / 255

    def compose(
        self,
        subject: Tensor,
        style: Tensor,
        background: Tensor,
        generator: torch.Generator,
        scale: tuple[float, float] | None = None,
    ) -> Tensor:
        """Return (n, 3, P, P) images in [-1, 1], each sprite at a random place and (the world's) scale."""
        n, p = len(subject), self.pixels
        low, high = scale or self.spec.scale
        size = low + (high - low) * torch.rand(n, generator=generator)
        shift = (torch.rand(n, 2, generator=generator) - 0.5) * 2 * (high + 0.02 - size)[:, None]
        theta = torch.zeros(n, 2, 3)
        theta[:, 0, 0] = theta[:, 1, 1] = 1 / size
        theta[:, :, 2] = -shift / size[:, None]
        grid = F.affine_grid(theta, [n, 4, p, p], align_corners=False)
        placed = F.grid_sample(self.sprites[subject, style], grid, align_corners=False)
        flat = self.colours[background][:, :, None, None]
        return (placed[:, :3] + flat * (1 - placed[:, 3:])) * 2 - 1


def load_canvas(spec: WorldSpec, parquet: Path) -> Canvas:
    """Read the sprites of a world; raises UserError naming a (subject, style) that the file lacks."""
    table = pd.read_parquet(parquet, columns=["subject", "style", "image"])
    rows: list[dict[str, Any]] = table.to_dict("records")  # type: ignore[assignment]
    found = {(row["subject"], row["style"]): row["image"]["bytes"] for row in rows}
    sprites = []
    for subject in spec.subject_names:
        for style in spec.style_names:
            if (subject, style) not in found:
                raise UserError(
                    f"{parquet}: no sprite of {subject!r} in style {style!r}; rebuild it with --sprites"
                )
            sprites.append(_read_sprite(found[subject, style], spec.pixels))
    shape = len(spec.subject_names), len(spec.style_names), 4, spec.pixels, spec.pixels
    return Canvas(spec, torch.stack(sprites).view(shape))


def _read_sprite(data: bytes, pixels: int) -> Tensor:
    """Decode one PNG to (4, P, P), premultiplied before resizing so that no hidden colour mixes in."""
    pixels_first = np.array(Image.open(io.BytesIO(data)).convert("RGBA"))
    sprite = torch.from_numpy(pixels_first).permute(2, 0, 1).float() / 255
    sprite = torch.cat([sprite[:3] * sprite[3:], sprite[3:]])
    if sprite.shape[-1] != pixels:
        sprite = F.interpolate(sprite[None], size=(pixels, pixels), mode="area")[0]
    return sprite


def random_triples(spec: WorldSpec, n: int, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Return three index vectors (n,), drawn independently: of subjects, styles and backgrounds."""
    sizes = len(spec.subject_names), len(spec.style_names), len(spec.background_names)
    subject, style, background = (torch.randint(size, (n,), generator=generator) for size in sizes)
    return subject, style, background
