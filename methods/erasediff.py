"""EraseDiff: retain descent, constrained to forget the concept as well as some inner steps on it would.

min L(retain) subject to f(θ) - f(θ_K) ≤ 0, f = ‖e(x_t, c) - sg e(x_t, a)‖² and θ_K the weights after K steps
on f (arXiv 2401.05779, eqs. 5 and 9, by BOME). θ_K is treated as a constant, so the gradient is ∇L + λ∇f, and
the inner steps only give the gap that is logged. penalty `fixed`: λ is a setting, as in the released code;
`dynamic`: λ = max(0, η - ∇L·∇f/‖∇f‖²), as in the paper.

Where this differs from the released code: an inner step is one gradient step, in the released code a pass
over the whole forget set; inner steps are undone completely, while the released code's Adam keeps their
moments; its pseudo prompt is always "a photo of a pokemon", here it is the anchor's.
"""

from typing import Any, Literal

import torch
from pydantic import Field

from ..bench.training.config import TrainingConfig
from ..bench.training.gradients import Gradients, dot
from ..bench.training.trainer import Training
from ..bench.types import Problem, SavePoint
from .training.steering import steer

REGISTER = {
    "summary": "EraseDiff: retain descent with a penalty on forgetting worse than inner steps would",
    "paper": "https://arxiv.org/abs/2401.05779",
    "version": 1,
    "function": "unlearn",
    "config": "Config",
    "direction": "",
    "needs": ["forget_set", "retain_set", "anchor"],
}
PRESETS = {
    # JingWu321/EraseDiff@14f4e98, sd/README.md: step 160 is the one that is kept
    "paper": {"part": "noxattn", "steps": 160, "rate": 1e-5, "batch": 16, "optimiser": "adam",
              "inner_steps": 2, "penalty": "fixed", "forget_weight": 0.1, "clip_norm": None,
              "caption_drop": 0.0},
}  # fmt: skip


class Config(TrainingConfig):
    """inner_steps: K. forget_weight: λ where the penalty is `fixed`, η where it is `dynamic`."""

    part: Literal["full", "xattn", "noxattn"] = "full"
    rate: float = Field(default=3e-4, gt=0, allow_inf_nan=False)
    steps: int = Field(default=40, ge=1)
    batch: int = Field(default=8, ge=1)
    inner_steps: int = Field(default=1, ge=0)
    penalty: Literal["fixed", "dynamic"] = "fixed"
    forget_weight: float = Field(default=1.0, ge=0, allow_inf_nan=False)


def combine_penalty(g_f: Gradients, g_r: Gradients, weight: float, penalty: str) -> Gradients:
    """Return g_r + λ g_f, in g_r's memory."""
    if penalty == "dynamic":
        square = dot(g_f, g_f).item()
        weight = max(0.0, weight - dot(g_f, g_r).item() / square) if square > 0 else 0.0
    torch._foreach_add_(g_r, g_f, alpha=weight)
    return g_r


class BilevelTraining(Training):
    """Takes the inner steps before each step, and restores the weights."""

    def take_step(self) -> dict[str, float]:
        inner = self.look_ahead()
        return super().take_step() | {"inner_loss": inner}

    def look_ahead(self) -> float:
        """Return the forget loss after the inner steps, which are undone."""
        start = [p.detach().clone() for p in self.parameters]
        objective, batches = self.objectives["forget"], self.batches["forget"]
        for _ in range(self.config.inner_steps):
            _, gradient = self.differentiate(objective, next(batches))
            with torch.no_grad():
                torch._foreach_add_(list(self.parameters), gradient, alpha=-self.config.rate)
        with torch.no_grad():
            loss = torch.stack([objective(part)[1] for part in next(batches).split(self.micro)]).mean().item()
            torch._foreach_copy_(list(self.parameters), start)
        return loss


def unlearn(pipeline: Any, problem: Problem, config: Config, save: SavePoint) -> None:
    """Lower the retain loss while the concept is steered to its anchor, in place."""
    training = BilevelTraining(
        pipeline,
        problem,
        config,
        forget=steer,
        combine=lambda g_f, g_r, _: combine_penalty(g_f, g_r, config.forget_weight, config.penalty),
    )
    training.run(save)
