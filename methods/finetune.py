"""Naive fine-tuning: training continues on only the retain set, in the hope that the concept fades."""

from typing import Any

from ..bench.training.config import TrainingConfig
from ..bench.training.trainer import Training
from ..bench.types import Problem, SavePoint

REGISTER = {
    "summary": "Continue training on the retain set only (naive fine-tuning)",
    "paper": "https://arxiv.org/abs/2412.07808",
    "version": 1,
    "function": "unlearn",
    "config": "Config",
    "direction": "",
    "needs": ["retain_set"],
}


class Config(TrainingConfig):
    """The settings of `bench.training.TrainingConfig`."""


def unlearn(pipeline: Any, problem: Problem, config: Config, save: SavePoint) -> None:
    """Minimise the denoising loss of the retain set, in place; the forget set is not used."""
    Training(pipeline, problem, config).run(save)
