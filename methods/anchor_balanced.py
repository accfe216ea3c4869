"""`anchor_sum`'s objective and the retain loss, by the restricted gradient; this is not concept ablation.

The note of `balanced` on Adam applies here, too.
"""

from typing import Any

from ..bench.training.config import ForgetConfig
from ..bench.training.objectives import anchor
from ..bench.training.trainer import Training
from ..bench.types import Problem, SavePoint
from .training.combine import InnerProductChoice, combine_balanced, inner_product

REGISTER = {
    "summary": "Steering to an anchor concept and retain descent without their conflict",
    "paper": "https://arxiv.org/abs/2412.07808",
    "version": 1,
    "function": "unlearn",
    "config": "Config",
    "direction": "",
    "needs": ["forget_set", "retain_set", "anchor"],
}


class Config(ForgetConfig):
    """`ForgetConfig` and the inner product of the projection: `euclidean` (the paper's) or `adam`."""

    inner_product: InnerProductChoice = "euclidean"


def unlearn(pipeline: Any, problem: Problem, config: Config, save: SavePoint) -> None:
    """Lower the distance to the anchor's prediction and the retain loss, without their conflict, in place."""
    training = Training(
        pipeline,
        problem,
        config,
        forget=anchor,
        combine=lambda g_f, g_r, optimiser: combine_balanced(
            g_f, g_r, config.lam, inner_product(config.inner_product, optimiser)
        ),
    )
    training.run(save)
