"""How training images are noised: the diffusion of UNets, the straight paths of flow matching."""

from collections.abc import Callable
from typing import Any, Protocol

import torch
from diffusers import DDPMScheduler, FlowMatchEulerDiscreteScheduler
from torch import Generator, Tensor

from .errors import UserError


class Noising(Protocol):
    """draw_times(n, generator) -> (n,) on the CPU; mix(clean, noise, times) -> noisy and target."""

    def draw_times(self, count: int, generator: Generator) -> Tensor: ...

    def mix(self, clean: Tensor, noise: Tensor, times: Tensor) -> tuple[Tensor, Tensor]: ...


TARGETS: dict[str, Callable[[Any, Tensor, Tensor, Tensor], Tensor]] = {
    "epsilon": lambda schedule, clean, noise, times: noise,
    "v_prediction": lambda schedule, clean, noise, times: schedule.get_velocity(clean, noise, times),
    "sample": lambda schedule, clean, noise, times: clean,
}
"""What a network is trained to predict, by the scheduler's prediction_type."""


class Diffusion:
    """Discrete diffusion with uniform timesteps (Ho et al. 2020)."""

    def __init__(self, config: Any) -> None:
        # Samplers differ in how they walk the schedule, not in the schedule: the training scheduler
        # made of the sampler's settings noises as the base model's training did.
        self.schedule: Any = DDPMScheduler.from_config(config)
        self.kind = self.schedule.config.prediction_type
        if self.kind not in TARGETS:
            raise UserError(
                f"pipeline: no training target for prediction_type {self.kind!r}; known: {sorted(TARGETS)}"
            )

    def draw_times(self, count: int, generator: Generator) -> Tensor:
        return torch.randint(int(self.schedule.config.num_train_timesteps), (count,), generator=generator)

    def mix(self, clean: Tensor, noise: Tensor, times: Tensor) -> tuple[Tensor, Tensor]:
        noisy = self.schedule.add_noise(clean, noise, times)
        return noisy, TARGETS[self.kind](self.schedule, clean, noise, times)


class Flow:
    """Rectified flow: x_σ = (1 - σ) x + σ ε, target ε - x, times logit-normal (Esser et al. 2024, eq. 19).

    σ runs through the scheduler's own levels, its shift for the resolution included.
    """

    def __init__(self, config: Any) -> None:
        self.schedule: Any = FlowMatchEulerDiscreteScheduler.from_config(config)
        self.times = self.schedule.timesteps.clone()
        self.scale = float(self.schedule.config.num_train_timesteps)

    def draw_times(self, count: int, generator: Generator) -> Tensor:
        place = torch.randn(count, generator=generator).sigmoid()
        return self.times[(place * len(self.times)).long().clamp(max=len(self.times) - 1)]

    def mix(self, clean: Tensor, noise: Tensor, times: Tensor) -> tuple[Tensor, Tensor]:
        sigma = (times / self.scale).to(clean.dtype).view(-1, *[1] * (clean.dim() - 1))
        return (1 - sigma) * clean + sigma * noise, noise - clean


def find_noising(scheduler: Any) -> Noising:
    """Return the noising that a pipeline's scheduler undoes."""
    if "FlowMatch" in type(scheduler).__name__:
        return Flow(scheduler.config)
    return Diffusion(scheduler.config)
