"""The generator's part of every recipe: autoencoder, latents, text encoder, denoiser; each can be resumed."""

import json
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Generic, TypeVar

import torch
from diffusers import AutoencoderKL, StableDiffusionPipeline, UNet2DConditionModel
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import CLIPTextModel, CLIPTokenizer

from .autoencoder import autoencoder_stage, build_autoencoder
from .loop import Stage, read_checked, save_atomic, train
from .parts import CaptionWriter, LatentSpec
from .text import build_text_encoder, build_tokenizer, text_stage, write_vocabulary
from .unet import build_unet, sampling_schedule, unet_stage

S = TypeVar("S", bound=LatentSpec)
C = TypeVar("C", bound=CaptionWriter)


@dataclass
class LatentRecipe(ABC, Generic[S, C]):
    """The parts of a generator and their training; `folder` holds checkpoints and finished parts.

    A part is trained when it is first needed, or read where `folder` holds it. device: on which the text
    encoder and the denoiser train; all else is small and stays on the CPU.
    """

    spec: S
    captioner: C
    folder: Path
    device: str = field(default="cpu", kw_only=True)

    @abstractmethod
    def key(self, part: str) -> str:
        """Return the digest of all settings that a part depends on."""

    @abstractmethod
    def draw(self, n: int, generator: torch.Generator) -> Tensor:
        """Return n images (n, 3, P, P) in [-1, 1] on which the autoencoder is trained."""

    @abstractmethod
    def encode(self, vae: AutoencoderKL) -> dict[str, Tensor]:
        """Return the raw `latents` (n, 4, P/4, P/4) that the generator learns from, and their `triples`."""

    def train(self, stage: Stage, device: str = "cpu") -> None:
        """Train a stage to its end on a device, or read its result."""
        stage.key = self.key(stage.name)
        train(stage, self.folder, device)

    def keep(self, part: str, make: Callable[[], dict[str, Tensor]]) -> dict[str, Tensor]:
        """Return a part's tensors from the folder; make them first where they are missing."""
        path, key = self.folder / f"{part}.safetensors", self.key(part)
        if not path.exists():
            save_atomic(make(), path, key)
        return read_checked(path, key)

    @cached_property
    def autoencoder(self) -> AutoencoderKL:
        """The trained autoencoder; its `scaling_factor` gives latents of unit variance."""
        vae = build_autoencoder(self.spec)
        self.train(autoencoder_stage(self.spec, self.draw, vae))
        stored = self.keep("latents", lambda: self.encode(vae))
        vae.register_to_config(scaling_factor=round(1 / stored["latents"].std().item(), 6))
        return vae

    @cached_property
    def latents(self) -> tuple[Tensor, Tensor]:
        """Scaled latents (n, 4, h, w) of the training images, and their triples (n, 3)."""
        vae = self.autoencoder
        stored = self.keep("latents", lambda: self.encode(vae))
        return stored["latents"] * vae.config.scaling_factor, stored["triples"]

    @cached_property
    def tokenizer(self) -> CLIPTokenizer:
        return build_tokenizer(self.spec, self.captioner)

    @cached_property
    def text_encoder(self) -> CLIPTextModel:
        encoder = build_text_encoder(self.spec, self.tokenizer)
        stage = text_stage(self.spec, self.captioner, self.tokenizer, encoder, *self.latents)
        self.train(stage, self.device)
        return encoder

    @cached_property
    def unet(self) -> UNet2DConditionModel:
        unet = build_unet(self.spec)
        encoder = self.text_encoder.to(self.device)
        stage = unet_stage(self.spec, self.captioner, self.tokenizer, encoder, unet, *self.latents)
        self.train(stage, self.device)
        encoder.to("cpu")
        return unet

    def pipeline(self) -> StableDiffusionPipeline:
        """Return the generator as a plain diffusers pipeline."""
        return StableDiffusionPipeline(
            vae=self.autoencoder,
            text_encoder=self.text_encoder,
            tokenizer=self.tokenizer,
            unet=self.unet,
            scheduler=sampling_schedule(),
            safety_checker=None,
            feature_extractor=None,
            requires_safety_checker=False,
        )


def export_pipeline(recipe: LatentRecipe[Any, Any], target: Path) -> None:
    """Write the pipeline folder, with a vocabulary and names of weights that transformers 4 reads, too.

    The denoiser and the autoencoder are stored in half precision; diffusers opens them in float32.
    """
    pipeline = recipe.pipeline()
    # training left its own length in the tokenizer; a world is to be the same whether it was trained or read
    pipeline.tokenizer.backend_tokenizer.no_truncation()
    pipeline.tokenizer.backend_tokenizer.no_padding()
    pipeline.unet.half()
    pipeline.vae.half()
    pipeline.save_pretrained(target, safe_serialization=True)
    pipeline.unet.float()
    pipeline.vae.float()
    backend = json.loads(pipeline.tokenizer.backend_tokenizer.to_str())["model"]
    merges = [(pair[0], pair[1]) for pair in backend["merges"]]
    write_vocabulary(dict(backend["vocab"]), merges, target / "tokenizer")
    write_known_names(target / "text_encoder" / "model.safetensors")


def write_known_names(path: Path) -> None:
    """Give a CLIP text encoder's weights the prefix that every version of transformers knows.

    Version 5 writes names without it. Version 4 does not find these and leaves the weights random.
    """
    weights = load_file(path)
    known = {
        name if name.startswith("text_model.") else f"text_model.{name}": t for name, t in weights.items()
    }
    save_file(known, path, metadata={"format": "pt"})
