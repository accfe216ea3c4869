"""MUNBa: forget and retain gradients bargain like two players; the direction is the Nash bargaining solution.

d = α_r g_r + α_f g_f with GᵀG α = 1/α (arXiv 2411.15537, eq. 6): each player's gain, ⟨g_i, d⟩, is 1/α_i. For
two players α_i = 1 / (‖g_i‖ √(1 + cos φ)), so that d does not depend on the gradients' scale, and ‖d‖ = √2.

Where this differs from the released code: its Gram matrix covers only the first parameter, this one all; its
β = 100 on the forget loss is left out, because the solution does not depend on scale. For exactly opposite
gradients no direction helps both, and no step is taken; the released code adds noise to one of them, or takes
a fixed sum.
"""

from typing import Any

import torch
from pydantic import Field

from ..bench.training.config import TrainingConfig
from ..bench.training.gradients import Gradients, dot
from ..bench.training.trainer import Training
from ..bench.types import Problem, SavePoint
from .training.combine import OPPOSITE
from .training.steering import steer

REGISTER = {
    "summary": "MUNBa: steering and retain gradients combined by the Nash bargaining solution",
    "paper": "https://arxiv.org/abs/2411.15537",
    "version": 1,
    "function": "unlearn",
    "config": "Config",
    "direction": "",
    "needs": ["forget_set", "retain_set", "anchor"],
}
PRESETS = {
    # JingWu321/MUNBa@7038772, SD/MUNBa_nsfw.py: five epochs of 800 images
    "paper": {"steps": 500, "rate": 1e-5, "batch": 8, "optimiser": "adam", "clip_norm": 1.0,
              "caption_drop": 0.0},
}  # fmt: skip


class Config(TrainingConfig):
    """The settings of `bench.training.TrainingConfig`."""

    rate: float = Field(default=3e-4, gt=0, allow_inf_nan=False)
    steps: int = Field(default=40, ge=1)
    batch: int = Field(default=8, ge=1)


def nash_coefficients(ff: float, rr: float, fr: float) -> tuple[float, float]:
    """Return (α_f, α_r) from ‖g_f‖², ‖g_r‖² and g_f·g_r; zeros for opposite gradients.

    Where one gradient is zero it has nothing to gain: the direction is the other one, at the usual length √2.
    """
    if ff <= 0 or rr <= 0:
        return tuple((2 / square) ** 0.5 if square > 0 else 0.0 for square in (ff, rr))  # type: ignore[return-value]
    cosine = fr / (ff * rr) ** 0.5
    if 1 + cosine <= OPPOSITE:
        return 0.0, 0.0
    gain = (1 + cosine) ** -0.5
    return gain / ff**0.5, gain / rr**0.5


def combine_nash(g_f: Gradients, g_r: Gradients) -> Gradients:
    """Return α_f g_f + α_r g_r, in g_f's memory."""
    a_f, a_r = nash_coefficients(*torch.stack([dot(g_f, g_f), dot(g_r, g_r), dot(g_f, g_r)]).tolist())
    torch._foreach_mul_(g_f, a_f)
    torch._foreach_add_(g_f, g_r, alpha=a_r)
    return g_f


def unlearn(pipeline: Any, problem: Problem, config: Config, save: SavePoint) -> None:
    """Steer the concept to its anchor and lower the retain loss along the bargaining solution, in place."""
    training = Training(
        pipeline, problem, config, forget=steer, combine=lambda g_f, g_r, _: combine_nash(g_f, g_r)
    )
    training.run(save)
