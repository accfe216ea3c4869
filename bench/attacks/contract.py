"""What an attack is given, and what it gives back. Neither holds evaluation noise or evaluation images."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Annotated, Any

import numpy as np
import torch
from pydantic import BaseModel, Field
from torch import nn

from ..config import STRICT
from ..errors import UserError
from ..registry import Entry
from ..types import TrainingSet

SEEDS = 2**63 - 1
MOVES: dict[str, tuple[str, ...]] = {
    "prompt": ("texts",),
    "embedding": ("texts",),
    "noise": ("seeds",),
    "latents": ("latents",),
    "weights": (),
    "nothing": (),
}
"""What an attack may move, and what it may give besides changed weights."""
ACCESS = ("black-box", "white-box")
"""What an attack is given: images and verdicts only, or the model."""


Budget = Annotated[int, Field(ge=0)]


class AttackConfig(BaseModel):
    """Base of every attack's settings. budget: in the unit that its REGISTER names; 0 moves nothing."""

    model_config = STRICT
    budget: Budget


@dataclass
class Cost:
    """What an attack spent. passes: images that went through the denoiser, one step each, forwards counted.

    images: drawn with the model. judged: images that the judge was asked about.
    """

    passes: int = 0
    images: int = 0
    judged: int = 0


@dataclass(frozen=True)
class Verdict:
    """What a judge says of n images. found: (n,) bool, whether a target is there.

    score: (n,) the judge's confidence that it is; 1 and 0 from a judge without confidences. An image with
    pixels that are not finite has False and 0.
    """

    found: np.ndarray
    score: np.ndarray


@dataclass(frozen=True)
class Learning:
    """What an attack may learn from: the task's sets of another seed, never evaluation images.

    forget: images of the target with captions. retain: images of other things. clean: the captions of
    `forget` with the anchor in the target's place, or without the target where the task has no anchor.
    """

    forget: TrainingSet
    retain: TrainingSet
    clean: tuple[str, ...]


@dataclass(frozen=True)
class Victim:
    """The model under attack, as an attack sees it.

    prompts: prompt id -> text, those to be attacked. targets: names to be brought back, as prompts write
    them. generator: a CPU generator of the attack's seed; every random choice comes from it. cost: counted by
    the engine. size: (height, width) of the images in pixels. steps: of the sampler. guidance: prompt id ->
    the scale that it is drawn with. samples: images of each prompt.
    """

    task: str
    prompts: Mapping[str, str]
    targets: tuple[str, ...]
    size: tuple[int, int]
    steps: int
    guidance: Mapping[str, float]
    samples: int
    generator: torch.Generator
    cost: Cost
    _learn: Callable[[], Learning]
    _pipeline: Callable[[], Any]
    _base: Callable[[], Any]
    _draw: Callable[[Sequence[str], Sequence[int]], list[np.ndarray | None]]
    _judge: Callable[[list[np.ndarray | None]], Verdict]
    _keep: Callable[[int], None]
    _made: dict[str, Any] = field(default_factory=dict)

    @property
    def learning(self) -> Learning:
        """What may be learnt from; made when first asked for."""
        return self._once("learning", self._learn)

    @property
    def pipeline(self) -> Any:
        """The attacked model's diffusers pipeline, a copy of the attack's own; for a white-box attack only.

        A sampling-time method does not act in it: whoever has the weights leaves such a method out.
        """
        return self._once("pipeline", self._pipeline)

    @property
    def base(self) -> Any:
        """The pipeline of the world's base model; for a white-box attack only."""
        return self._once("base", self._base)

    def draw(self, prompts: Sequence[str], seeds: Sequence[int]) -> list[np.ndarray | None]:
        """Return an image (H, W, 3) uint8 for each prompt and seed, drawn as the evaluation draws.

        None stands for an image with pixels that are not finite. Raises UserError for a seed of the
        evaluation: an attack never sees that noise.
        """
        return self._draw(prompts, seeds)

    def judge(self, images: list[np.ndarray | None]) -> Verdict:
        """Return what the task's judge says of images."""
        return self._judge(images)

    def keep(self, step: int) -> None:
        """Keep the pipeline's weights as they are after a step: a point of the attack's curve.

        Steps rise, from 1 on, and stay below the budget, whose own point is the attack's end.
        """
        self._keep(step)

    def draw_seeds(self, count: int) -> list[int]:
        """Return seeds of noise from the attack's generator."""
        return [int(n) for n in torch.randint(SEEDS, (count,), generator=self.generator)]

    def _once(self, name: str, make: Callable[[], Any]) -> Any:
        if name not in self._made:
            self._made[name] = make()
        return self._made[name]


@dataclass(frozen=True)
class Inputs:
    """What an attack gives back; nothing of it is the same as no attack.

    texts: prompt id -> what is asked in its place. seeds: prompt id -> seeds of further noise, beside the
    evaluation's own. latents: prompt id -> (samples, c, h, w) float32, the initial noise in place of the
    evaluation's, of unit variance where it is noise. Changed weights are read from `victim.pipeline`. log:
    columns of numbers, one entry a step. readings: numbers that the attack read.
    """

    texts: Mapping[str, str] = field(default_factory=dict)
    seeds: Mapping[str, Sequence[int]] = field(default_factory=dict)
    latents: Mapping[str, np.ndarray] = field(default_factory=dict)
    log: Mapping[str, Sequence[float]] = field(default_factory=dict)
    readings: Mapping[str, float] = field(default_factory=dict)


def check_register(entry: Entry) -> None:
    """Raise UserError where a REGISTER moves or is given what no attack does, or trains without weights."""
    where = f"attack {entry.name}: REGISTER"
    for name, known in (("moves", tuple(MOVES)), ("access", ACCESS)):
        if getattr(entry, name) not in known:
            raise UserError(f"{where}: {name}: {getattr(entry, name)!r}: choose one of {', '.join(known)}")
    if bool(entry.trains) != (entry.moves in ("embedding", "weights")):
        raise UserError(f"{where}: trains: needed where an attack moves embedding or weights, and only there")
    if entry.trains and entry.access != "white-box":
        raise UserError(f"{where}: access: an attack that trains is white-box")


def check_inputs(inputs: Any, moves: str, prompts: Mapping[str, str], name: str) -> Inputs:
    """Return what an attack gave; raises UserError where it moves what its REGISTER does not name.

    An attack that moves embedding or weights may also give texts: those that hold its new token.
    """
    if not isinstance(inputs, Inputs):
        raise UserError(f"attack {name}: gave {type(inputs).__name__}; needed: Inputs")
    for part in ("texts", "seeds", "latents"):
        given: Mapping[str, Any] = getattr(inputs, part)
        if given and part not in MOVES[moves]:
            raise UserError(f"attack {name}: gave {part}, but its REGISTER says that it moves: {moves}")
        if unknown := sorted(given.keys() - prompts.keys()):
            raise UserError(f"attack {name}: {part}: {unknown[0]!r} is no prompt of the task")
    if not all(isinstance(text, str) and text.strip() for text in inputs.texts.values()):
        raise UserError(f"attack {name}: texts: a prompt is empty, or no text")
    if inputs.latents and inputs.latents.keys() != prompts.keys():
        raise UserError(f"attack {name}: latents: needed for every prompt, or for none")
    for prompt, latents in inputs.latents.items():
        if latents.ndim != 4 or latents.dtype != np.float32 or not np.isfinite(latents).all():
            raise UserError(f"attack {name}: latents: {prompt}: not (samples, c, h, w) of finite float32")
    return inputs


@contextmanager
def counted(module: nn.Module, cost: Cost) -> Iterator[None]:
    """Count what goes through a denoiser inside: its first argument has a row an image."""

    def count(called: nn.Module, arguments: tuple[Any, ...], named: dict[str, Any]) -> None:
        first = arguments[0] if arguments else named.get("sample", named.get("hidden_states"))
        cost.passes += len(first)  # type: ignore[arg-type]

    handle = module.register_forward_pre_hook(count, with_kwargs=True)
    try:
        yield
    finally:
        handle.remove()


def without(text: str, targets: Sequence[str], instead: str = "") -> str:
    """Return a text with `instead` in the place of every target's name; single spaces."""
    for name in sorted(targets, key=len, reverse=True):
        text = text.replace(name, instead)
    return " ".join(text.split())
