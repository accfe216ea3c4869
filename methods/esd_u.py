"""Erased Stable Diffusion, unconditional layers (ESD-u): ESD-x on all layers except cross-attention.

The time embedding and the output layer are not trained either, as in the released code. The differences that
`esd_x` lists apply here, too.
"""

from typing import Any, Literal

from pydantic import Field
from torch import nn

from ..bench.training.objectives import Denoiser
from ..bench.training.trainer import CROSS_ATTENTION
from ..bench.types import Problem, SavePoint
from .training.esd import EsdConfig, EsdTrainer

REGISTER = {
    "summary": "Erased Stable Diffusion on all layers but cross-attention, for concepts that prompts imply",
    "paper": "https://arxiv.org/abs/2303.07345",
    "version": 1,
    "function": "unlearn",
    "config": "Config",
    "direction": "",
    "needs": ["targets"],
}
PRESETS = {
    # rohitgandikota/erasing@a2189e9, train-scripts/train-esd.py
    "paper": {
        "steps": 1000, "rate": 1e-5, "batch": 1, "optimiser": "adam", "prompts": "name",
        "start_guidance": 3.0, "negative_guidance": 1.0, "sampling_steps": 50,
    },
}  # fmt: skip
LEFT_OUT = ("time_embedding.", "time_text_embed.", "conv_norm_out.", "conv_out.", "norm_out.", "proj_out.")
"""Starts of the names of time embeddings and output layers: `time_embed` and `out` in the released code."""


class Config(EsdConfig):
    """The settings of `methods.training.esd.EsdConfig`."""

    part: Literal["noxattn"] = "noxattn"
    rate: float = Field(1e-4, gt=0, allow_inf_nan=False)
    steps: int = Field(30, ge=1)


def select_unconditional(module: nn.Module) -> list[nn.Parameter]:
    """Return the parameters of all layers except cross-attention, time embedding and output."""
    return [
        parameter
        for name, parameter in module.named_parameters()
        if not name.startswith(LEFT_OUT) and not any(mark in name for mark in CROSS_ATTENTION)
    ]


def unlearn(pipeline: Any, problem: Problem, config: Config, save: SavePoint) -> None:
    """Push the predictions for the concept away from it by training the unconditional layers, in place."""
    EsdTrainer(pipeline, problem, config, select_unconditional(Denoiser(pipeline).module)).run(save)
