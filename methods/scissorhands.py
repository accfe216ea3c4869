"""Scissorhands: the weights that matter most for the concept are reinitialised, then the model is repaired.

Saliency |w · Σ|g||, g: gradients of the forget set's denoising loss (SNIP). The weights with the largest
saliency are drawn again (Kaiming uniform; biases 0, norm weights 1). Then L(retain) + λ‖e(x_t, c) - sg e(x_t,
a)‖² is minimised (arXiv 2401.06187, eqs. 3 and 5).

Where this differs from the released code: of the salient weights it initialises only those in self-attention
of two blocks of the decoder; `where = "self_attention"` takes those of every block. Its optional projection
of the repair's gradient is not implemented.
"""

from typing import Any, Literal

import torch
from pydantic import Field
from torch import Generator, Tensor, nn

from ..bench.training.config import TrainingConfig
from ..bench.training.gradients import Gradients
from ..bench.training.objectives import denoising
from ..bench.training.trainer import CROSS_ATTENTION, Training, fork
from ..bench.types import Problem, SavePoint
from .training.masks import sum_gradients, top_share
from .training.steering import steer

REGISTER = {
    "summary": "Scissorhands: the most salient weights initialised again, then retain descent and steering",
    "paper": "https://arxiv.org/abs/2401.06187",
    "version": 1,
    "function": "unlearn",
    "config": "Config",
    "direction": "",
    "needs": ["forget_set", "retain_set", "anchor"],
}
PRESETS = {
    # JingWu321/Scissorhands@0668106, SD/train_shs.sh: sparsity .995 leaves .005; five epochs
    "paper": {"part": "full", "share": 0.005, "mask_batches": 10, "forget_weight": 0.1, "rate": 1e-5,
              "batch": 16, "steps": 250, "optimiser": "adam", "where": "self_attention", "clip_norm": None,
              "caption_drop": 0.0},
}  # fmt: skip


class Config(TrainingConfig):
    """share: of the weights that are reinitialised. mask_batches: number of batches whose gradients are
    summed. forget_weight: λ. where: `everywhere`, or only the salient weights in self-attention."""

    part: Literal["full", "xattn", "noxattn"] = "full"
    rate: float = Field(default=3e-4, gt=0, allow_inf_nan=False)
    steps: int = Field(default=40, ge=1)
    batch: int = Field(default=8, ge=1)
    share: float = Field(default=0.005, ge=0, le=1)
    mask_batches: int = Field(default=10, ge=1)
    forget_weight: float = Field(default=1.0, ge=0, allow_inf_nan=False)
    where: Literal["everywhere", "self_attention"] = "self_attention"


def find_saliency(training: Training, problem: Problem, config: Config, stream: Generator) -> list[Tensor]:
    """Return the mask of each trained parameter: its weights among the largest |w · Σ|g|| of all."""
    denoiser, objective = training.denoiser, denoising(training.denoiser)
    encoded = denoiser.encode(problem.forget_set)

    def draw() -> Gradients:
        return training.differentiate(objective, denoiser.draw(encoded, config.batch, 0.0, stream))[1]

    total = sum_gradients(draw, config.mask_batches, absolute=True)
    return top_share(
        [(p.detach() * g).abs() for p, g in zip(training.parameters, total, strict=True)], config.share
    )


def is_self_attention(name: str) -> bool:
    """Return whether a parameter belongs to self-attention; in joint attention, to the image's own part."""
    return "attn1." in name or (".attn." in name and not any(mark in name for mark in CROSS_ATTENTION))


@torch.no_grad()
def initialise(name: str, parameter: Tensor, mask: Tensor, generator: Generator) -> None:
    """Draw the masked weights of a parameter again, in place."""
    if parameter.dim() < 2:
        fresh = torch.full(parameter.shape, float(name.endswith("weight")))
    else:
        fresh = torch.empty(parameter.shape)
        nn.init.kaiming_uniform_(fresh, generator=generator)
    parameter[mask] = fresh.to(parameter)[mask]


def unlearn(pipeline: Any, problem: Problem, config: Config, save: SavePoint) -> None:
    """Reinitialise the concept's weights and repair the rest, in place."""

    def combine(g_f: Gradients, g_r: Gradients, optimiser: Any) -> Gradients:
        torch._foreach_add_(g_r, g_f, alpha=config.forget_weight)
        return g_r

    stream, fresh = fork(problem.generator, 2)
    training = Training(pipeline, problem, config, forget=steer, combine=combine)
    names = {id(p): name for name, p in training.denoiser.module.named_parameters()}
    masks = find_saliency(training, problem, config, stream)
    for parameter, mask in zip(training.parameters, masks, strict=True):
        name = names[id(parameter)]
        if config.where == "everywhere" or is_self_attention(name):
            initialise(name, parameter, mask, fresh)
    training.run(save)
