"""The squared distance to the frozen base's prediction for an anchor, summed with the retain loss.

This is not concept ablation (Kumari et al. 2023, `concept_ablation`): the forget set's own images are noised,
a frozen base predicts the anchor, the whole denoiser is trained, and a retain loss is added.
"""

from typing import Any

from ..bench.training.config import ForgetConfig
from ..bench.training.objectives import anchor
from ..bench.training.trainer import Training
from ..bench.types import Problem, SavePoint
from .training.combine import combine_sum

REGISTER = {
    "summary": "Steering to the base's prediction for an anchor concept plus λ times retain descent",
    "paper": "https://arxiv.org/abs/2303.13516",
    "version": 1,
    "function": "unlearn",
    "config": "Config",
    "direction": "",
    "needs": ["forget_set", "retain_set", "anchor"],
}


class Config(ForgetConfig):
    """The settings of `bench.training.ForgetConfig`; the objective is bounded below, so nothing is cut."""


def unlearn(pipeline: Any, problem: Problem, config: Config, save: SavePoint) -> None:
    """Lower the distance to the anchor's prediction and the retain loss, by their weighted sum, in place."""
    training = Training(
        pipeline,
        problem,
        config,
        forget=anchor,
        combine=lambda g_f, g_r, _: combine_sum(g_f, g_r, config.lam),
    )
    training.run(save)
