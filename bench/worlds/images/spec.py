"""Specification of a world of labelled images: its classes, its wordings and the budgets of its parts."""

import re
from collections.abc import Sequence
from pathlib import Path

import torch
from pydantic import BaseModel, Field

from ...config import STRICT, build, read_toml
from ...errors import UserError
from ..prompts import EMPTY, fill
from ..recipe.parts import AutoencoderBudget, TextBudget, Triple

SETTINGS = Path(__file__).with_name("images.toml")
NAME = r"[a-z0-9][a-z0-9-]*"
STAGES = ("autoencoder", "text", "unet", "classifier", "export")
"""Parts of the recipe, in the order in which they are made."""


class UNetBudget(BaseModel):
    model_config = STRICT
    channels: list[int]
    steps: int
    batch: int
    rate: float
    ema: float


class ClassifierBudget(BaseModel):
    model_config = STRICT
    width: int
    steps: int
    batch: int
    rate: float


class ImagesSpec(BaseModel):
    """One world of labelled images. kept: training images of each class that the world carries."""

    model_config = STRICT
    name: str = Field(pattern=f"^{NAME}$")
    classes: list[str]
    version: int
    pixels: int = Field(ge=16, multiple_of=16)
    seed: int
    steps: int = Field(ge=1)
    guidance: float
    kept: int = Field(ge=1)
    autoencoder: AutoencoderBudget
    text: TextBudget
    unet: UNetBudget
    classifier: ClassifierBudget


def load_settings(path: Path, name: str, classes: Sequence[str]) -> ImagesSpec:
    """Return the world of a settings file; raises UserError naming file and key."""
    return build(ImagesSpec, read_toml(path) | {"name": name, "classes": list(classes)}, str(path))


def make_name(text: str) -> str:
    """Return a text in the form of task and world names: lower-case words and hyphens."""
    name = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")
    if not name:
        raise UserError(f"{text!r}: holds no letter a-z and no digit: no name can be made of it")
    return name


class Wordings(BaseModel):
    """Caption templates of training and of evaluation."""

    model_config = STRICT
    train: list[str]
    evaluation: list[str]


def load_wordings() -> Wordings:
    path = Path(__file__).with_name("captions.toml")
    return build(Wordings, read_toml(path), str(path))


class ClassCaptioner:
    """Writes the captions of images of which only the class is known.

    words: the wordings that a made world carries; None: those in which a world that is made now is trained.
    """

    def __init__(self, classes: Sequence[str], words: Wordings | None = None) -> None:
        self.classes = list(classes)
        self.words = words or load_wordings()

    def caption(self, label: int, template: str) -> str:
        return fill(template, self.classes[label], None, None)

    def training_captions(self, triples: list[Triple], generator: torch.Generator) -> list[str]:
        """Draw one training caption for each image, some of them empty (classifier-free guidance)."""
        draws = torch.rand(len(triples), 2, generator=generator).tolist()
        templates = self.words.train
        return [
            "" if drop < EMPTY else self.caption(triple.subject, templates[int(which * len(templates))])
            for triple, (drop, which) in zip(triples, draws, strict=True)
        ]

    @property
    def corpus(self) -> list[str]:
        """Every training wording with every class; the tokenizer is built from it."""
        return [self.caption(i, t) for t in self.words.train for i in range(len(self.classes))]
