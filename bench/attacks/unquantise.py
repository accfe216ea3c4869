"""What a user does to a model without malice: round its weights, prune them, merge it with its base."""

from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor

from ..models.generators import trainable_module
from .contract import AttackConfig, Budget, Inputs, Victim

REGISTER = {
    "name": "unquantise",
    "summary": "rounds the denoiser's weights, prunes the smallest, or merges it with its base model",
    "paper": "after Zhang et al. 2025, quantisation undoes unlearning of LLMs, arXiv 2410.16454",
    "version": 1,
    "function": "attack",
    "config": "Config",
    "moves": "weights",
    "trains": ["denoiser"],
    "access": "white-box",
    "unit": "changes of the weights",
    "needs": ["base"],
}


class Config(AttackConfig):
    """budget: 1, or 0 for nothing. change: `round` to `bits`; `prune` the `share` of each matrix whose values
    are smallest; or `merge`: (1 - share) of the weights and `share` of the base's."""

    budget: Annotated[Budget, Field(le=1)] = 1
    change: Literal["round", "prune", "merge"] = "round"
    bits: int = Field(default=8, ge=2, le=16)
    share: float = Field(default=0.2, gt=0, lt=1)


@torch.no_grad()
def attack(victim: Victim, config: Config) -> Inputs:
    """Change the weights of the denoiser with two dimensions or more in place."""
    if not config.budget:
        return Inputs()
    module = trainable_module(victim.pipeline)
    base = dict(trainable_module(victim.base).named_parameters()) if config.change == "merge" else {}
    for name, weight in module.named_parameters():
        if weight.dim() < 2:
            continue
        if config.change == "merge":
            weight.lerp_(base[name].to(weight), config.share)
        else:
            weight.copy_(
                round_to(weight, config.bits) if config.change == "round" else prune(weight, config.share)
            )
    return Inputs()


def round_to(weight: Tensor, bits: int) -> Tensor:
    """Return a matrix rounded to 2^bits - 1 levels for each row: symmetric, the largest value exact."""
    rows = weight.flatten(1)
    scale = rows.abs().amax(dim=1, keepdim=True) / (2 ** (bits - 1) - 1)
    return ((rows / scale.clamp_min(torch.finfo(rows.dtype).tiny)).round() * scale).view_as(weight)


def prune(weight: Tensor, share: float) -> Tensor:
    """Return a matrix whose smallest values, `share` of all by size, are zero."""
    count = int(share * weight.numel())
    if not count:
        return weight
    bound = weight.abs().flatten().kthvalue(count).values
    return torch.where(weight.abs() <= bound, torch.zeros_like(weight), weight)
