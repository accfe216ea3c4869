"""Training of an unlearning method: trained part, order of the data, optimiser, checkpoints, diagnostics."""

from collections.abc import Callable, Iterator, Mapping
from typing import Annotated, Any, Literal

import torch
from pydantic import AfterValidator, BaseModel, Field, ValidationInfo, field_validator
from torch import Generator, Tensor, nn
from torch.optim import SGD, Adam, AdamW, Optimizer

from ..config import STRICT
from ..errors import UserError
from ..models.adapters import add_lora, merge_lora
from ..types import Problem, SavePoint, TrainingSet
from .gradients import Gradients, compute_cosine, differentiate, dot
from .objectives import Batch, Denoiser, Encoded, Objective, TruncationMode, denoising

Part = Literal["full", "xattn", "noxattn", "lora"]
Combination = Callable[[Gradients, Gradients, Optimizer], Gradients]
"""combine(g_f, g_r, optimiser): the direction whose negative is the step; may overwrite both gradients."""


def _drop_infinity(value: float | None) -> float | None:
    return None if value == float("inf") else value


Bound = Annotated[float | None, Field(gt=0, allow_inf_nan=True), AfterValidator(_drop_infinity)]
"""A positive bound or none. TOML has no null: there `inf` stands for none; after validation None does."""


class PointsConfig(BaseModel):
    """Settings of every method: the trained part, and the steps at which the model is saved.

    part: `full`, `xattn` (cross-attention), `noxattn` (all but cross-attention; ESD, Gandikota et al. 2023,
    whose code also leaves out the time embedding and the output layer) or `lora` (adapters on every
    attention, merged into the weights of a saved point). checkpoints: rising steps, the last one equal to
    `steps`; default: only `steps`.
    """

    model_config = STRICT
    part: Part = "full"
    steps: int = Field(default=60, ge=1)
    checkpoints: tuple[int, ...] = Field(default_factory=lambda given: (given["steps"],))

    @field_validator("checkpoints")
    @classmethod
    def _check_checkpoints(cls, value: tuple[int, ...], info: ValidationInfo) -> tuple[int, ...]:
        steps = info.data.get("steps", value[-1] if value else 0)
        if not value or sorted(set(value)) != list(value) or value[0] < 1 or value[-1] != steps:
            raise ValueError(f"must be positive, rising and end at steps = {steps}")
        return value


class TrainingConfig(PointsConfig):
    """Settings of a method that trains by gradients.

    rate: constant learning rate. batch: images of each set in a step. caption_drop: share of captions
    dropped, as in the base model's training. clip_norm: bound of the update direction's L2 norm (`inf` =
    none). weight_decay: decoupled only for `adamw`. diagnostics: log more than the step's number. rank: of
    the adapters of part `lora`. micro_batch: images that go through the denoiser at once (default: the whole
    batch); it is halved automatically where the device's memory is too small. gradient_checkpointing: less
    memory for more time.
    """

    rank: int = Field(default=8, ge=1)
    micro_batch: int | None = Field(default=None, ge=1)
    gradient_checkpointing: bool = False
    optimiser: Literal["adamw", "adam", "sgd"] = "adamw"
    rate: float = Field(default=1e-4, gt=0, allow_inf_nan=False)
    weight_decay: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    batch: int = Field(default=32, ge=1)
    caption_drop: float = Field(default=0.1, ge=0, le=1)
    clip_norm: Bound = 1.0
    diagnostics: bool = True

    def retain_draws(self) -> tuple[int | None, float]:
        """Return the retain set's batch (None = every image once) and the share of its captions dropped."""
        return self.batch, self.caption_drop


class ForgetConfig(TrainingConfig):
    """Settings of a method with a forget and a retain gradient.

    lam: λ, the weight of the retain gradient. retain_batch: images of the retain set in a step (default:
    `batch`; "all": each of them once). retain_caption_drop: share of the retain set's captions dropped
    (default: `caption_drop`, which else holds only for the forget set).
    """

    lam: float = Field(default=1.0, ge=0, allow_inf_nan=False)
    retain_batch: int | Literal["all"] | None = None
    retain_caption_drop: float | None = Field(default=None, ge=0, le=1)

    @field_validator("retain_batch", mode="before")
    @classmethod
    def _check_retain_batch(cls, value: Any) -> Any:
        if value not in (None, "all") and (type(value) is not int or value < 1):
            raise ValueError('must be a number of images, or "all"')
        return value

    def retain_draws(self) -> tuple[int | None, float]:
        size = None if self.retain_batch == "all" else self.retain_batch or self.batch
        drop = self.retain_caption_drop
        return size, self.caption_drop if drop is None else drop


class AscentConfig(ForgetConfig):
    """Settings of a method whose forget objective is truncated gradient ascent.

    truncation: bound of the forget loss in units of that loss (`inf` = none; a v- or epsilon-loss of 1 means
    that zero is predicted), or of the squared error of x0. truncation_mode: the quantity that it bounds
    (`objectives.truncated_ascent`; `element-x0`: `objectives.ascent`).
    """

    truncation: Bound = 1.0
    truncation_mode: TruncationMode = "sample"


CROSS_ATTENTION = ("attn2", ".add_q_proj", ".add_k_proj", ".add_v_proj", ".to_add_out")
"""In diffusers' names: a UNet's cross-attention; the projections of the text in joint attention."""


def select_part(module: nn.Module, part: Part) -> list[nn.Parameter]:
    """Return the parameters of a part that exists already; UserError for `lora`, which does not."""
    if part == "lora":
        raise UserError("part: 'lora' is for methods that train by gradients")

    def is_cross(name: str) -> bool:
        return any(mark in name for mark in CROSS_ATTENTION)

    chosen = [
        p for name, p in module.named_parameters() if part == "full" or is_cross(name) == (part == "xattn")
    ]
    if not chosen:
        raise UserError(f"part: this pipeline's denoiser has no parameters in {part!r}")
    return chosen


def freeze(pipeline: Any) -> None:
    """Switch off gradients and dropout in all of a pipeline's modules."""
    for component in pipeline.components.values():
        if isinstance(component, nn.Module):
            component.requires_grad_(False).eval()


def fork(generator: Generator, count: int) -> list[Generator]:
    """Return independent CPU generators seeded from one, so that each stream is the same for every method."""
    seeds = torch.randint(2**63 - 1, (count,), generator=generator).tolist()
    return [Generator().manual_seed(seed) for seed in seeds]


def build_optimiser(config: TrainingConfig, parameters: list[nn.Parameter]) -> Optimizer:
    """Return the optimiser of a config, with torch's default betas and no momentum for `sgd`."""
    kinds: dict[str, type[Optimizer]] = {"adamw": AdamW, "adam": Adam, "sgd": SGD}
    settings: Any = {"lr": config.rate, "weight_decay": config.weight_decay}
    return kinds[config.optimiser](parameters, **settings)


class Trainer:
    """Optimiser steps on a pipeline's denoiser, with a log, checkpoints and a divergence check.

    A subclass defines `take_step`, which calls `differentiate` and `descend`. Parameters change in place.
    config: a `TrainingConfig`, or a config with its fields for optimiser, batch and steps. log: equally long
    columns, one entry for each step.
    """

    def __init__(self, pipeline: Any, config: Any) -> None:
        freeze(pipeline)
        self.config = config
        self.denoiser = Denoiser(pipeline)
        self.micro = config.micro_batch or config.batch
        self.log: dict[str, list[float]] = {}

    def open(self, parameters: list[nn.Parameter]) -> None:
        """Set the trained parameters. Make frozen copies of the denoiser before this call."""
        self.parameters = parameters
        for parameter in parameters:
            parameter.requires_grad_(True)
        self.optimiser = build_optimiser(self.config, parameters)
        if self.config.gradient_checkpointing:
            self._module.enable_gradient_checkpointing()

    @property
    def _module(self) -> Any:
        return self.denoiser.module

    def take_step(self) -> dict[str, float]:
        """Take one step; return its row of the log."""
        raise NotImplementedError

    def step(self) -> None:
        """Take one step and log it."""
        row = {"step": len(self.log.get("step", [])) + 1} | self.take_step()
        for name, entry in row.items():
            self.log.setdefault(name, []).append(entry)

    def differentiate(self, objective: Objective, batch: Batch) -> tuple[Tensor, Gradients]:
        """Return loss and gradient of a batch, in parts that fit into the device's memory."""
        while True:
            try:
                return differentiate(objective, batch, self.micro, self.parameters)
            except torch.OutOfMemoryError:
                if self.micro == 1:
                    raise
                self.micro = (self.micro + 1) // 2
                for parameter in self.parameters:
                    parameter.grad = None
                torch.cuda.empty_cache()

    @torch.no_grad()
    def descend(self, direction: Gradients) -> Tensor:
        """Step against a direction, clipped to the config's norm; return its norm before clipping."""
        for parameter, value in zip(self.parameters, direction, strict=True):
            parameter.grad = value
        bound = float("inf") if self.config.clip_norm is None else self.config.clip_norm
        norm = nn.utils.clip_grad_norm_(self.parameters, bound)
        self.optimiser.step()
        self.optimiser.zero_grad(set_to_none=True)
        return norm

    def check(self) -> None:
        """Raise FloatingPointError where a trained parameter is no longer finite."""
        if not all(torch.isfinite(p).all() for p in self.parameters):
            raise FloatingPointError(f"training diverged: not finite after step {len(self.log['step'])}")

    def run(self, save: SavePoint) -> None:
        """Take all steps and save at the checkpoints; afterwards the denoiser is frozen again."""
        try:
            for number in range(1, self.config.steps + 1):
                self.step()
                if number in self.config.checkpoints:
                    self.check()
                    save(number, copy_log(self.log))
        finally:
            merge_lora(self._module)
            self._module.requires_grad_(False)
            if self.config.gradient_checkpointing:
                self._module.disable_gradient_checkpointing()


class Training(Trainer):
    """A method's training on a forget and a retain set, one step at a time.

    forget: makes the forget objective of the denoiser; None = only the retain loss. combine: from both
    gradients to the direction of descent. Training streams are forked from `problem.generator`, so methods
    with the same seed see the same batches.
    """

    def __init__(
        self,
        pipeline: Any,
        problem: Problem,
        config: TrainingConfig,
        forget: Callable[[Denoiser], Objective] | None = None,
        combine: Combination | None = None,
    ) -> None:
        super().__init__(pipeline, config)
        self.combine = combine
        forget_stream, retain_stream = fork(problem.generator, 2)
        self.objectives: dict[str, Objective] = {}
        self.batches: dict[str, Iterator[Batch]] = {}
        if forget is not None:
            self.objectives["forget"] = forget(self.denoiser)
            self.batches["forget"] = self._draw_batches(
                problem.forget_set, forget_stream, config.batch, config.caption_drop
            )
        self.objectives["retain"] = denoising(self.denoiser)
        retain = self._draw_batches(problem.retain_set, retain_stream, *config.retain_draws())
        self.batches["retain"] = retain
        self.open(self._trained(problem))

    def _trained(self, problem: Problem) -> list[nn.Parameter]:
        if self.config.part != "lora":
            return select_part(self._module, self.config.part)
        with torch.random.fork_rng(devices=[]):  # peft draws from torch's own generator
            torch.manual_seed(problem.seed)
            return add_lora(self._module, self.config.rank)

    def _draw_batches(
        self, images: TrainingSet, stream: Generator, size: int | None, caption_drop: float
    ) -> Iterator[Batch]:
        encoded: Encoded = self.denoiser.encode(images)

        def draws() -> Iterator[Batch]:
            while True:
                yield self.denoiser.draw(encoded, size, caption_drop, stream)

        return draws()

    def take_step(self) -> dict[str, float]:
        """Take one step: a backward pass for each set, their combination, clipping, the optimiser."""
        gradients: dict[str, Gradients] = {}
        losses: dict[str, Tensor] = {}
        for name, objective in self.objectives.items():
            losses[name], gradients[name] = self.differentiate(objective, next(self.batches[name]))
        if self.config.diagnostics:
            return self._observed_update(gradients, losses)
        self._update(gradients)
        return {}

    @torch.no_grad()
    def _update(self, gradients: dict[str, Gradients]) -> Tensor:
        """Apply the combined gradients (which may be overwritten); return their norm before clipping."""
        direction = gradients["retain"]
        if self.combine is not None:
            direction = self.combine(gradients["forget"], gradients["retain"], self.optimiser)
        gradients.clear()
        return self.descend(direction)

    @torch.no_grad()
    def _observed_update(
        self, gradients: dict[str, Gradients], losses: dict[str, Tensor]
    ) -> dict[str, float]:
        """Update; return losses, angle, norm and the realised Δθ·g of each objective that is minimised."""
        kept = {name: [g.clone() for g in values] for name, values in gradients.items()}
        before = [p.detach().clone() for p in self.parameters]
        norm = self._update(gradients)
        change = torch._foreach_sub([p.detach() for p in self.parameters], before)
        row = {f"{name}_loss": loss.item() for name, loss in losses.items()}
        if "forget" in kept:
            row["cos"] = compute_cosine(kept["forget"], kept["retain"])
            row["conflict"] = int(row["cos"] < 0)
        row["norm_before_clipping"] = norm.item()
        return row | {f"update_dot_{name}": dot(list(change), values).item() for name, values in kept.items()}


def copy_log(log: Mapping[str, list[float]]) -> dict[str, list[float]]:
    """Return a copy that later steps do not change."""
    return {name: list(column) for name, column in log.items()}
