"""The retrained models that ship: found by the tasks of the board, and ignorant of what was left out."""

import json

import pytest

from unlearnbench.bench.models.generators import Sampling, open_pipeline
from unlearnbench.bench.models.sampling import Request, noise_seed
from unlearnbench.bench.planning.plan import read_suite
from unlearnbench.bench.running.catalog import open_world, suites_folder, task_registry
from unlearnbench.bench.worlds.emoji.world import DATA, EmojiWorld
from unlearnbench.bench.worlds.recipe.report import draw_images


@pytest.fixture(scope="module")
def world() -> EmojiWorld:
    found = open_world("emoji")
    assert isinstance(found, EmojiWorld)
    return found


def test_every_task_of_the_board_has_its_model(world: EmojiWorld) -> None:
    tasks = task_registry()
    for name in read_suite(suites_folder() / "emoji.toml").tasks:
        task = tasks[f"{name}@emoji"]
        folder = world.retrained_pipeline(task)
        assert folder.is_relative_to(DATA)
        card = json.loads(folder.with_name("retrained.json").read_text(encoding="utf-8"))
        assert card == {"world": "emoji", "version": 1, "without": sorted(task.suite_targets)}


@pytest.mark.parametrize("name", ["classes/cat-face@emoji", "styles/openmoji@emoji"])
def test_it_draws_what_it_saw_and_not_the_target(world: EmojiWorld, name: str) -> None:
    """Hand-written captions of a target and of a subject and style that both models saw, eight noises."""
    task = task_registry()[name]
    pipeline = open_pipeline(str(world.retrained_pipeline(task)), "cpu")
    asked = {
        "target": "a cat face in noto style on a red background",
        "kept": "a fox in noto style on a red background",
    }
    if task.file.target_kind == "style":
        asked["target"] = "a fox in openmoji style on a red background"
    requests = [
        Request(text, noise_seed(0, "retrained", text, k)) for text in asked.values() for k in range(8)
    ]
    sampling = Sampling(world.steps, world.guidance, world.pixels, world.pixels)
    verdicts = world.open_judge(task).judge(draw_images(pipeline, requests, sampling, "cpu", "test"))
    found = verdicts.found
    kind, target = ("style", "openmoji") if task.file.target_kind == "style" else ("subject", "cat face")
    assert (found[kind][:8] != target).all()
    assert (found["subject"][8:] == "fox").sum() >= 7
    assert (found["style"][8:] == "noto").sum() >= 7
