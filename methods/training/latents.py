"""Latents that the model draws itself: completely for training images, partly for objectives at a time t."""

import copy
import inspect
from collections.abc import Callable
from typing import Any

import torch
from torch import Generator, Tensor, nn

from ...bench.training.families import Conditions
from ...bench.training.objectives import Denoiser
from ...bench.types import DrawSettings

DRAWN_AT_ONCE = 16
"""Number of images that are drawn at once: it bounds the memory."""
DISTILLED = ("flux",)
"""Families that draw without classifier-free guidance: their guidance is an input of the network."""


class LatentSampler:
    """Draws latents by the pipeline's own scheduler, with classifier-free guidance.

    steps: sampling steps. guidance: scale; 1 = only the conditional prediction. The pipeline's scheduler is
    copied, never changed.
    """

    def __init__(self, denoiser: Denoiser, steps: int, guidance: float) -> None:
        self.denoiser, self.steps = denoiser, steps
        self.guidance = 1.0 if denoiser.family.name in DISTILLED else guidance

    @torch.no_grad()
    def draw(
        self,
        noise: Tensor,
        conditions: Conditions,
        empty: Conditions,
        stop: int | None = None,
        module: nn.Module | None = None,
        on_step: Callable[[int], None] = lambda number: None,
    ) -> tuple[Tensor, Tensor]:
        """Return latents (b, c, h, w) before step `stop`, scaled for the network, and their times (b,).

        noise: (b, c, h, w), standard normal. conditions, empty: of the prompts and of the empty prompt, a row
        for each image. stop: None = after the last step. module: the network that draws (None = the
        denoiser). on_step: called before each step with its number.
        """
        scheduler = self._scheduler(noise)
        latents = noise * getattr(scheduler, "init_noise_sigma", 1.0)
        times = scheduler.timesteps
        end = len(times) if stop is None else min(stop, len(times) - 1)
        for number, time in enumerate(times[:end]):
            on_step(number)
            prediction = self.predict(_scaled(scheduler, latents, time), time, conditions, empty, module)
            latents = scheduler.step(prediction, time, latents, return_dict=False)[0]
        if stop is None:
            return latents, times[-1:].expand(len(noise))
        return _scaled(scheduler, latents, times[end]), times[end].expand(len(noise))

    def predict(
        self, noisy: Tensor, time: Tensor, conditions: Conditions, empty: Conditions, module: nn.Module | None
    ) -> Tensor:
        """Return the guided prediction e₀ + s(e_c - e₀) at one time."""
        family, network = self.denoiser.family, module or self.denoiser.module
        times = time.expand(len(noisy)).to(noisy.device)
        conditional = family.predict(network, noisy, times, conditions)
        if self.guidance == 1.0:
            return conditional
        plain = family.predict(network, noisy, times, empty)
        return plain + self.guidance * (conditional - plain)

    def _scheduler(self, noise: Tensor) -> Any:
        scheduler: Any = copy.deepcopy(self.denoiser.pipeline.scheduler)
        settings: dict[str, Any] = {}
        if getattr(scheduler.config, "use_dynamic_shifting", False):
            settings["mu"] = _shift(scheduler.config, noise.shape[-2] * noise.shape[-1] // 4)
        if self.denoiser.family.name == "flux" and _takes(scheduler, "sigmas"):
            settings["sigmas"] = torch.linspace(1.0, 1 / self.steps, self.steps).tolist()
            scheduler.set_timesteps(device=noise.device, **settings)
        else:
            scheduler.set_timesteps(self.steps, device=noise.device, **settings)
        return scheduler


def _takes(scheduler: Any, name: str) -> bool:
    return name in inspect.signature(scheduler.set_timesteps).parameters


def _shift(config: Any, tokens: int) -> float:
    """Return the shift of a flow's times for an image of this many tokens, linear between two lengths."""
    low, high = config.get("base_image_seq_len", 256), config.get("max_image_seq_len", 4096)
    first, last = config.get("base_shift", 0.5), config.get("max_shift", 1.15)
    return float(first + (last - first) * (tokens - low) / (high - low))


def _scaled(scheduler: Any, latents: Tensor, time: Tensor) -> Tensor:
    scale = getattr(scheduler, "scale_model_input", None)
    scaled: Tensor = latents if scale is None else scale(latents, time)
    return scaled


def draw_latents(
    denoiser: Denoiser,
    settings: DrawSettings,
    conditions: Conditions,
    rows: Tensor,
    side: tuple[int, int],
    generator: Generator,
) -> Tensor:
    """Return latents (n, c, h, w) of images that the denoiser draws completely.

    conditions: a row for each prompt, row 0 for the empty one. rows: (n,) on the CPU, each image's row. side:
    (height, width) of the images in pixels.
    """
    sampler = LatentSampler(denoiser, settings.steps, settings.guidance)
    latents = []
    for part in rows.split(DRAWN_AT_ONCE):
        noise = draw_noise(denoiser, len(part), side, generator)
        asked = {name: values[part.to(values.device)] for name, values in conditions.items()}
        empty = {name: values[[0] * len(part)] for name, values in conditions.items()}
        latents.append(sampler.draw(noise, asked, empty)[0])
    return torch.cat(latents)


def latent_shape(denoiser: Denoiser, side: tuple[int, int]) -> tuple[int, int, int]:
    """Return the shape (c, h, w) of the latents of an image of (height, width) pixels."""
    config = denoiser.pipeline.vae.config
    shrunk = 2 ** (len(config.block_out_channels) - 1)
    return int(config.latent_channels), side[0] // shrunk, side[1] // shrunk


def draw_noise(denoiser: Denoiser, count: int, side: tuple[int, int], generator: Generator) -> Tensor:
    """Return standard normal latents (count, c, h, w), drawn on the CPU."""
    noise = torch.randn((count, *latent_shape(denoiser, side)), generator=generator)
    noise = noise.to(denoiser.device, denoiser.dtype)
    return noise.contiguous(memory_format=denoiser.layout)


def focal_density(count: int, start: float, end: float, sharpness: float) -> Tensor:
    """Return MACE's sampling probabilities ξ(t), (count,); they sum to one (arXiv 2403.06135, eq. 5).

    They are high from `start` to `end`, with edges of steepness `sharpness`.
    """
    times = torch.arange(count, dtype=torch.float64)
    density = (sharpness * (times - start)).sigmoid() - (sharpness * (times - end)).sigmoid()
    return density / density.sum()
