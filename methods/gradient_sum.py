"""GradDiff: one step along the sum of the forget and the retain gradient."""

from typing import Any

from ..bench.training.objectives import ascent
from ..bench.training.trainer import AscentConfig, Training
from ..bench.types import Problem, SavePoint
from .training.combine import combine_sum

REGISTER = {
    "summary": "Truncated ascent on the forget set plus λ times descent on the retain set (GradDiff)",
    "paper": "https://arxiv.org/abs/2203.12817",
    "version": 1,
    "function": "unlearn",
    "config": "Config",
    "direction": "",
    "needs": ["forget_set", "retain_set"],
}


class Config(AscentConfig):
    """The settings of `bench.training.AscentConfig`."""


def make_training(pipeline: Any, problem: Problem, config: Config) -> Training:
    """Return the training whose steps go along g_f + λ g_r."""
    return Training(
        pipeline,
        problem,
        config,
        forget=lambda denoiser: ascent(denoiser, config.truncation, config.truncation_mode),
        combine=lambda g_f, g_r, _: combine_sum(g_f, g_r, config.lam),
    )


def unlearn(pipeline: Any, problem: Problem, config: Config, save: SavePoint) -> None:
    """Raise the forget loss up to its bound and lower the retain loss, by their weighted sum, in place."""
    make_training(pipeline, problem, config).run(save)
