"""Noise inversion: the initial noise from which the model draws images of the target for the prompts."""

import copy
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..errors import UserError
from ..training.families import Conditions
from ..training.objectives import Denoiser
from ..training.trainer import freeze
from ..types import TrainingSet
from .contract import AttackConfig, Budget, Inputs, Victim

REGISTER = {
    "name": "noise-inversion",
    "summary": "finds the initial noise that the model turns into images of the target: DDIM inversion",
    "paper": "Rusanovsky et al. 2025, Memories of Forgotten Concepts, arXiv 2412.00782",
    "version": 1,
    "function": "attack",
    "config": "Config",
    "moves": "latents",
    "access": "white-box",
    "unit": "fixed-point iterations a sampling step",
    "needs": ["forget_set"],
    "pipelines": ["sd"],
}
AT_ONCE = 16
"""Images that are inverted together."""


class Config(AttackConfig):
    """budget: iterations that invert one sampling step; the released code has 5
    (matanr/Memories_of_Forgotten_Concepts, 494cb1a, src/memory_of_an_ablated_concept.py)."""

    budget: Budget = 5


@torch.no_grad()
def attack(victim: Victim, config: Config) -> Inputs:
    """Return for every prompt the noises of the learning images whose captions share most words with it.

    Each image's latents are taken back through the sampler's steps for the prompt, with the guidance that it
    is drawn with (the paper: for the image's caption, without guidance). The noise holds the image: a model
    that never learnt the target draws it as well, as far as it draws any image. `spread` is the noise's
    standard deviation, 1 of noise that a seed gives; far above that no user meets such noise by chance.
    """
    if not config.budget:
        return Inputs()
    freeze(victim.pipeline)
    inversion = Inversion(victim, config.budget)
    images = victim.learning.forget
    order = torch.randperm(len(images.prompts), generator=victim.generator).tolist()
    asked, rows = [], []
    for name, prompt in victim.prompts.items():
        asked += [name] * victim.samples
        rows += rank(prompt, images.prompts, order, victim.samples)
    found = []
    for start in range(0, len(rows), AT_ONCE):
        part = slice(start, start + AT_ONCE)
        clean = inversion.encode(images, rows[part])
        scales = [victim.guidance[name] for name in asked[part]]
        found.append(inversion.invert(clean, [victim.prompts[name] for name in asked[part]], scales))
    noise = torch.cat(found)
    by_prompt = noise.float().cpu().numpy().reshape(len(victim.prompts), victim.samples, *noise.shape[1:])
    latents = dict(zip(victim.prompts, by_prompt, strict=True))
    return Inputs(latents=latents, readings={"spread": float(np.std(by_prompt))})


def rank(prompt: str, captions: tuple[str, ...], order: list[int], count: int) -> list[int]:
    """Return the places of the `count` captions that share most words with a prompt; ties as in `order`.

    Where there are fewer captions they come again.
    """
    words = _words(prompt)
    best = sorted(order, key=lambda place: -len(words & _words(captions[place])))
    return [best[i % len(best)] for i in range(count)]


def _words(text: str) -> set[str]:
    return {word.strip(",.;:") for word in text.lower().split()}


class Inversion:
    """The sampler of a victim, backwards. iterations: of the fixed point of each step.

    Raises UserError for a sampler whose step is not linear in the latents and the prediction.
    """

    def __init__(self, victim: Victim, iterations: int) -> None:
        self.pipeline, self.size, self.iterations = victim.pipeline, victim.size, iterations
        self.denoiser = Denoiser(victim.pipeline)
        self.scheduler = copy.deepcopy(victim.pipeline.scheduler)
        kind, settings = type(self.scheduler).__name__, self.scheduler.config
        if kind != "DDIMScheduler" or settings.clip_sample or settings.thresholding:
            raise UserError(f"attack noise-inversion: needs the sampler DDIM without clipping; has {kind}")
        self.scheduler.set_timesteps(victim.steps, device=self.denoiser.device)

    def encode(self, images: TrainingSet, rows: list[int]) -> Tensor:
        """Return the latents (n, c, h, w) of some images of a set."""
        part = TrainingSet(tuple(images.prompts[row] for row in rows), images.images[rows])
        return self.denoiser.encode(part).latents

    def invert(self, clean: Tensor, prompts: list[str], guidance: list[float]) -> Tensor:
        """Return the noise (n, c, h, w) from which the sampler draws latents (n, c, h, w) for prompts.

        A step is x' = a x + b p(x), with p the guided prediction; x is the fixed point of
        x <- (x' - b p(x)) / a, from x = x' (Garibi et al. 2024, ReNoise, arXiv 2403.14602). Raises
        FloatingPointError where the iteration diverges.
        """
        x, conditions, nothing = clean, self._encode(prompts), self._encode([""] * len(prompts))
        scale = torch.tensor(guidance, device=clean.device, dtype=clean.dtype)[:, None, None, None]
        for time in reversed(self.scheduler.timesteps):
            a, b = self.coefficients(time)
            after = x
            for _ in range(self.iterations):
                x = (after - b * self.predict(x, time, conditions, nothing, scale)) / a
        if not torch.isfinite(x).all():
            raise FloatingPointError("the inversion diverged: the model's step has no stable fixed point")
        return x

    def coefficients(self, time: Tensor) -> tuple[float, float]:
        """Return a and b of the step at a time, read off the scheduler's own step."""
        zero, one = (torch.full((1,), n, device=self.denoiser.device) for n in (0.0, 1.0))
        a = self.scheduler.step(zero, time, one).prev_sample
        b = self.scheduler.step(one, time, zero).prev_sample
        return float(a), float(b)

    def predict(
        self, x: Tensor, time: Tensor, asked: Conditions, nothing: Conditions, scale: Tensor
    ) -> Tensor:
        """Return the guided prediction (n, c, h, w), as the pipeline's call makes it."""
        predict, module = self.denoiser.family.predict, self.denoiser.module
        times = time.expand(len(x))
        conditional = predict(module, x, times, asked)
        if (scale <= 1).all():  # the call then leaves guidance out
            return conditional
        free = predict(module, x, times, nothing)
        return free + torch.where(scale > 1, scale, 1.0) * (conditional - free)

    def _encode(self, prompts: list[str]) -> dict[str, Any]:
        return self.denoiser.encode_text(prompts, self.size)
