"""Make an emoji world from its sprites: train part by part, each resumable, and export what ships."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch
from diffusers import AutoencoderKL, StableDiffusionPipeline, UNet2DConditionModel
from open_clip import CLIP
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import CLIPTextModel, CLIPTokenizer

from ...judges.clip_model import build_clip
from ...judges.emoji_network import DetectorNetwork
from .autoencoder import autoencoder_stage, build_autoencoder
from .captions import Captioner
from .clip import clip_config, clip_stage
from .compose import Canvas, load_canvas
from .detector import build_detector, calibrate, detector_stage, make_banks, make_garbage
from .loop import Stage, read_checked, save_atomic, train
from .reference import compose_reference
from .settings import part_key
from .spec import WorldSpec
from .text import build_text_encoder, build_tokenizer, text_stage, write_vocabulary
from .unet import build_unet, encode_world, sampling_schedule, unet_stage


@dataclass
class Recipe:
    """The parts of a world in training; `folder` holds checkpoints and finished parts.

    A part is trained when it is first asked for, or read back when `folder` holds it.
    """

    spec: WorldSpec
    canvas: Canvas
    captioner: Captioner
    sprites: Path
    folder: Path

    def _train(self, stage: Stage) -> None:
        stage.key = part_key(self.spec, self.sprites, stage.name)
        train(stage, self.folder)

    def _keep(self, part: str, make: Callable[[], dict[str, Tensor]]) -> dict[str, Tensor]:
        """Return a part's tensors from the folder, made first where they are not there."""
        path, key = self.folder / f"{part}.safetensors", part_key(self.spec, self.sprites, part)
        if not path.exists():
            save_atomic(make(), path, key)
        return read_checked(path, key)

    @cached_property
    def autoencoder(self) -> AutoencoderKL:
        """The trained autoencoder; its `scaling_factor` gives latents of unit variance."""
        vae = build_autoencoder(self.spec)
        self._train(autoencoder_stage(self.spec, self.canvas, vae))
        stored = self._keep("latents", lambda: encode_world(self.spec, self.canvas, vae))
        vae.register_to_config(scaling_factor=round(1 / stored["latents"].std().item(), 6))
        return vae

    @cached_property
    def latents(self) -> tuple[Tensor, Tensor]:
        """Scaled latents (n, 4, h, w) of the seen triples, and the triples (n, 3)."""
        vae = self.autoencoder
        stored = self._keep("latents", lambda: encode_world(self.spec, self.canvas, vae))
        return stored["latents"] * vae.config.scaling_factor, stored["triples"]

    @cached_property
    def tokenizer(self) -> CLIPTokenizer:
        return build_tokenizer(self.spec, self.captioner)

    @cached_property
    def text_encoder(self) -> CLIPTextModel:
        encoder = build_text_encoder(self.spec, self.tokenizer)
        self._train(text_stage(self.spec, self.captioner, self.tokenizer, encoder, *self.latents))
        return encoder

    @cached_property
    def unet(self) -> UNet2DConditionModel:
        unet = build_unet(self.spec)
        stage = unet_stage(self.spec, self.captioner, self.tokenizer, self.text_encoder, unet, *self.latents)
        self._train(stage)
        return unet

    @cached_property
    def banks(self) -> dict[str, Tensor]:
        """What the judges' training draws from (see `make_banks`)."""
        return self._keep("banks", lambda: make_banks(self.spec, self.canvas, self.autoencoder))

    @cached_property
    def garbage(self) -> dict[str, Tensor]:
        """What the detector must not name (see `make_garbage`)."""
        return self._keep("garbage", lambda: make_garbage(self.spec, self.autoencoder, self.latents[0]))

    @cached_property
    def detector(self) -> DetectorNetwork:
        network = build_detector(self.spec)
        self._train(detector_stage(self.spec, self.canvas, self.banks | self.garbage, network))
        return network

    @cached_property
    def clip(self) -> CLIP:
        """The alignment model."""
        model = build_clip(clip_config(self.spec, self.tokenizer), self.spec.seed)
        self._train(clip_stage(self.spec, self.canvas, self.captioner, self.tokenizer, model, self.banks))
        return model

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


def open_recipe(spec: WorldSpec, sprites: Path, folder: Path) -> Recipe:
    """Return the recipe of a world over its sprite file, with its working folder."""
    torch.set_flush_denormal(True)
    return Recipe(spec, load_canvas(spec, sprites), Captioner(spec), sprites, folder)


def export_pipeline(recipe: Recipe, target: Path) -> None:
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
