"""Erased Stable Diffusion, cross-attention (ESD-x): predictions for the concept are pushed away from it.

Loss ‖e(x_t, c) - [e*(x_t, ∅) - η (e*(x_t, c) - e*(x_t, ∅))]‖², e* the frozen base, x_t drawn by the current
model with guidance up to a random step (arXiv 2303.07345, eq. 7). No image is used.

Where this differs from the released code: the predictions are made at the time of the sampler's step at which
x_t was left; the released code draws a random time within that step's part of the schedule. The default
prompts are the forget set's own; the released code uses the bare name (`prompts = "name"`). On Flux x_t is
drawn without classifier-free guidance, as Flux draws.
"""

from typing import Any, Literal

from ..bench.training.objectives import Denoiser
from ..bench.training.trainer import select_part
from ..bench.types import Problem, SavePoint
from .training.esd import EsdConfig, EsdTrainer

REGISTER = {
    "summary": "Erased Stable Diffusion on cross-attention: predictions pushed away from the concept's",
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
    # rohitgandikota/erasing@25613d2, esd_sd.py; its η of 2 counts from the concept's prediction: 1 here
    "code-2025": {
        "steps": 200, "rate": 5e-5, "batch": 1, "optimiser": "adam", "prompts": "name",
        "start_guidance": 3.0, "negative_guidance": 1.0, "sampling_steps": 50, "drawn_by": "base",
    },
}  # fmt: skip


class Config(EsdConfig):
    """The settings of `methods.training.esd.EsdConfig`."""

    part: Literal["xattn"] = "xattn"


def unlearn(pipeline: Any, problem: Problem, config: Config, save: SavePoint) -> None:
    """Push the predictions for the concept away from it by training cross-attention, in place."""
    EsdTrainer(pipeline, problem, config, select_part(Denoiser(pipeline).module, "xattn")).run(save)
