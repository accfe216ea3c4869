"""Safe Latent Diffusion: while an image is drawn, guidance leads away from the concept; nothing is trained.

A step predicts e_∅ (empty or negative prompt), e_p (prompt) and e_S (concept's text). For each element, μ =
min(1, s_S |e_p - e_S|) where e_p - e_S < λ, else 0; γ = μ (e_S - e_∅) + s_m ν; ν ← β ν + (1 - β) γ, with ν
= 0 at first. After δ warm-up steps the prediction is e_∅ + s_g (e_p - e_∅ - γ); ν also builds up before
(arXiv 2211.05105, eqs. 3-8). The concept's text is the targets' names, joined by commas.

Where this differs from the released code: the concept's prediction is a separate pass, so that scale 0 draws
the base's images bit by bit; the code predicts all three in one batch, and is switched off below a scale of
1. Predictions are compared in the model's own units, those of v where it predicts v. Names that do not fit
into the tokenizer's length are left out, and the log counts the others; the code cuts the text. SDXL and SD3
are additions here. Flux has no unconditional prediction and is refused.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from pydantic import BaseModel, Field
from torch import Tensor

from ..bench.config import STRICT
from ..bench.errors import UserError
from ..bench.models.generators import trainable_module
from ..bench.models.saved.steering import Call, Steering, Step
from ..bench.training.families import check_supported
from ..bench.training.objectives import Denoiser
from ..bench.training.trainer import freeze
from ..bench.types import Problem, SavePoint
from .training.sampling import join_names
from .training.tokens import concept_prompts

REGISTER = {
    "summary": "Safe Latent Diffusion: guidance away from the concept while an image is drawn",
    "paper": "https://arxiv.org/abs/2211.05105",
    "version": 1,
    "function": "unlearn",
    "config": "Config",
    "apply": "apply",
    "direction": "",
    "needs": ["targets"],
    "trains": [],
    "pipelines": ["sd", "sdxl", "sd3"],
}
PRESETS = {
    # ml-research/safe-latent-diffusion@a42923c, src/sld/sld_pipeline.py:223-227: its defaults, Hyp-Medium
    "paper": {"scale": 1000.0, "warmup": 10, "threshold": 0.01, "momentum": 0.3, "decay": 0.4},
    # huggingface/diffusers@08c5a9c, src/diffusers/pipelines/stable_diffusion_safe/__init__.py: SafetyConfig,
    # by the authors; the paper's table gives Hyp-Weak a scale of 200, the code 20
    "weak": {"scale": 20.0, "warmup": 15, "threshold": 0.0, "momentum": 0.0, "decay": 0.0},
    "medium": {"scale": 1000.0, "warmup": 10, "threshold": 0.01, "momentum": 0.3, "decay": 0.4},
    "strong": {"scale": 2000.0, "warmup": 7, "threshold": 0.025, "momentum": 0.5, "decay": 0.7},
    "max": {"scale": 5000.0, "warmup": 0, "threshold": 1.0, "momentum": 0.5, "decay": 0.7},
}


class Config(BaseModel):
    """scale: s_S. warmup: δ, in steps. threshold: λ. momentum: s_m. decay: β."""

    model_config = STRICT
    scale: float = Field(default=5000.0, ge=0, allow_inf_nan=False)
    warmup: int = Field(default=0, ge=0)
    threshold: float = Field(default=1.0, allow_inf_nan=False)
    momentum: float = Field(default=0.5, ge=0, allow_inf_nan=False)
    decay: float = Field(default=0.7, ge=0, le=1)


def lead_away(
    empty: Tensor, prompt: Tensor, concept: Tensor, velocity: Tensor, config: Config
) -> tuple[Tensor, Tensor]:
    """Return γ and the next ν from the three predictions and ν, all (n, c, h, w) or (n, ...)."""
    difference = prompt - concept
    weight = (config.scale * difference.abs()).clamp(max=1.0)
    weight = torch.where(difference >= config.threshold, torch.zeros_like(weight), weight)
    guidance = weight * (concept - empty) + config.momentum * velocity
    return guidance, config.decay * velocity + (1 - config.decay) * guidance


class AwayFrom(Steering):
    """The guidance of one call. conditions: of the concept's text, a row each."""

    def __init__(self, conditions: Mapping[str, Tensor], config: Config) -> None:
        self.conditions, self.config = conditions, config
        self.velocity: Tensor | None = None

    def guide(self, step: Step, uncond: Tensor | None, cond: Tensor) -> tuple[Tensor, Tensor] | None:
        if uncond is None:
            raise UserError("sld: acts through classifier-free guidance; draw with a guidance above 1")
        velocity = torch.zeros_like(cond) if self.velocity is None else self.velocity
        concept = step.predict(self.conditions)
        guidance, self.velocity = lead_away(uncond, cond, concept, velocity, self.config)
        return None if step.index < self.config.warmup else (uncond, cond - guidance)


@contextmanager
def apply(
    pipeline: Any, tensors: Mapping[str, Tensor], config: Config
) -> Iterator[Callable[[Call], Steering]]:
    """Context in which every image is guided away from the saved concept."""
    dtype = next(trainable_module(pipeline).parameters()).dtype
    conditions = {name: tensor.to(pipeline.device, dtype) for name, tensor in tensors.items()}
    yield lambda call: AwayFrom(conditions, config)


def unlearn(pipeline: Any, problem: Problem, config: Config, save: SavePoint) -> None:
    """Save the conditions of the concept's text; no weight changes."""
    check_supported(pipeline, "sld", REGISTER["pipelines"])  # type: ignore[arg-type]
    freeze(pipeline)
    denoiser = Denoiser(pipeline)
    names, _ = concept_prompts(problem, "name")
    text, count = join_names(denoiser, names)
    conditions = denoiser.encode_text([text], (0, 0))
    conditions.pop("time_ids", None)  # the image's size: the call's own
    save(1, {"step": [1], "names": [count]}, tensors=conditions)
