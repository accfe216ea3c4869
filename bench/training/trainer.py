"""Training of an unlearning method: trained part, order of the data, optimiser, checkpoints, diagnostics."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Generator, Tensor, nn
from torch.optim import SGD, Adam, AdamW, Optimizer

from ..errors import UserError
from ..models.adapters import add_lora, merge_lora
from ..types import Problem, SavePoint, TrainingSet
from .config import Part, TrainingConfig
from .gradients import Gradients, compute_cosine, differentiate, dot
from .objectives import Batch, Denoiser, Encoded, Objective, denoising

CROSS_ATTENTION = ("attn2", ".add_q_proj", ".add_k_proj", ".add_v_proj", ".to_add_out")
"""In diffusers' names: a UNet's cross-attention; the projections of the text in joint attention."""
Combination = Callable[[Gradients, Gradients, Optimizer], Gradients]
"""combine(g_f, g_r, optimiser): the direction whose negative is the step; may overwrite both gradients."""


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
