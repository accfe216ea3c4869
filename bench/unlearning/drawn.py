"""Training sets whose images the model draws itself."""

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from ..models.generators import Generator, Sampling, open_pipeline
from ..models.sampling import Request, draw_whole, micro_batch
from ..models.settings import set_scheduler
from ..models.whole import hush_libraries
from ..progress import show_progress
from ..training.objectives import Denoiser
from ..types import TrainingSet
from .writing import Wording


def draw_sets(
    model: str,
    wording: Wording,
    sampling: Sampling,
    device: str = "cpu",
    seed: int = 0,
    dtype: torch.dtype = torch.float32,
) -> tuple[TrainingSet, TrainingSet]:
    """Return a forget and a retain set whose images the model in a folder drew. seed: of their noise.

    dtype: that the model draws in.
    """
    pipeline = open_pipeline(model, device, dtype)
    Denoiser(pipeline, is_trained=False)  # as above: by the folder's own scheduler, which is the training's
    set_scheduler(pipeline, sampling.scheduler)
    with hush_libraries():
        return draw_both(pipeline, sampling, wording, seed)


def draw_both(
    pipeline: Any, sampling: Sampling, wording: Wording, seed: int
) -> tuple[TrainingSet, TrainingSet]:
    forget = _draw(pipeline, sampling, wording.forget, seed, "forget")
    retain = _draw(pipeline, sampling, wording.retain, seed, "retain")
    return TrainingSet(wording.forget, forget, wording.anchored), TrainingSet(wording.retain, retain)


def no_images(sampling: Sampling, wording: Wording) -> tuple[TrainingSet, TrainingSet]:
    """Return a forget and a retain set with prompts and no images: (0, 3, H, W)."""
    none = torch.empty(0, 3, sampling.height, sampling.width)
    return TrainingSet(wording.forget, none, wording.anchored), TrainingSet(wording.retain, none)


@torch.no_grad()
def _draw(pipeline: Any, sampling: Sampling, prompts: Sequence[str], seed: int, name: str) -> torch.Tensor:
    """Return images (n, 3, H, W) in [-1, 1], one for each prompt, each with its own noise."""
    generator = Generator(pipeline, sampling, "")
    size = micro_batch(pipeline.device.type, sampling)
    images: list[np.ndarray] = []
    with show_progress(f"drawing what to {name}", len(prompts)) as advance:
        for start in range(0, len(prompts), size):
            part = prompts[start : start + size]
            seeds = [_seed(seed, name, start + i) for i in range(len(part))]
            requests = [Request(prompt, seed) for prompt, seed in zip(part, seeds, strict=True)]
            images.append(draw_whole(generator, requests, f"images to {name}"))
            advance(start + len(part), "")
    pixels = torch.from_numpy(np.concatenate(images)).permute(0, 3, 1, 2).float()
    return pixels / 127.5 - 1


def _seed(seed: int, name: str, number: int) -> int:
    digest = hashlib.sha256(f"unlearn|{seed}|{name}|{number}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1
