"""A method that trains the text encoder, and declares it."""

import torch
from pydantic import BaseModel, ConfigDict

REGISTER = {
    "summary": "noise on the text encoder's weights",
    "function": "unlearn",
    "config": "Config",
    "trains": ["text_encoder"],
    "needs": [],
}


class Config(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)
    scale: float = 0.3


@torch.no_grad()
def unlearn(pipeline, problem, config, save):
    for weight in pipeline.text_encoder.parameters():
        noise = torch.randn(weight.shape, generator=problem.generator)
        weight += config.scale * weight.abs().mean() * noise
    save(1, {"step": [1]})
