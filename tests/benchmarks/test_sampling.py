"""Our sampler against the plain diffusers pipeline on the same emoji images: batch 1 and micro-batches."""

from pathlib import Path
from typing import Any

import pytest
import torch

from unlearnbench.bench.models.generators import Generator, Sampling, open_pipeline
from unlearnbench.bench.models.sampling import Drawing, Request
from unlearnbench.bench.planning.tasks import PromptSizes
from unlearnbench.bench.running.catalog import registry, task_registry
from unlearnbench.bench.store import Store

IMAGES = 24


@pytest.fixture(scope="module")
def world() -> Any:
    return registry("worlds")["emoji"].load()()


@pytest.fixture(scope="module")
def generator(world: Any) -> Generator:
    sampling = Sampling(world.steps, world.guidance, world.pixels, world.pixels)
    return Generator(open_pipeline(world.pipeline_folder, "cpu"), sampling, "weights")


@pytest.fixture(scope="module")
def requests_of(world: Any) -> list[Request]:
    prompts = world.prompts(task_registry()["classes/cat-face@emoji"], PromptSizes())
    return [Request(p.text, i) for i, p in enumerate(prompts[:IMAGES])]


def _plain(generator: Generator, requests: list[Request], batch: int) -> None:
    for i in range(0, len(requests), batch):
        part = requests[i : i + batch]
        generator.pipeline(
            [r.prompt for r in part],
            num_inference_steps=generator.sampling.steps,
            guidance_scale=generator.sampling.guidance,
            generator=[torch.Generator().manual_seed(r.seed) for r in part],
            output_type="np",
        )


@pytest.mark.benchmark(group="24 images of 64 px")
@pytest.mark.parametrize("batch", [1, 8, 24])
def test_plain_pipeline(benchmark: Any, generator: Generator, requests_of: list[Request], batch: int) -> None:
    benchmark.pedantic(_plain, args=(generator, requests_of, batch), rounds=3, warmup_rounds=1)


@pytest.mark.benchmark(group="24 images of 64 px")
def test_our_sampler(
    benchmark: Any, generator: Generator, requests_of: list[Request], tmp_path: Path
) -> None:
    turn = iter(range(1000))

    def draw() -> None:
        store = Store(tmp_path / str(next(turn)))  # an empty store each round: everything is drawn
        drawing = Drawing(
            generator.fingerprint, generator.sampling, "torch.float32", "cpu", lambda: generator
        )
        drawing.draw(requests_of, store, lambda n: None)
        assert drawing.drawn == IMAGES

    benchmark.pedantic(draw, rounds=3, warmup_rounds=1)
