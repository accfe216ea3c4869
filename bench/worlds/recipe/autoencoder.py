"""The world's autoencoder: latents of a quarter of the side, sharp after minutes of training on a CPU."""

from collections.abc import Callable

import torch
from diffusers import AutoencoderKL
from torch import Tensor

from .loop import Stage
from .parts import LatentSpec

LATENT_CHANNELS = 4


def build_autoencoder(spec: LatentSpec) -> AutoencoderKL:
    """Return an untrained AutoencoderKL whose latents are (4, P/4, P/4)."""
    levels = len(spec.autoencoder.channels)
    torch.manual_seed(spec.seed)
    return AutoencoderKL(
        in_channels=3,
        out_channels=3,
        down_block_types=("DownEncoderBlock2D",) * levels,
        up_block_types=("UpDecoderBlock2D",) * levels,
        block_out_channels=tuple(spec.autoencoder.channels),
        layers_per_block=1,
        latent_channels=LATENT_CHANNELS,
        norm_num_groups=8,
        sample_size=spec.pixels,
        mid_block_add_attention=False,
    ).to(memory_format=torch.channels_last)


def autoencoder_stage(
    spec: LatentSpec, draw: Callable[[int, torch.Generator], Tensor], vae: AutoencoderKL
) -> Stage:
    """Train by L1, L1 of image gradients (sharp edges) and a slight KL. draw: returns n images in [-1, 1]."""
    budget = spec.autoencoder

    def loss(step: int, generator: torch.Generator) -> Tensor:
        image = draw(budget.batch, generator).contiguous(memory_format=torch.channels_last)
        posterior = vae.encode(image).latent_dist
        noise = torch.randn(posterior.mean.shape, generator=generator)
        error = vae.decode(posterior.mean + posterior.std * noise).sample - image
        rows, columns = error[:, :, 1:] - error[:, :, :-1], error[:, :, :, 1:] - error[:, :, :, :-1]
        edges = rows.abs().mean() + columns.abs().mean()
        return error.abs().mean() + 0.5 * edges + 1e-6 * posterior.kl().mean()

    return Stage("autoencoder", {"vae": vae}, loss, budget.steps, budget.rate, spec.seed)


@torch.no_grad()
def round_trip(vae: AutoencoderKL, image: Tensor) -> Tensor:
    """Encode and decode images (n, 3, P, P) in [-1, 1]: an upper bound of the generator's image quality."""
    latents = vae.encode(image.contiguous(memory_format=torch.channels_last)).latent_dist.mean
    return vae.decode(latents).sample.clamp(-1, 1).contiguous()
