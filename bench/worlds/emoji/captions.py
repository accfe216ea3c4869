"""Captions of an emoji world in training, evaluation and indirect wordings."""

from functools import cached_property
from pathlib import Path

import torch
from pydantic import BaseModel

from ...config import STRICT, build, read_toml
from ..prompts import EMPTY, fill
from ..recipe.parts import Triple
from .spec import WORDINGS, WorldSpec

LEFT_OUT = 0.10
"""Share of training captions without the style; as many are without the background."""


class Phrases(BaseModel):
    model_config = STRICT
    train: list[str]
    evaluation: list[str]


class Wordings(BaseModel):
    """Caption templates, and the indirect phrases of each category."""

    model_config = STRICT
    train: list[str]
    evaluation: list[str]
    no_article: list[str]
    indirect: dict[str, Phrases]


def load_wordings() -> Wordings:
    path = Path(__file__).with_name(f"{WORDINGS}.toml")
    return build(Wordings, read_toml(path), str(path))


class Captioner:
    """Writes the captions of a world's images."""

    def __init__(self, spec: WorldSpec) -> None:
        self.spec = spec
        self.words = load_wordings()

    def _names(self, triple: Triple) -> tuple[str, str | None, str | None]:
        style = self.spec.style_names[triple.style] if triple.style >= 0 else None
        background = self.spec.background_names[triple.background] if triple.background >= 0 else None
        return self.spec.subject_names[triple.subject], style, background

    def caption(self, triple: Triple, template: str) -> str:
        """Return the caption of a triple in one wording; an index of -1 leaves its attribute out."""
        names = self._names(triple)
        return fill(template, *names, article="" if names[0] in self.words.no_article else "a ")

    def indirect(self, phrase: str, triple: Triple) -> str:
        """Return a caption that asks for a category by a phrase, with the triple's style and background."""
        _, style, background = self._names(triple)
        text = phrase + (f" in {style} style" if style else "")
        return text + (f" on a {background} background" if background else "")

    def training_captions(self, triples: list[Triple], generator: torch.Generator) -> list[str]:
        """Draw one training caption for each triple: its wording, left-out attributes, indirect or empty."""
        draws = torch.rand(len(triples), 4, generator=generator).tolist()
        return [self._draw(triple, *row) for triple, row in zip(triples, draws, strict=True)]

    def _draw(self, triple: Triple, which: float, drop: float, aside: float, pick: float) -> str:
        if drop < EMPTY:
            return ""
        if drop < EMPTY + LEFT_OUT:
            triple = triple._replace(style=-1)
        elif drop < EMPTY + 2 * LEFT_OUT:
            triple = triple._replace(background=-1)
        group = self.spec.group_of(self.spec.subject_names[triple.subject])
        if aside < self.spec.indirect and group in self.words.indirect:
            phrases = self.words.indirect[group].train
            return self.indirect(phrases[int(pick * len(phrases))], triple)
        return self.caption(triple, self.words.train[int(which * len(self.words.train))])

    @cached_property
    def corpus(self) -> list[str]:
        """Every training wording with every name at least once; the tokenizer is built from it."""
        spec, lines = self.spec, []
        for template in self.words.train:
            for s in range(len(spec.subject_names)):
                k, b = s % len(spec.style_names), s % len(spec.background_names)
                lines.append(self.caption(Triple(s, k, b), template))
            for k in range(len(spec.style_names)):
                lines.append(self.caption(Triple(0, k, k % len(spec.background_names)), template))
            for b in range(len(spec.background_names)):
                lines.append(self.caption(Triple(0, b % len(spec.style_names), b), template))
        for group in spec.subjects:
            if group in self.words.indirect:
                lines += [self.indirect(p, Triple(0, 0, 0)) for p in self.words.indirect[group].train]
        return lines
