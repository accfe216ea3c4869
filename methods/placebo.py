"""A random update of a given size: the effect of any change of the weights, whether it forgets or not."""

from typing import Any

import torch
from pydantic import Field

from ..bench.models.generators import trainable_module
from ..bench.training.config import PointsConfig
from ..bench.training.gradients import dot
from ..bench.training.trainer import freeze, select_part
from ..bench.types import Problem, SavePoint

REGISTER = {
    "summary": "A random Gaussian update of the weights of a given norm: the noise floor",
    "paper": "",
    "version": 1,
    "function": "unlearn",
    "config": "Config",
    "direction": "",
    "needs": [],
}


class Config(PointsConfig):
    """norm: L2 norm of the whole update; where `relative`, as a share of the norm of the trained part."""

    norm: float = Field(default=0.01, gt=0, allow_inf_nan=False)
    relative: bool = True


@torch.no_grad()
def unlearn(pipeline: Any, problem: Problem, config: Config, save: SavePoint) -> None:
    """Move the weights straight along one random direction; at step k of n they have moved k/n of the way.

    log: `step` and `update_norm`, the L2 norm of the update so far. No image is used.
    """
    freeze(pipeline)
    parameters = [p.detach() for p in select_part(trainable_module(pipeline), config.part)]
    start = [p.clone() for p in parameters]
    direction = [torch.randn(p.shape, generator=problem.generator).to(p) for p in parameters]
    length = config.norm * (dot(start, start).sqrt().item() if config.relative else 1.0)
    torch._foreach_mul_(direction, length / dot(direction, direction).sqrt().item())
    for checkpoint in config.checkpoints:
        for parameter, origin, way in zip(parameters, start, direction, strict=True):
            torch.add(origin, way, alpha=checkpoint / config.steps, out=parameter)
        steps = range(1, checkpoint + 1)
        save(checkpoint, {"step": list(steps), "update_norm": [length * k / config.steps for k in steps]})
