"""Runs of sampling-time methods on tiny pipelines: what they save, and images drawn under it."""

from typing import Any

import numpy as np
import torch

from unlearnbench.bench.config import build
from unlearnbench.bench.models.saved.steering import steered
from unlearnbench.bench.training.trainer import freeze
from unlearnbench.bench.types import Problem

from .tiny import SMALL, build_problem

PROMPTS = ["a cat a", "a fox b"]


def make_config(module: Any, **values: Any) -> Any:
    """Return a method's configuration for seconds: of the small values those that it knows, and `values`."""
    small = {name: value for name, value in SMALL.items() if name in module.Config.model_fields}
    return build(module.Config, small | values, "test.toml")


def fit(module: Any, pipeline: Any, problem: Problem | None = None, **values: Any) -> tuple[Any, Any, Any]:
    """Run a method; return its configuration, and the log and the tensors that it saved last."""
    config, kept = make_config(module, **values), {}

    def save(step: int, log: Any, tensors: Any) -> None:
        kept.update(log=log, tensors={name: t.detach().cpu().clone() for name, t in tensors.items()})

    module.unlearn(pipeline, problem or build_problem(), config, save)
    return config, kept["log"], kept["tensors"]


def draw(pipeline: Any, prompts: Any = PROMPTS, guidance: float = 3.0, steps: int = 4) -> np.ndarray:
    """Return images (n, h, w, 3) of a plain call, each from noise of its own."""
    pipeline.set_progress_bar_config(disable=True)
    freeze(pipeline)
    noise = [torch.Generator().manual_seed(i) for i in range(len(prompts))]
    images: np.ndarray = pipeline(
        list(prompts), num_inference_steps=steps, guidance_scale=guidance, height=16, width=16,
        generator=noise, output_type="np",
    ).images  # fmt: skip
    return images


def draw_under(module: Any, pipeline: Any, config: Any, tensors: Any, **settings: Any) -> np.ndarray:
    """Return images drawn while a method's `apply` acts."""
    with module.apply(pipeline, tensors, config) as make:
        if make is None:
            return draw(pipeline, **settings)
        with steered(pipeline, make):
            return draw(pipeline, **settings)
