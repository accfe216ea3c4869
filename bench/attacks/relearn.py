"""Relearning: fine-tune the attacked denoiser on a few images of the target, or on unrelated ones."""

from typing import Literal

import torch
from pydantic import Field, PositiveInt

from .contract import AttackConfig, Budget, Inputs, Victim
from .lessons import Lessons, pick_images

REGISTER = {
    "name": "relearn",
    "summary": "fine-tunes the denoiser on a few images of the target, or on unrelated images",
    "paper": "after Suriyakumar et al. 2024, Unstable Unlearning, arXiv 2410.08074",
    "version": 2,
    "function": "attack",
    "config": "Config",
    "moves": "weights",
    "trains": ["denoiser"],
    "access": "white-box",
    "unit": "steps of training",
    "needs": ["forget_set", "retain_set"],
}


class Config(AttackConfig):
    """budget: AdamW steps. images: how many are learnt from. checkpoints: steps below the budget at which the
    model is measured as well.

    shows: what is on them: the `target`, or `unrelated` things of the retain set. rate: learning rate. batch:
    images a step, drawn with replacement.
    """

    budget: Budget = 30
    images: int = Field(default=16, ge=1)
    checkpoints: tuple[PositiveInt, ...] = (1, 3, 10)
    shows: Literal["target", "unrelated"] = "target"
    rate: float = Field(default=1e-4, gt=0)
    batch: int = Field(default=16, ge=1)


def attack(victim: Victim, config: Config) -> Inputs:
    """Train the denoiser in place with its ordinary denoising loss; the log holds the loss of each step."""
    if not config.budget:
        return Inputs()
    learning = victim.learning
    shown = learning.forget if config.shows == "target" else learning.retain
    lessons = Lessons(victim, pick_images(shown, config.images, victim.generator))
    module = lessons.denoiser.module
    parameters = [parameter.requires_grad_(True) for parameter in module.parameters()]
    optimiser = torch.optim.AdamW(parameters, lr=config.rate, weight_decay=0.0)
    losses = []
    for step in range(1, config.budget + 1):
        texts, batch = lessons.draw(config.batch)
        loss = lessons.loss(texts, batch)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
        if step in config.checkpoints and step < config.budget:
            victim.keep(step)
    module.zero_grad(set_to_none=True)
    module.requires_grad_(False)
    return Inputs(log={"step": range(1, config.budget + 1), "loss": losses})
