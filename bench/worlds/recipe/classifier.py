"""Parts that the classifiers of several recipes share."""

import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL
from torch import Tensor
from torchvision.transforms.functional import gaussian_blur

from .negatives import to_bytes


@torch.no_grad()
def noised_round_trip(
    vae: AutoencoderKL, clean: Tensor, strongest: float, generator: torch.Generator
) -> Tensor:
    """Return images (n, 3, P, P) in [-1, 1] after the autoencoder (as uint8), half of them noised.

    strongest: bound of the noise in standard deviations of a latent.
    """
    latents = vae.encode(clean.contiguous(memory_format=torch.channels_last)).latent_dist.mean
    strength = strongest * (torch.rand(len(clean), 1, 1, 1, generator=generator) - 0.5).clamp(min=0) * 2
    latents = latents + strength * latents.std() * torch.randn(latents.shape, generator=generator)
    return to_bytes(vae.decode(latents).sample)


def degrade(images: Tensor, generator: torch.Generator) -> Tensor:
    """Blur, noise and a slight change of contrast, of a strength drawn for the batch."""
    blur, contrast = torch.rand(2, generator=generator).tolist()
    if blur > 0.5:
        images = gaussian_blur(images, [3, 3], [0.2 + 0.9 * (blur - 0.5)])
    noise = 0.12 * torch.rand(len(images), 1, 1, 1, generator=generator) ** 2
    images = images * (0.92 + 0.16 * contrast) + noise * torch.randn(images.shape, generator=generator)
    return images.clamp(-1, 1)


def fit_head(scores: Tensor, truth: Tensor) -> tuple[float, float]:
    """Return a head's temperature (of maximum likelihood) and the confidence that 99.5 % of its images reach.

    scores: logits (n, names + 1), `nothing known` last. truth: (n,).
    """
    temperatures = torch.logspace(-0.5, 0.7, 61)
    losses = torch.stack([F.cross_entropy(scores / t, truth) for t in temperatures])
    temperature = float(temperatures[losses.argmin()])
    confidence = torch.softmax(scores / temperature, 1)[:, :-1].max(1).values
    return round(temperature, 4), round(float(confidence.quantile(0.005).clamp(0.3, 0.9)), 4)
