"""A diagnostic: is the target linearly readable in the denoiser's features? It moves nothing."""

import torch
from torch import Tensor

from .contract import AttackConfig, Budget, Inputs, Victim
from .lessons import Lessons, pick_images

REGISTER = {
    "name": "probe",
    "summary": "diagnostic: how well a linear probe tells the target from other things in the features",
    "paper": "linear probes: Alain and Bengio 2016, arXiv 1610.01644",
    "version": 1,
    "function": "attack",
    "config": "Config",
    "moves": "nothing",
    "access": "white-box",
    "unit": "images of the target, and as many others",
    "needs": ["forget_set", "retain_set"],
    "pipelines": ["sd", "sdxl"],
}
RIDGE = 1e-2
"""Weight of the squared coefficients, for features of unit variance."""


class Config(AttackConfig):
    """budget: images of the target, and as many of other things; half are learnt from. Below 4: nothing."""

    budget: Budget = 64


@torch.no_grad()
def attack(victim: Victim, config: Config) -> Inputs:
    """Return `accuracy`: the share of held-out noised images that a linear probe sorts correctly.

    Features: the middle block's, averaged over space, for the empty prompt at random times. 0.5 is chance;
    compare with the probe of `none` and of `retrain`.
    """
    if config.budget < 4:
        return Inputs()
    learning = victim.learning
    kinds = [
        read_features(victim, Lessons(victim, pick_images(images, config.budget, victim.generator)), config)
        for images in (learning.forget, learning.retain)
    ]
    return Inputs(readings={"accuracy": probe_accuracy(*kinds)})


def read_features(victim: Victim, lessons: Lessons, config: Config) -> Tensor:
    """Return (n, c) features of n noised images."""
    found: list[Tensor] = []
    unet = victim.pipeline.unet
    handle = unet.mid_block.register_forward_hook(lambda module, given, out: found.append(out.mean((2, 3))))
    try:
        for _ in range(0, config.budget, 16):
            _, batch = lessons.draw(16)
            lessons.loss([""] * 16, batch)
    finally:
        handle.remove()
    return torch.cat(found)[: config.budget].double().cpu()


def probe_accuracy(first: Tensor, second: Tensor) -> float:
    """Return the accuracy of a ridge probe on the second halves of two kinds, learnt on the first halves.

    first, second: (n, d), features of each kind. Both kinds count alike.
    """
    half = len(first) // 2, len(second) // 2
    learnt = torch.cat([first[: half[0]], second[: half[1]]])
    signs = torch.cat([torch.ones(half[0]), -torch.ones(half[1])]).to(learnt)
    mean, scale = learnt.mean(0), learnt.std(0).clamp_min(1e-9)

    def design(rows: Tensor) -> Tensor:
        return torch.cat([(rows - mean) / scale, torch.ones(len(rows), 1).to(rows)], dim=1)

    x = design(learnt)
    weights = torch.linalg.solve(x.T @ x / len(x) + RIDGE * torch.eye(x.shape[1]).to(x), x.T @ signs / len(x))
    right = (design(first[half[0] :]) @ weights > 0).double().mean()
    wrong = (design(second[half[1] :]) @ weights <= 0).double().mean()
    return float((right + wrong) / 2)
