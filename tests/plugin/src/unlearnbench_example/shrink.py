"""A method in 20 lines: shrink the cross-attention's keys and values, step by step."""

import torch
from pydantic import BaseModel, ConfigDict

REGISTER = {"summary": "shrinks cross-attention", "function": "unlearn", "config": "Config"}


class Config(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)
    steps: int = 4
    factor: float = 0.9


@torch.no_grad()
def unlearn(pipeline, problem, config, save):
    for _ in range(config.steps):
        for name, weight in pipeline.unet.named_parameters():
            if "attn2.to_k" in name or "attn2.to_v" in name:
                weight.mul_(config.factor)
    save(config.steps, {"step": list(range(1, config.steps + 1))})
