"""Saliency masks: the given share of weights with the highest scores, over all tensors at once."""

from collections.abc import Callable

import torch
from torch import Tensor

from ...bench.training.gradients import Gradients


@torch.no_grad()
def top_share(scores: list[Tensor], share: float) -> list[Tensor]:
    """Return bool masks of the round(share·n) largest of all n scores; ties go to the first in order."""
    flat = torch.cat([score.flatten().float() for score in scores])
    count = round(share * len(flat))
    chosen = torch.zeros(len(flat), dtype=torch.bool, device=flat.device)
    chosen[torch.sort(flat, descending=True, stable=True).indices[:count]] = True
    parts = chosen.split([score.numel() for score in scores])
    return [part.view(score.shape) for part, score in zip(parts, scores, strict=True)]


def sum_gradients(draw: Callable[[], Gradients], count: int, absolute: bool) -> Gradients:
    """Return the sum of `count` gradients, or of their absolute values where `absolute`."""
    total: Gradients | None = None
    for _ in range(count):
        found = [g.abs() if absolute else g for g in draw()]
        total = found if total is None else [a + b for a, b in zip(total, found, strict=True)]
    assert total is not None
    return total
