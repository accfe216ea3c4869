"""Unified concept editing: the text projections are solved for, so that the concept is read as its guide.

W = (λW₀ + Σ_e s_e W₀ g cᵀ + Σ_p s_p W₀ c cᵀ)(λI + Σ_e s_e c cᵀ + Σ_p s_p c cᵀ)⁻¹ for every key and value
matrix of cross-attention (arXiv 2308.14761, eq. 7). c, g: token states of the concept and of its guide (the
target's anchor, else the empty prompt); p: retained names. On SD3 and Flux the projections of the context and
of the pooled vector are edited, as the released code edits Flux's.

Where this differs from the released code: projections with a bias are solved without it, because the released
code adds Flux's bias to the targets and so counts it twice. With `prompts = "training"` the tokens of the
forget set's prompts are edited towards those of the same prompts with the anchor, and the retain set's are
preserved.
"""

from collections.abc import Sequence
from typing import Any

import torch
from pydantic import Field
from torch import Tensor

from ..bench.training.objectives import Denoiser
from ..bench.training.trainer import freeze
from ..bench.types import Problem, SavePoint
from .training.closed_form import Edit, find_pooled_projections, find_projections, solve_edit
from .training.config import EditConfig
from .training.tokens import TokenStates, align, anchors_of, concept_prompts, encode_tokens

REGISTER = {
    "summary": "Unified concept editing: cross-attention keys and values solved in closed form",
    "paper": "https://arxiv.org/abs/2308.14761",
    "version": 1,
    "function": "unlearn",
    "config": "Config",
    "direction": "",
    "needs": ["targets"],
}
PRESETS = {
    # rohitgandikota/unified-concept-editing@28c81ed, trainscripts/uce_sd_erase.py
    "paper": {"prompts": "name", "tokens": "last", "lam": 0.5, "erase_scale": 1.0, "preserve_scale": 1.0},
}


class Config(EditConfig):
    """erase_scale, preserve_scale: weights of the concept's and of the retained names' states.

    preserved: most distinct prompts of the retain set that are preserved (`prompts = "training"`).
    """

    erase_scale: float = Field(default=1.0, ge=0, allow_inf_nan=False)
    preserve_scale: float = Field(default=1.0, ge=0, allow_inf_nan=False)
    preserved: int = Field(default=96, ge=0)


def make_edits(denoiser: Denoiser, problem: Problem, config: Config) -> tuple[list[Edit], list[Edit]]:
    """Return the edits of token states and those of pooled vectors, the concept's first."""
    side: Any = tuple(problem.forget_set.images.shape[-2:])
    prompts, anchors = concept_prompts(problem, config.prompts)
    found = encode_tokens(denoiser, prompts, problem.targets, side)
    named = [anchor for anchor in dict.fromkeys(anchors_of(problem)) if anchor]
    aims = encode_tokens(denoiser, anchors, named, side)
    kept = encode_tokens(denoiser, _retained(problem, config), (), side)
    left, right = _pairs(found, aims, config.tokens)
    same, _ = _pairs(kept, kept, config.tokens)
    states = [Edit(left, right, config.erase_scale), Edit(same, same, config.preserve_scale)]
    if found.pooled is None or aims.pooled is None or kept.pooled is None:
        return states, []
    pooled = [
        Edit(found.pooled, aims.pooled, config.erase_scale),
        Edit(kept.pooled, kept.pooled, config.preserve_scale),
    ]
    return states, pooled


def _pairs(found: TokenStates, aims: TokenStates, tokens: str) -> tuple[Tensor, Tensor]:
    if tokens == "all":
        return align(found, aims)
    return found.states[found.ends], aims.states[aims.ends]


def _retained(problem: Problem, config: Config) -> list[str]:
    if config.prompts == "name":
        return ["", *problem.retained]
    return ["", *dict.fromkeys(problem.retain_set.prompts)][: config.preserved + 1]


@torch.no_grad()
def apply_edits(denoiser: Denoiser, states: Sequence[Edit], pooled: Sequence[Edit], lam: float) -> None:
    """Solve every text projection of the denoiser for the edits, in place."""
    family = denoiser.family.name
    for layer in find_projections(denoiser.module, family).values():
        layer.weight.copy_(solve_edit(layer.weight, states, lam))
    for layer in find_pooled_projections(denoiser.module, family).values() if pooled else ():
        layer.weight.copy_(solve_edit(layer.weight, pooled, lam))


def unlearn(pipeline: Any, problem: Problem, config: Config, save: SavePoint) -> None:
    """Edit the text projections in place; saves one point."""
    freeze(pipeline)
    denoiser = Denoiser(pipeline)
    states, pooled = make_edits(denoiser, problem, config)
    apply_edits(denoiser, states, pooled, config.lam)
    save(1, {"step": [1]})
