"""Images that show nothing known: a detector must not name them.

Training draws from `draw_negatives` and `negatives_bank`. The kinds are outputs of damaged generators: noise,
blends, blank and saturated images, decoded latents that no image has.
"""

from collections.abc import Collection
from typing import TYPE_CHECKING, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

if TYPE_CHECKING:  # prompts of a world need no diffusers
    from diffusers import AutoencoderKL


class Ground(Protocol):
    """Properties of plain images: their side in pixels, and colours (n, 3) in [0, 1]."""

    @property
    def pixels(self) -> int: ...

    @property
    def colours(self) -> Tensor: ...


def _smooth_noise(n: int, channels: int, side: int, generator: torch.Generator) -> Tensor:
    """Return Gaussian noise of unit variance at one random scale, from 1 px to the whole image."""
    cells = [1, 2, 4, 8, 16, side][int(torch.randint(6, (1,), generator=generator))]
    noise = torch.randn(n, channels, cells, cells, generator=generator)
    return F.interpolate(noise, size=(side, side), mode="bicubic") if cells != side else noise


def noise_images(n: int, side: int, generator: torch.Generator) -> Tensor:
    """Return smooth or white noise around a random colour; the strongest contrasts saturate most pixels."""
    level = 0.1 + 4 * torch.rand(n, 1, 1, 1, generator=generator) ** 2
    centre = 2 * torch.rand(n, 3, 1, 1, generator=generator) - 1
    return (centre + level * _smooth_noise(n, 3, side, generator)).clamp(-1, 1)


def _plain_grounds(ground: Ground, n: int, generator: torch.Generator) -> Tensor:
    """Return (n, 3, 1, 1) colours in [-1, 1]; half of them are a background's."""
    colour = torch.rand(n, 3, generator=generator)
    known = ground.colours[torch.randint(len(ground.colours), (n,), generator=generator)]
    return torch.where(torch.rand(n, 1, generator=generator) < 0.5, known, colour)[:, :, None, None] * 2 - 1


def blank_images(ground: Ground, n: int, generator: torch.Generator) -> Tensor:
    """Return images of one colour, half of them a background's, with a little noise and a linear shade."""
    colour = _plain_grounds(ground, n, generator)
    ramp = torch.linspace(-1, 1, ground.pixels) * 0.3 * torch.randn(n, 1, 1, 1, generator=generator)
    grain = (
        0.1
        * torch.rand(n, 1, 1, 1, generator=generator)
        * torch.randn(n, 3, ground.pixels, ground.pixels, generator=generator)
    )
    return (colour + ramp + grain).clamp(-1, 1)


def _paint_blobs(flat: Tensor, side: int, reach: float, generator: torch.Generator) -> Tensor:
    """Paint up to three soft-edged ellipses on plain images (n, c, 1, 1); their colours are within ±reach."""
    n, c = flat.shape[:2]
    image, axis = flat.expand(n, c, side, side), torch.linspace(-1, 1, side)

    def draw(channels: int) -> Tensor:
        return torch.rand(n, channels, 1, 1, generator=generator)

    for _ in range(3):
        (x, y), (wide, high) = (1.4 * draw(2) - 0.7).unbind(1), (0.1 + 0.8 * draw(2)).unbind(1)
        radius = (((axis[None, None] - x) / wide) ** 2 + ((axis[None, :, None] - y) / high) ** 2).sqrt()
        cover = torch.sigmoid((1 - radius[:, None]) / (0.02 + 0.4 * draw(1))) * (draw(1) < 0.7)
        image = torch.lerp(image, (2 * reach * (2 * draw(c) - 1)).clamp(-reach, reach), cover)
    return image


def blob_images(ground: Ground, n: int, generator: torch.Generator) -> Tensor:
    """Return soft blobs on a plain ground, half of the grounds a background's: like a collapsed model."""
    flat = _plain_grounds(ground, n, generator)
    grain = (
        0.3 * torch.rand(n, 1, 1, 1, generator=generator) ** 2 * _smooth_noise(n, 3, ground.pixels, generator)
    )
    return (_paint_blobs(flat, ground.pixels, 1.0, generator) + grain).clamp(-1, 1)


def blend_images(image: Tensor, generator: torch.Generator) -> Tensor:
    """Mix each image with another one, about half and half."""
    weight = 0.35 + 0.3 * torch.rand(len(image), 1, 1, 1, generator=generator)
    return weight * image + (1 - weight) * image.roll(1, 0)


def shuffle_patches(image: Tensor, cells: int, generator: torch.Generator) -> Tensor:
    """Cut (n, c, s, s) into cells x cells patches and put them back in a random order."""
    n, c, s, _ = image.shape
    q = s // cells
    patches = (
        image.view(n, c, cells, q, cells, q).permute(0, 2, 4, 1, 3, 5).reshape(n, cells * cells, c, q, q)
    )
    order = torch.rand(n, cells * cells, generator=generator).argsort(1)
    patches = patches[torch.arange(n)[:, None], order]
    return patches.view(n, cells, cells, c, q, q).permute(0, 3, 1, 4, 2, 5).reshape(n, c, s, s)


def pixel_kinds(ground: Ground, image: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
    """Return kind -> about n images of nothing known, some made from the n images (n, 3, P, P)."""
    n, cells = len(image), [4, 8][int(torch.randint(2, (1,), generator=generator))]
    return {
        "noise": noise_images(n, ground.pixels, generator),
        "blank": blank_images(ground, max(1, n // 2), generator),
        "blobs": blob_images(ground, n, generator),
        "blended": blend_images(image, generator),
        "shuffled": shuffle_patches(image, cells, generator),
    }


@torch.no_grad()
def latent_kinds(latents: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
    """Return kind -> latents (n, 4, h, w) that no image has; `latents` are of unit scale."""
    n, c, s, _ = latents.shape
    strength = torch.rand(n, 1, 1, 1, generator=generator)
    noise = torch.cat([_smooth_noise(max(1, n // 8), c, s, generator) for _ in range(9)])[:n]
    ground = 2 * torch.randn(n, c, 1, 1, generator=generator)
    return {
        "blobs": _paint_blobs(ground, s, 5.0, generator) + 0.5 * strength * noise,
        "noise": (0.5 + 4 * strength) * noise,
        "saturated": (3 + 5 * strength) * latents,
        "blended": 0.5 * latents + 0.5 * latents.roll(1, 0) + 0.3 * noise,
        "buried in noise": latents + (1.5 + 2 * strength) * noise,
        "shuffled": shuffle_patches(latents, 4, generator) + 0.3 * noise,
        "inverted": -(0.8 + 2 * strength) * latents + 0.5 * noise,
    }


def negative_latents(latents: Tensor, generator: torch.Generator, without: Collection[str] = ()) -> Tensor:
    """Return latents that no image has, each of a random kind. without: kinds that are left out."""
    kinds = [z for kind, z in latent_kinds(latents, generator).items() if kind not in without]
    kind = torch.randint(len(kinds), (len(latents), 1, 1, 1), generator=generator)
    return sum((kind == i) * option for i, option in enumerate(kinds))  # type: ignore[return-value]


@torch.no_grad()
def negatives_bank(
    vae: "AutoencoderKL", latents: Tensor, n: int, generator: torch.Generator, without: Collection[str] = ()
) -> Tensor:
    """Return n decoded negative latents (n, 3, P, P) as uint8. latents: (m, 4, h, w) of unit scale."""
    images = []
    for _ in range(0, n, 256):
        rows = torch.randint(len(latents), (256,), generator=generator)
        z = negative_latents(latents[rows], generator, without) / vae.config.scaling_factor
        images.append(to_bytes(vae.decode(z.contiguous(memory_format=torch.channels_last)).sample))
    return torch.cat(images)[:n]


def to_bytes(images: Tensor) -> Tensor:
    """Return images in [-1, 1] as uint8, as files hold them."""
    return ((images.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8).contiguous()


def from_bytes(images: Tensor) -> Tensor:
    return images.float() / 127.5 - 1
