"""GradDiff: one step along the sum of the forget and the retain gradient."""

from typing import Any

from ..bench.training.config import AscentConfig
from ..bench.training.objectives import ascent
from ..bench.training.trainer import Training
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
PRESETS = {
    # "GradDiff" in the code of Ko et al. 2024, with their own method's settings and a retain batch of 64:
    # reds-lab/Restricted_gradient_diversity_unlearning@0075ecb, CIFAR/scripts/run_surgery.sh, CIFAR/training/
    "paper-cifar": {
        "optimiser": "adam", "rate": 1e-5, "batch": 64, "steps": 782, "lam": 5.0,
        "truncation": 0.1, "truncation_mode": "element-x0", "clip_norm": None, "caption_drop": 0.0,
    },
    # The same commit, SD/run-surgery.sh, train-scripts/nsfw_RGD.py without `--surgery`
    "paper-sd": {
        "optimiser": "adam", "rate": 1e-5, "batch": 8, "steps": 100, "lam": 1.6,
        "truncation": 1.1, "truncation_mode": "batch", "clip_norm": None, "caption_drop": 0.0,
    },
}  # fmt: skip


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
