"""Make an emoji world from its sprites: train part by part, each resumable, and export what ships."""

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL
from open_clip import CLIP
from safetensors.torch import load_file, save_file
from torch import Tensor

from ...judges.clip_model import build_clip
from ...judges.emoji_network import DetectorNetwork
from ..latent import LatentRecipe
from .autoencoder import random_triples
from .captions import Captioner
from .clip import clip_config, clip_stage
from .compose import WIDEST, Canvas, load_canvas
from .detector import build_detector, calibrate, detector_stage, make_banks, make_garbage
from .loop import save_atomic
from .reference import compose_reference
from .settings import part_key
from .spec import WorldSpec
from .text import write_vocabulary
from .unet import encode_world


@dataclass
class Recipe(LatentRecipe[WorldSpec, Captioner]):
    """The parts of an emoji world in training."""

    canvas: Canvas
    sprites: Path

    def key(self, part: str) -> str:
        return part_key(self.spec, self.sprites, part)

    def draw(self, n: int, generator: torch.Generator) -> Tensor:
        return self.canvas.compose(*random_triples(self.spec, n, generator), generator, WIDEST)

    def encode(self, vae: AutoencoderKL) -> dict[str, Tensor]:
        return encode_world(self.spec, self.canvas, vae)

    @cached_property
    def banks(self) -> dict[str, Tensor]:
        """What the judges' training draws from (see `make_banks`)."""
        return self.keep("banks", lambda: make_banks(self.spec, self.canvas, self.autoencoder))

    @cached_property
    def garbage(self) -> dict[str, Tensor]:
        """What the detector must not name (see `make_garbage`)."""
        return self.keep("garbage", lambda: make_garbage(self.spec, self.autoencoder, self.latents[0]))

    @cached_property
    def detector(self) -> DetectorNetwork:
        network = build_detector(self.spec)
        self.train(detector_stage(self.spec, self.canvas, self.banks | self.garbage, network))
        return network

    @cached_property
    def clip(self) -> CLIP:
        """The alignment model."""
        model = build_clip(clip_config(self.spec, self.tokenizer), self.spec.seed)
        self.train(clip_stage(self.spec, self.canvas, self.captioner, self.tokenizer, model, self.banks))
        return model


def open_recipe(spec: WorldSpec, sprites: Path, folder: Path) -> Recipe:
    """Return the recipe of a world over its sprite file, with its working folder."""
    torch.set_flush_denormal(True)
    return Recipe(spec, Captioner(spec), folder, load_canvas(spec, sprites), sprites)


def export_pipeline(recipe: LatentRecipe[Any, Any], target: Path) -> None:
    """Write the pipeline folder, with the vocabulary and the names of weights that transformers 4 reads too.

    The denoiser and the autoencoder are stored in half precision: diffusers opens them in float32.
    """
    pipeline = recipe.pipeline()
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

    Version 5 writes names without it, which version 4 does not find: it fills the model with random numbers.
    """
    weights = load_file(path)
    known = {
        name if name.startswith("text_model.") else f"text_model.{name}": t for name, t in weights.items()
    }
    save_file(known, path, metadata={"format": "pt"})


def export_judges(recipe: Recipe, target: Path, version: int = 1) -> None:
    """Write the judges' folder: the detector and its calibration, the alignment model, reference features."""
    target.mkdir(parents=True, exist_ok=True)
    spec, network = recipe.spec, recipe.detector
    half = {name: t.half() for name, t in network.state_dict().items() if t.is_floating_point()}
    save_atomic(half, target / "detector.safetensors")
    # calibrate what ships: the weights as they come back from half precision
    network.load_state_dict({name: t.float() for name, t in half.items()}, strict=False)
    card = {
        "version": version,
        "pixels": spec.pixels,
        "width": spec.detector.width,
        "subjects": spec.subject_names,
        "styles": spec.style_names,
        "backgrounds": spec.backgrounds,
        "calibration": calibrate(spec, recipe.canvas, recipe.autoencoder, network),
    }
    (target / "detector.json").write_text(json.dumps(card, indent=1) + "\n", encoding="utf-8")
    features, triples = reference_features(recipe, network)
    save_atomic(
        {"features": features.half(), "triples": triples.to(torch.int16)}, target / "reference.safetensors"
    )
    _export_clip(recipe, target / "clip")


def _export_clip(recipe: Recipe, target: Path) -> None:
    target.mkdir(exist_ok=True)
    weights = {name: t.half() for name, t in recipe.clip.state_dict().items() if t.is_floating_point()}
    save_atomic(weights, target / "model.safetensors")
    config = {
        "model_cfg": clip_config(recipe.spec, recipe.tokenizer),
        "preprocess_cfg": {"mean": 0.5, "std": 0.5},
    }
    (target / "config.json").write_text(json.dumps(config, indent=1) + "\n", encoding="utf-8")


@torch.no_grad()
def reference_features(recipe: Recipe, network: DetectorNetwork) -> tuple[Tensor, Tensor]:
    """Return detector features (n, d) of fresh composites of the world's triples, and the triples (n, 3)."""
    pairs = [(network.features(images), triples) for images, triples in compose_reference(recipe.canvas)]
    return torch.cat([features for features, _ in pairs]), torch.cat([triples for _, triples in pairs])
