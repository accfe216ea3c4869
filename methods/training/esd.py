"""Training of Erased Stable Diffusion, for its two variants, which differ only in the trained part."""

import copy
from typing import Any, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from ...bench.training.families import Conditions
from ...bench.training.objectives import Batch, Denoiser, denoising
from ...bench.training.trainer import Trainer, fork
from ...bench.types import Problem
from .config import LoopConfig, Prompts
from .latents import LatentSampler, draw_noise
from .tokens import concept_prompts


class EsdConfig(LoopConfig):
    """start_guidance: scale with which x_t is drawn. negative_guidance: η. sampling_steps: of a complete
    drawing (None = the world's). drawn_by: the current model, or the base. prompts: the prompts that hold the
    concept."""

    rate: float = Field(default=1e-3, gt=0, allow_inf_nan=False)
    steps: int = Field(default=20, ge=1)
    start_guidance: float = Field(default=3.0, ge=0, allow_inf_nan=False)
    negative_guidance: float = Field(default=1.0, ge=0, allow_inf_nan=False)
    sampling_steps: int | None = Field(default=None, ge=1)
    drawn_by: Literal["current", "base"] = "current"
    prompts: Prompts = "training"


def erased_target(
    denoiser: Denoiser, base: nn.Module, batch: Batch, empty: Conditions, negative_guidance: float
) -> Tensor:
    """Return e*(x_t, ∅) - η (e*(x_t, c) - e*(x_t, ∅)), e* the frozen base (arXiv 2303.07345, eq. 7).

    The weights sum to one, so the same formula holds for predictions of v or of a flow's velocity.
    """
    with torch.no_grad():
        plain = denoiser.predict(batch, empty, base)
        conditional = denoiser.predict(batch, batch.conditions, base)
        return plain - negative_guidance * (conditional - plain)


class EsdTrainer(Trainer):
    """Draws x_t at a random step of the sampler, and trains the concept's prediction to `erased_target`."""

    def __init__(self, pipeline: Any, problem: Problem, config: EsdConfig, parameters: list[nn.Parameter]):
        super().__init__(pipeline, config)
        self.base = copy.deepcopy(self.denoiser.module).requires_grad_(False)
        [self.stream] = fork(problem.generator, 1)
        self.side: tuple[int, int] = tuple(problem.forget_set.images.shape[-2:])  # type: ignore[assignment]
        prompts, _ = concept_prompts(problem, config.prompts)
        self.conditions = self.denoiser.encode_text(["", *prompts], self.side)
        steps = config.sampling_steps or problem.sampling.steps
        self.sampler = LatentSampler(self.denoiser, steps, config.start_guidance)
        self.objective = denoising(self.denoiser)
        self.open(parameters)

    def draw(self) -> tuple[Batch, Conditions]:
        """Return a batch of partially denoised latents with its target, and the empty prompt's conditions."""
        size, stream = self.config.batch, self.stream
        rows = torch.randint(1, len(next(iter(self.conditions.values()))), (size,), generator=stream)
        stop = int(torch.randint(self.sampler.steps, (1,), generator=stream))
        noise = draw_noise(self.denoiser, size, self.side, stream)
        conditions = {name: values[rows.to(values.device)] for name, values in self.conditions.items()}
        empty = {name: values[:1].expand(size, *values.shape[1:]) for name, values in self.conditions.items()}
        drawer = self.base if self.config.drawn_by == "base" else None
        noisy, times = self.sampler.draw(noise, conditions, empty, stop, drawer)
        batch = Batch(noisy, times, noisy, conditions, None)
        target = erased_target(self.denoiser, self.base, batch, empty, self.config.negative_guidance)
        return Batch(noisy, times, target, conditions, None), empty

    def take_step(self) -> dict[str, float]:
        batch, _ = self.draw()
        loss, gradient = self.differentiate(self.objective, batch)
        return {"forget_loss": loss.item(), "norm_before_clipping": self.descend(gradient).item()}
