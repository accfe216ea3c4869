"""SalUn: the concept is steered to the anchor by training only the weights that matter most for the concept.

Loss ‖e(x_t, c) - sg e(x_t, a)‖² + α L(retain). Its gradient is multiplied by a mask: the share of weights
with the largest gradient of the forget set's denoising loss at the base (arXiv 2310.12508, eqs. 4 and 6).
x_t: noised images of the concept; both predictions are by the current model.

Where this differs from the released code: the mask's gradient is that of the plain denoising loss; the
released code first guides the prediction with a scale of 7.5. The share is exact over all trained tensors.
"""

from typing import Any, Literal

import torch
from pydantic import Field, field_validator
from torch import Tensor
from torch.optim import Optimizer

from ..bench.training.config import ForgetConfig
from ..bench.training.gradients import Gradients
from ..bench.training.objectives import denoising
from ..bench.training.trainer import Training, fork
from ..bench.types import Problem, SavePoint
from .training.combine import combine_sum
from .training.masks import sum_gradients, top_share
from .training.steering import steer

REGISTER = {
    "summary": "SalUn: steering to the anchor plus retain descent, on the most salient half of the weights",
    "paper": "https://arxiv.org/abs/2310.12508",
    "version": 1,
    "function": "unlearn",
    "config": "Config",
    "direction": "",
    "needs": ["forget_set", "retain_set", "anchor"],
}
PRESETS = {
    # OPTML-Group/Unlearn-Saliency@a6e89fd, SD/train-scripts/nsfw_removal.py: one epoch of 800 images
    "paper": {"steps": 100, "rate": 1e-5, "batch": 8, "optimiser": "adam", "lam": 0.1, "share": 0.5,
              "clip_norm": None, "caption_drop": 0.0},
    # the same, SD/README.md: five epochs of a class of Imagenette (about 900 images)
    "paper-class": {"steps": 560, "rate": 1e-5, "batch": 8, "optimiser": "adam", "lam": 0.5, "share": 0.5,
                    "clip_norm": None, "caption_drop": 0.0},
}  # fmt: skip


class Config(ForgetConfig):
    """share: of the trained weights that change. mask_batches: number of batches whose gradients are summed
    for the mask. lam: α, the weight of the retain loss."""

    part: Literal["full", "xattn", "noxattn"] = "full"
    rate: float = Field(default=3e-4, gt=0, allow_inf_nan=False)
    steps: int = Field(default=40, ge=1)
    batch: int = Field(default=8, ge=1)
    share: float = Field(default=0.5, gt=0, le=1)
    mask_batches: int = Field(default=16, ge=1)

    @field_validator("weight_decay")
    @classmethod
    def _check_decay(cls, value: float) -> float:
        if value:
            raise ValueError("must be 0: a decay moves the weights that the mask holds")
        return value


def find_mask(training: Training, problem: Problem, config: Config, stream: torch.Generator) -> list[Tensor]:
    """Return the masks of the trained parameters: the largest gradients of the forget set's loss."""
    denoiser, objective = training.denoiser, denoising(training.denoiser)
    encoded = denoiser.encode(problem.forget_set)

    def draw() -> Gradients:
        batch = denoiser.draw(encoded, config.batch, 0.0, stream)
        return training.differentiate(objective, batch)[1]

    total = sum_gradients(draw, config.mask_batches, absolute=False)
    return top_share([g.abs() for g in total], config.share)


def unlearn(pipeline: Any, problem: Problem, config: Config, save: SavePoint) -> None:
    """Steer the concept to its anchor and keep the retain loss low, on the salient weights, in place."""
    masks: list[Tensor] = []

    def combine(g_f: Gradients, g_r: Gradients, optimiser: Optimizer) -> Gradients:
        return [g.mul_(mask) for g, mask in zip(combine_sum(g_f, g_r, config.lam), masks, strict=True)]

    [stream] = fork(problem.generator, 1)
    training = Training(pipeline, problem, config, forget=steer, combine=combine)
    masks += find_mask(training, problem, config, stream)
    training.run(save)
