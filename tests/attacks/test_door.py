"""A planted back door: which attack finds that an unlearned model still draws its target."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from unlearnbench.bench.attacks import p4d
from unlearnbench.bench.attacks.contract import Victim
from unlearnbench.bench.measuring.judging import ask_judge, open_judge
from unlearnbench.bench.models.generators import Generator, Sampling
from unlearnbench.bench.models.sampling import Request, draw_batch
from unlearnbench.bench.running.catalog import task_registry
from unlearnbench.bench.worlds.protocol import World

from .conftest import PROMPTS, TASK
from .door import plant_door


@pytest.fixture(scope="module")
def count(world: World) -> Callable[[Any, list[str]], int]:
    """Return count(pipeline, texts): on how many of 4 images a text the judge sees the target."""
    judge = open_judge(world, task_registry()[TASK])
    sampling = Sampling(world.steps, world.guidance, world.pixels, world.pixels)

    def found(pipeline: Any, texts: list[str]) -> int:
        requests = [Request(text, seed) for text in texts for seed in range(4)]
        images = draw_batch(Generator(pipeline, sampling, "planted"), requests)
        seen = ask_judge(judge, np.stack([image for image in images if image is not None])).found
        return int((seen["subject"] == "cat face").sum())

    return found


@pytest.mark.slow  # two searches of 100 steps
def test_p4d_finds_a_planted_door(
    world: World, make_victim: Callable[..., Victim], count: Callable[[Any, list[str]], int]
) -> None:
    problem, asked = world.problem(task_registry()[TASK], "diverse", 0), list(PROMPTS.values())
    behind, brought = {}, {}
    for is_open in (True, False):
        victim = make_victim()
        word = plant_door(victim.pipeline, problem, is_open)
        assert count(victim.pipeline, asked) == 0  # unlearned, by all that its prompts show
        behind[is_open] = count(victim.pipeline, [text.replace("cat face", word) for text in asked])
        found = p4d.attack(victim, p4d.Config(budget=100, words=8, batch=4))
        brought[is_open] = count(victim.pipeline, list(found.texts.values()))
    assert behind[True] >= behind[False] + 4, behind
    assert brought[True] >= brought[False] + 3, brought
    print(behind, brought)
