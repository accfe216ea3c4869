"""Make an emoji world from its sprites: train each part (it can be resumed) and export the world."""

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch
from diffusers import AutoencoderKL
from open_clip import CLIP
from torch import Tensor

from ....judges.clip import build_clip
from ....judges.emoji import DetectorNetwork
from ....progress import show_progress
from ...recipe.generator import LatentRecipe
from ...recipe.loop import save_atomic
from ...seeds import seeded
from ..captions import Captioner
from ..compose import WIDEST, Canvas, load_canvas, random_triples
from ..reference import compose_reference
from ..spec import WorldSpec
from .clip import clip_config, clip_stage
from .detector import build_detector, calibrate, detector_stage, make_banks, make_negatives
from .settings import part_key


@dataclass
class Recipe(LatentRecipe[WorldSpec, Captioner]):
    """The parts of an emoji world and their training."""

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
        """Images from which the judges' training draws (see `make_banks`)."""
        return self.keep("banks", lambda: make_banks(self.spec, self.canvas, self.autoencoder))

    @cached_property
    def negatives(self) -> dict[str, Tensor]:
        """Images that the detector must not name (see `make_negatives`)."""
        return self.keep("garbage", lambda: make_negatives(self.spec, self.autoencoder, self.latents[0]))

    @cached_property
    def detector(self) -> DetectorNetwork:
        network = build_detector(self.spec)
        self.train(detector_stage(self.spec, self.canvas, self.banks | self.negatives, network))
        return network

    @cached_property
    def clip(self) -> CLIP:
        """The alignment model."""
        model = build_clip(clip_config(self.spec, self.tokenizer), self.spec.seed)
        self.train(clip_stage(self.spec, self.canvas, self.captioner, self.tokenizer, model, self.banks))
        return model


def open_recipe(spec: WorldSpec, sprites: Path, folder: Path, device: str = "cpu") -> Recipe:
    """Return the recipe of a world over its sprite file, with its working folder. device: to train on."""
    torch.set_flush_denormal(True)
    return Recipe(spec, Captioner(spec), folder, load_canvas(spec, sprites), sprites, device=device)


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
    """Return detector features (n, d) of composites of the world's triples, and the triples (n, 3)."""
    pairs = [(network.features(images), triples) for images, triples in compose_reference(recipe.canvas)]
    return torch.cat([features for features, _ in pairs]), torch.cat([triples for _, triples in pairs])


@torch.no_grad()
def encode_world(spec: WorldSpec, canvas: Canvas, vae: AutoencoderKL) -> dict[str, Tensor]:
    """Encode every triple that is trained on, at random placements.

    Returns raw `latents` (n, 4, P/4, P/4) and their `triples` (n, 3).
    """
    seen = torch.tensor([t for t in spec.triples if spec.is_trained_on(t)])
    triples = seen.repeat(spec.unet.placements, 1)
    latents = []
    with show_progress("latents", len(triples)) as advance:
        for i, rows in enumerate(triples.split(256)):
            image = canvas.compose(rows[:, 0], rows[:, 1], rows[:, 2], seeded(spec.seed, "latents", i))
            image = image.contiguous(memory_format=torch.channels_last)
            latents.append(vae.encode(image).latent_dist.mean.contiguous())
            advance(min((i + 1) * 256, len(triples)), "")
    return {"latents": torch.cat(latents), "triples": triples}
