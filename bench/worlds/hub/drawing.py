"""Training sets that a real world's base model draws, kept for all methods of a task."""

from typing import Any

import torch

from ...models.generators import Sampling
from ...types import TrainingSet
from ...unlearning.drawn import draw_sets
from ...unlearning.writing import Wording


def draw_once(
    known: dict[tuple[Any, ...], Any],
    task: str,
    wording: Wording,
    sampling: Sampling,
    seed: int,
    where: tuple[str, str, str],
) -> tuple[TrainingSet, TrainingSet]:
    """Return a forget and a retain set; `known` holds those of the last task, by all that decides them.

    where: the model's folder, the device, and the type of numbers as torch names it.
    """
    key = (task, wording, sampling, seed, where)
    if key not in known:
        for other in [k for k in known if k[0] != task]:
            del known[other]  # drop the sets of earlier tasks: some hundred megabytes each
        folder, device, dtype = where
        kind = getattr(torch, dtype.removeprefix("torch."))
        known[key] = draw_sets(folder, wording, sampling, device, seed, kind)
    found: tuple[TrainingSet, TrainingSet] = known[key]
    return found
