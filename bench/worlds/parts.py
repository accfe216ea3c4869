"""What the shared parts of a recipe ask of a world: its budgets, its seed, and who writes its captions."""

from collections.abc import Sequence
from typing import Protocol

import torch

from .emoji.spec import AutoencoderBudget, TextBudget, Triple


class DenoiserBudget(Protocol):
    """What the denoiser is made of and how long it trains."""

    channels: list[int]
    steps: int
    batch: int
    rate: float
    ema: float


class LatentSpec(Protocol):
    """A world that is drawn by a latent diffusion model. pixels: the side of its images."""

    pixels: int
    seed: int
    autoencoder: AutoencoderBudget
    text: TextBudget

    @property
    def unet(self) -> DenoiserBudget: ...


class CaptionWriter(Protocol):
    """Writes training captions; `corpus` holds every wording with every name at least once."""

    @property
    def corpus(self) -> Sequence[str]: ...

    def training_captions(self, triples: list[Triple], generator: torch.Generator) -> list[str]:
        """Draw one caption for each (subject, style, background); -1 where an image has no such attribute."""
        ...
