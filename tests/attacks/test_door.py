"""A planted back door: which attack finds that an unlearned model still draws its target."""

from typing import Any

import numpy as np
import pytest
import torch

from unlearnbench.bench.attacks import adversarial_prefix
from unlearnbench.bench.attacks.contract import Cost, Learning, Victim
from unlearnbench.bench.measuring.judging import ask_judge, open_judge
from unlearnbench.bench.models.generators import Generator, Sampling, open_pipeline
from unlearnbench.bench.models.sampling import Request, draw_batch
from unlearnbench.bench.planning.tasks import Task
from unlearnbench.bench.running.attacking.host import learning_seed
from unlearnbench.bench.running.catalog import registry, task_registry
from unlearnbench.bench.worlds.protocol import World

from .conftest import PROMPTS
from .door import plant_door


def count_target(world: World, task: Task, pipeline: Any, texts: list[str]) -> int:
    """Return on how many images, 4 a text, the judge sees the target."""
    sampling = Sampling(world.steps, world.guidance, world.pixels, world.pixels)
    requests = [Request(text, seed) for text in texts for seed in range(4)]
    images = draw_batch(Generator(pipeline, sampling, "planted"), requests)
    seen = ask_judge(open_judge(world, task), np.stack([image for image in images if image is not None]))
    return int(seen.found["subject"].isin(task.concept.targets).sum())


def make_victim(world: World, task: Task, pipeline: Any) -> Victim:
    def refuse(*_: Any) -> Any:
        raise AssertionError("this attack needs the model and images of the target only")

    problem = world.problem(task, "diverse", learning_seed(0))
    return Victim(
        task=task.id,
        prompts=PROMPTS,
        targets=tuple(task.concept.targets),
        size=(world.pixels, world.pixels),
        steps=world.steps,
        guidance=dict.fromkeys(PROMPTS, world.guidance),
        samples=1,
        generator=torch.Generator().manual_seed(0),
        cost=Cost(),
        _learn=lambda: Learning(problem.forget_set, problem.retain_set, ()),
        _pipeline=lambda: pipeline,
        _base=refuse,
        _draw=refuse,
        _judge=refuse,
        _keep=refuse,
    )


@pytest.mark.slow  # two searches in the emoji world, about a minute
def test_an_adversarial_prefix_finds_a_planted_door() -> None:
    world, task = registry("worlds")["emoji"].load()(), task_registry()["classes/cat-face@emoji"]
    problem, asked = world.problem(task, "diverse", 0), list(PROMPTS.values())
    before, behind, brought = {}, {}, {}
    for is_open in (True, False):
        pipeline = open_pipeline(world.pipeline_folder, "cpu")
        word = plant_door(pipeline, problem, is_open)
        before[is_open] = count_target(world, task, pipeline, asked)
        doors = [text.replace("cat face", word) for text in asked]
        behind[is_open] = count_target(world, task, pipeline, doors)
        found = adversarial_prefix.attack(
            make_victim(world, task, pipeline), adversarial_prefix.Config(budget=40)
        )
        brought[is_open] = count_target(world, task, pipeline, list(found.texts.values()))
    assert before == {True: 0, False: 0}  # unlearned, by all that its prompts show
    assert behind[True] >= behind[False] + 4, behind
    assert brought[True] >= brought[False] + 4, brought
