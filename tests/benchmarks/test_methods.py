"""Time of one training step: balanced, gradient_sum, and a minimal loop written by hand.

    pytest tests/benchmarks/test_methods.py --benchmark-only

All three do the same work on the same sizes (the embedded world's shapes, untrained, batches of 32 + 32): two
forward and backward passes, clipping, AdamW; diagnostics off. On a shared machine compare minima, with
`--benchmark-timer=time.process_time` and one thread.
"""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from unlearnbench.bench.training.trainer import Training
from unlearnbench.bench.types import Problem, TrainingSet
from unlearnbench.methods import balanced, gradient_sum

from ..methods.tiny import build_pipeline

ROUNDS, BATCH, IMAGES = 15, 32, 64


def build_problem() -> Problem:
    """Return a problem of random 32 px images, 16 px latents: those of the embedded world's full size."""
    generator = torch.Generator().manual_seed(0)
    sets = [
        TrainingSet((name,) * IMAGES, torch.rand((IMAGES, 3, 32, 32), generator=generator)) for name in "ab"
    ]
    return Problem("benchmark", "a", None, sets[0], sets[1], "diverse", 0, generator)


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return build_pipeline(tmp_path_factory.mktemp("tokenizer"), "v_prediction", channels=(32, 64, 128))


def minimal_step(training: Training) -> Callable[[], None]:
    """Return what one would write for this model alone: no log, no choice of objective or combination."""
    denoiser, config = training.denoiser, training.config
    unet, schedule, parameters = denoiser.module, denoiser.noising.schedule, training.parameters
    optimiser = torch.optim.AdamW(parameters, config.rate, weight_decay=0.0)
    problem = build_problem()
    encoded = [denoiser.encode(images) for images in (problem.forget_set, problem.retain_set)]

    def errors(latents: Tensor, states: Tensor) -> Tensor:
        clean = latents[torch.randint(len(latents), (BATCH,))]
        times, noise = torch.randint(1000, (BATCH,)), torch.randn_like(clean)
        noisy = schedule.add_noise(clean, noise, times).contiguous(memory_format=torch.channels_last)
        output = unet(noisy, times, states[1].expand(BATCH, -1, -1)).sample
        return (output - schedule.get_velocity(clean, noise, times)).square()

    def step() -> None:
        optimiser.zero_grad()
        torch.relu(
            1 - errors(encoded[0].latents, encoded[0].conditions["encoder_hidden_states"]).mean((1, 2, 3))
        ).mean().backward()
        errors(encoded[1].latents, encoded[1].conditions["encoder_hidden_states"]).mean().backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimiser.step()

    return step


@pytest.mark.benchmark(group="training step")
@pytest.mark.parametrize("method", ["minimal loop", "gradient_sum", "balanced"])
def test_training_step(benchmark: Any, pipeline: Any, method: str) -> None:
    kind: Any = balanced if method == "balanced" else gradient_sum
    training = kind.make_training(pipeline, build_problem(), kind.Config(batch=BATCH, diagnostics=False))
    step = minimal_step(training) if method == "minimal loop" else training.step
    benchmark.pedantic(step, rounds=ROUNDS, iterations=1, warmup_rounds=2)
