"""Make a world of labelled images: the shared generator's recipe, and a classifier that judges it."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL
from torch import Tensor

from ...judges.image_classifier import ClassifierNetwork
from ...progress import show_progress
from ...store import content_key
from ..recipe.generator import LatentRecipe
from ..recipe.negatives import from_bytes
from ..recipe.parts import TOKENIZER_VERSION
from .classifier import build_classifier, classifier_stage, make_bank
from .data import LabelledImages
from .spec import ClassCaptioner, ImagesSpec

UPSTREAM: Mapping[str, tuple[str, ...]] = {
    "autoencoder": (),
    "latents": ("autoencoder",),
    "text": ("latents",),
    "unet": ("text",),
    "bank": ("latents",),
    "classifier": ("bank",),
}
CLASSIFIER_VERSION = 2
"""Bump when the classifier or its training data changes: its layers, its bank, its negatives."""


def part_key(spec: ImagesSpec, data: str, part: str) -> str:
    """Return the digest of all that a part depends on, the parts before it included. data: its digest."""
    content = spec.model_dump(mode="json")
    words = {"wordings": ClassCaptioner(spec.classes).words.train, "tokenizer": TOKENIZER_VERSION}
    own: dict[str, Any] = {
        "autoencoder": {"data": data, **{key: content[key] for key in ("pixels", "seed", "autoencoder")}},
        "latents": {},
        "text": {"budget": content["text"], "classes": spec.classes, **words},
        "unet": content["unet"],
        "bank": {"version": CLASSIFIER_VERSION},
        "classifier": [CLASSIFIER_VERSION, content["classifier"]],
    }[part]
    return content_key(
        {"part": part, "own": own, "before": [part_key(spec, data, p) for p in UPSTREAM[part]]}
    )


@dataclass
class ImagesRecipe(LatentRecipe[ImagesSpec, ClassCaptioner]):
    """The parts of a world of labelled images and their training."""

    data: LabelledImages

    def key(self, part: str) -> str:
        return part_key(self.spec, self.data.digest, part)

    def draw(self, n: int, generator: torch.Generator) -> Tensor:
        rows = torch.randint(len(self.data.train), (n,), generator=generator)
        return from_bytes(self.data.train.images[rows])

    @torch.no_grad()
    def encode(self, vae: AutoencoderKL) -> dict[str, Tensor]:
        """Encode every training image; of each triple only the subject is known: the class."""
        latents, part = [], self.data.train
        with show_progress("latents", len(part)) as advance:
            for chunk in part.images.split(256):
                image = from_bytes(chunk).contiguous(memory_format=torch.channels_last)
                latents.append(vae.encode(image).latent_dist.mean.contiguous())
                advance(sum(map(len, latents)), "")
        unknown = torch.full((len(part), 2), -1)
        return {"latents": torch.cat(latents), "triples": torch.cat([part.labels[:, None], unknown], 1)}

    @cached_property
    def bank(self) -> dict[str, Tensor]:
        """Images on which the classifier trains in addition to the world's own (see `make_bank`)."""
        return self.keep("bank", lambda: make_bank(self.spec, self.data, self.autoencoder, self.latents[0]))

    @cached_property
    def classifier(self) -> ClassifierNetwork:
        network = build_classifier(self.spec)
        self.train(classifier_stage(self.spec, self.data, self.bank, network))
        return network


def open_recipe(spec: ImagesSpec, data: LabelledImages, folder: Path, device: str = "cpu") -> ImagesRecipe:
    """Return the recipe of a world over its data, with its working folder. device: to train on."""
    torch.set_flush_denormal(True)
    return ImagesRecipe(spec, ClassCaptioner(spec.classes), folder, data, device=device)
