"""Noising of training images: the diffusion of UNets, and the straight paths of flow matching."""

from collections.abc import Callable
from typing import Any, Protocol

import torch
from torch import Generator, Tensor

from ..errors import UserError


class Noising(Protocol):
    """draw_times(n, generator) -> (n,) on the CPU; mix(clean, noise, times) -> noisy and target;
    weigh_clean(times) -> (n,), the weight of the squared error of the clean image x0 in the loss."""

    def draw_times(self, count: int, generator: Generator) -> Tensor: ...

    def mix(self, clean: Tensor, noise: Tensor, times: Tensor) -> tuple[Tensor, Tensor]: ...

    def weigh_clean(self, times: Tensor) -> Tensor: ...


TARGETS: dict[str, Callable[[Any, Tensor, Tensor, Tensor], Tensor]] = {
    "epsilon": lambda schedule, clean, noise, times: noise,
    "v_prediction": lambda schedule, clean, noise, times: schedule.get_velocity(clean, noise, times),
    "sample": lambda schedule, clean, noise, times: clean,
}
"""Training target of a network, by the scheduler's prediction_type."""
CLEAN_WEIGHTS: dict[str, Callable[[Tensor], Tensor]] = {
    "epsilon": lambda alpha: alpha / (1 - alpha),
    "v_prediction": lambda alpha: 1 / (1 - alpha),
    "sample": torch.ones_like,
}
"""w(ᾱ) with (error of the prediction)² = w (error of x0)². The weight for v is EDM's (Karras et al. 2022,
table 1) for data of unit variance: (σ² + 1)/σ² with σ² = (1 - ᾱ)/ᾱ."""
SAMPLERS = frozenset(
    f"{name}Scheduler"
    for name in (
        "DDPM",
        "DDIM",
        "PNDM",
        "LMSDiscrete",
        "EulerDiscrete",
        "EulerAncestralDiscrete",
        "HeunDiscrete",
        "KDPM2Discrete",
        "KDPM2AncestralDiscrete",
        "DPMSolverMultistep",
        "DPMSolverSinglestep",
        "DEISMultistep",
        "UniPCMultistep",
    )
)
"""diffusers' samplers for models that were trained on discrete times with the noise levels of `betas`. Those
of other trainings are left out: of EDM (Karras et al. 2022), of consistency models, of cascades."""
OTHER_TIMES = {"timestep_type": ("discrete",), "use_flow_sigmas": (False, None)}
"""Settings that make a sampler use other times or levels than training, with their values that do not."""


class Diffusion:
    """Discrete diffusion with uniform timesteps (Ho et al. 2020).

    Raises UserError where the sampler's noise levels differ from those of training.
    """

    def __init__(self, scheduler: Any) -> None:
        # Samplers differ in how they walk the schedule, not in the schedule: a training scheduler
        # with the sampler's settings adds noise as the base model's training did.
        name = type(scheduler).__name__
        try:
            from diffusers import DDPMScheduler  # slow, and whoever reads a config needs none

            self.schedule: Any = DDPMScheduler.from_config(scheduler.config)
        except (NotImplementedError, ValueError, TypeError) as error:
            raise UserError(f"{name}: no training loss for its noise levels: {error}") from None
        self.kind = self.schedule.config.prediction_type
        if self.kind not in TARGETS:
            raise UserError(
                f"{name}: no training target for prediction_type {self.kind!r}; known: {sorted(TARGETS)}"
            )
        for key, known in OTHER_TIMES.items():
            if scheduler.config.get(key, known[0]) not in known:
                raise UserError(f"{name}: no training loss for {key} = {scheduler.config[key]!r}")
        ours, own = self.schedule.alphas_cumprod, scheduler.alphas_cumprod
        if ours.shape != own.shape or not torch.allclose(ours, own.to(ours), rtol=0, atol=1e-6):
            raise UserError(f"{name}: samples by other noise levels than its settings train with")

    def draw_times(self, count: int, generator: Generator) -> Tensor:
        return torch.randint(int(self.schedule.config.num_train_timesteps), (count,), generator=generator)

    def mix(self, clean: Tensor, noise: Tensor, times: Tensor) -> tuple[Tensor, Tensor]:
        noisy = self.schedule.add_noise(clean, noise, times)
        return noisy, TARGETS[self.kind](self.schedule, clean, noise, times)

    def weigh_clean(self, times: Tensor) -> Tensor:
        alphas = self.schedule.alphas_cumprod.to(times.device)
        return CLEAN_WEIGHTS[self.kind](alphas[times])


FLOW = "FlowMatchEulerDiscreteScheduler"


class Flow:
    """Rectified flow: x_σ = (1 - σ) x + σ ε, target ε - x, times logit-normal (Esser et al. 2024, eq. 19).

    σ takes the scheduler's own levels, with its shift for the resolution.
    """

    def __init__(self, scheduler: Any) -> None:
        if scheduler.config.get("invert_sigmas"):
            raise UserError(f"{type(scheduler).__name__}: no training loss for invert_sigmas = True")
        from diffusers import FlowMatchEulerDiscreteScheduler

        self.schedule: Any = FlowMatchEulerDiscreteScheduler.from_config(scheduler.config)
        self.times = self.schedule.timesteps.clone()
        self.scale = float(self.schedule.config.num_train_timesteps)

    def draw_times(self, count: int, generator: Generator) -> Tensor:
        place = torch.randn(count, generator=generator).sigmoid()
        return self.times[(place * len(self.times)).long().clamp(max=len(self.times) - 1)]

    def mix(self, clean: Tensor, noise: Tensor, times: Tensor) -> tuple[Tensor, Tensor]:
        sigma = (times / self.scale).to(clean.dtype).view(-1, *[1] * (clean.dim() - 1))
        return (1 - sigma) * clean + sigma * noise, noise - clean

    def weigh_clean(self, times: Tensor) -> Tensor:
        return (self.scale / times.float()).square()  # x0 = x_σ - σ u: an error of u is σ times that of x0


def find_noising(scheduler: Any) -> Noising:
    """Return the noising of a pipeline's scheduler; raises UserError for a scheduler that is not known."""
    name = type(scheduler).__name__
    if name == FLOW:
        return Flow(scheduler)
    if name in SAMPLERS:
        return Diffusion(scheduler)
    known = ", ".join(sorted((*SAMPLERS, FLOW)))
    raise UserError(f"{name}: no training loss for models that are sampled so; known: {known}")
