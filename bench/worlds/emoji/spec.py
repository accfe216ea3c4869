"""Specification of an emoji world: subjects, styles, backgrounds and the budgets of its parts."""

import hashlib
from collections.abc import Sequence
from functools import cached_property
from importlib.resources import files
from pathlib import Path

from pydantic import BaseModel

from ...config import STRICT, build, read_toml
from ...errors import UserError
from ..recipe.parts import AutoencoderBudget, TextBudget, Triple

STAGES = ("autoencoder", "text", "unet", "detector", "clip", "export")
"""Parts of the recipe, in the order in which they are made."""
WORDINGS = "captions"
"""Stem of the TOML file with the caption wordings, next to the presets."""


class UNetBudget(BaseModel):
    model_config = STRICT
    channels: list[int]
    steps: int
    batch: int
    rate: float
    placements: int
    ema: float


class DetectorBudget(BaseModel):
    model_config = STRICT
    width: int
    steps: int
    batch: int
    rate: float


class ClipBudget(BaseModel):
    model_config = STRICT
    width: int
    layers: int
    patch: int
    steps: int
    batch: int
    rate: float


class WorldSpec(BaseModel):
    """One emoji world, as its TOML file states it.

    without: subjects and styles that the generator never sees (for a retrained reference); the captions'
    vocabulary and the judges still know them.
    """

    model_config = STRICT
    name: str
    version: int
    pixels: int
    seed: int
    held_out: float
    scale: tuple[float, float]
    indirect: float
    steps: int
    guidance: float
    styles: dict[str, str]
    backgrounds: dict[str, tuple[int, int, int]]
    subjects: dict[str, list[str]]
    art_names: dict[str, str]
    without: tuple[str, ...] = ()
    autoencoder: AutoencoderBudget
    text: TextBudget
    unet: UNetBudget
    detector: DetectorBudget
    clip: ClipBudget

    @cached_property
    def subject_names(self) -> list[str]:
        """Names of all subjects as captions use them, group by group."""
        return [name for group in self.subjects.values() for name in group]

    @cached_property
    def style_names(self) -> list[str]:
        return list(self.styles)

    @cached_property
    def background_names(self) -> list[str]:
        return list(self.backgrounds)

    def group_of(self, subject: str) -> str:
        """Return the group of a subject; each belongs to exactly one."""
        return next(group for group, names in self.subjects.items() if subject in names)

    @cached_property
    def triples(self) -> list[Triple]:
        """Every (subject, style, background), in a fixed order."""
        sizes = len(self.subject_names), len(self.style_names), len(self.background_names)
        return [Triple(s, k, b) for s in range(sizes[0]) for k in range(sizes[1]) for b in range(sizes[2])]

    def is_held_out(self, triple: Triple) -> bool:
        """Return whether a triple is never trained on, by a hash of its names so that lists may grow."""
        names = (
            self.subject_names[triple.subject],
            self.style_names[triple.style],
            self.background_names[triple.background],
        )
        digest = hashlib.sha256("|".join(("held-out", *names)).encode()).digest()
        return int.from_bytes(digest[:8], "big") / 2**64 < self.held_out

    def is_trained_on(self, triple: Triple) -> bool:
        """Return whether the generator may see a triple: not held out, and nothing of it left out."""
        names = self.subject_names[triple.subject], self.style_names[triple.style]
        return not self.is_held_out(triple) and not set(names) & set(self.without)

    def leave_out(self, names: Sequence[str]) -> "WorldSpec":
        """Return this world without some subjects or styles; raises UserError for an unknown name."""
        unknown = sorted(set(names) - {*self.subject_names, *self.style_names})
        if unknown:
            raise UserError(f"--without {unknown[0]}: {self.name} has no subject or style of this name")
        return self.model_copy(update={"without": tuple(sorted(set(names)))})

    @property
    def folder_name(self) -> str:
        """Name of the working folder; worlds that leave different concepts out never share one."""
        if not self.without:
            return self.name
        return f"{self.name}-without-{hashlib.sha256('|'.join(self.without).encode()).hexdigest()[:8]}"


def preset_path(name: str) -> Path:
    """Return the TOML of a preset (`emoji`, `tiny`); raises UserError for an unknown one."""
    path = Path(str(files(__name__.rpartition(".")[0]))) / f"{name}.toml"
    if not path.is_file() or name == WORDINGS:
        known = ", ".join(sorted(p.stem for p in path.parent.glob("*.toml") if p.stem != WORDINGS))
        raise UserError(f"no world preset named {name!r}; presets: {known}")
    return path


def load_spec(name_or_path: str) -> WorldSpec:
    """Return the world of a preset's name or of a TOML file; raises UserError naming file and key."""
    path = Path(name_or_path) if name_or_path.endswith(".toml") else preset_path(name_or_path)
    return build(WorldSpec, read_toml(path), str(path))
