"""Restricted gradient: forget and retain gradients, each without the component that would undo the other.

The guarantee that neither loss goes up holds to first order for plain gradient steps (`optimiser = "sgd"`).
Adam's momentum and scaling void it: `inner_product = "adam"` projects in the inner product in which Adam's
step is the gradient, and the log's `update_dot_forget` and `update_dot_retain` show what each step did.
"""

from typing import Any

from ..bench.training.config import AscentConfig
from ..bench.training.objectives import ascent
from ..bench.training.trainer import Training
from ..bench.types import Problem, SavePoint
from .training.combine import InnerProductChoice, combine_balanced, inner_product

REGISTER = {
    "summary": "Truncated ascent and retain descent without their conflict (restricted gradient)",
    "paper": "https://arxiv.org/abs/2412.07808",
    "version": 1,
    "function": "unlearn",
    "config": "Config",
    "direction": "",
    "needs": ["forget_set", "retain_set"],
}
PRESETS = {
    # "RGD", whose retain gradient is that of the whole retain set; 50,000 images in batches of 64:
    # reds-lab/Restricted_gradient_diversity_unlearning@0075ecb, CIFAR/scripts/run_surgery.sh, CIFAR/training.
    # Its bound of .1 is of pixels from -1 to 1, whose variance its loss takes to be .25.
    "paper-cifar": {
        "optimiser": "adam", "rate": 1e-5, "batch": 64, "steps": 782, "lam": 5.0, "retain_batch": "all",
        "truncation": 0.1, "truncation_mode": "element-x0", "clip_norm": None, "caption_drop": 0.0,
    },
    # The same commit, SD/run-surgery.sh, train-scripts/nsfw_RGD.py: 800 pairs in batches of 8, once
    "paper-sd": {
        "optimiser": "adam", "rate": 1e-5, "batch": 8, "steps": 100, "lam": 1.6,
        "truncation": 1.1, "truncation_mode": "batch", "clip_norm": None, "caption_drop": 0.0,
    },
}  # fmt: skip


class Config(AscentConfig):
    """`AscentConfig` and the inner product of the projection: `euclidean` (the paper's) or `adam`."""

    inner_product: InnerProductChoice = "euclidean"


def make_training(pipeline: Any, problem: Problem, config: Config) -> Training:
    """Return the training whose steps go along the restricted gradient d_f + λ d_r."""
    return Training(
        pipeline,
        problem,
        config,
        forget=lambda denoiser: ascent(denoiser, config.truncation, config.truncation_mode),
        combine=lambda g_f, g_r, optimiser: combine_balanced(
            g_f, g_r, config.lam, inner_product(config.inner_product, optimiser)
        ),
    )


def unlearn(pipeline: Any, problem: Problem, config: Config, save: SavePoint) -> None:
    """Raise the forget loss up to its bound and lower the retain loss, without their conflict, in place."""
    make_training(pipeline, problem, config).run(save)
