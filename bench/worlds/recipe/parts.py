"""The interface between a world and the shared parts of a recipe: its budgets, seed and captions."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Protocol

from pydantic import BaseModel

from ...config import STRICT
from ...errors import UserError

if TYPE_CHECKING:
    import torch

TOKENIZER_VERSION = 2
"""Bump when `build_tokenizer` gives other ids. In version 1 the ids differed from process to process."""


class DenoiserBudget(Protocol):
    """Size of the denoiser, and the length of its training."""

    channels: list[int]
    steps: int
    batch: int
    rate: float
    ema: float


class AutoencoderBudget(BaseModel):
    model_config = STRICT
    channels: list[int]
    steps: int
    batch: int
    rate: float


class TextBudget(BaseModel):
    model_config = STRICT
    width: int
    layers: int
    tokens: int
    steps: int
    batch: int
    rate: float


class LatentSpec(Protocol):
    """A world that a latent diffusion model draws. pixels: side of its images."""

    pixels: int
    seed: int
    autoencoder: AutoencoderBudget
    text: TextBudget

    @property
    def unet(self) -> DenoiserBudget: ...


class Triple(NamedTuple):
    """Indices of a (subject, style, background); -1 where the caption leaves the attribute out."""

    subject: int
    style: int
    background: int


class CaptionWriter(Protocol):
    """Writes training captions; `corpus` holds every wording with every name at least once."""

    @property
    def corpus(self) -> Sequence[str]: ...

    def training_captions(self, triples: list[Triple], generator: torch.Generator) -> list[str]:
        """Draw one caption for each (subject, style, background); -1 where an image has no such attribute."""
        ...


def check_key(found: str | None, expected: str, path: Path) -> None:
    """Raise UserError where a file was made with other settings than those of this run."""
    if found != expected:
        raise UserError(f"{path}: made with other settings; remove it, or choose another folder with --work")
