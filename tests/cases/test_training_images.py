"""Training images are judged by the task's judge, and each training seed draws its own."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from unlearnbench.bench.cli.main import main
from unlearnbench.bench.judges.types import Verdicts, verdicts_of
from unlearnbench.bench.measuring.training_images import judge_problem
from unlearnbench.bench.models.hub import Source
from unlearnbench.bench.records.record import read_record, record_digest
from unlearnbench.bench.records.training_images import TrainingImages
from unlearnbench.bench.running.catalog import registry, task_registry
from unlearnbench.bench.running.runner import Runner
from unlearnbench.bench.types import Problem, TrainingSet
from unlearnbench.bench.unlearning.writing import NUDES, write_prompts
from unlearnbench.bench.worlds.hub.world import EVERY, HubWorld

SMALL = {"steps": 1, "checkpoints": [1], "batch": 4}


class _Judge:
    """Names an image by its first pixel: 255 is a cat, 0 a dog, and of 128 it can say nothing at all."""

    def judge(self, images: Any) -> Verdicts:
        names: dict[int, Any] = {255: "cat", 0: "dog", 128: None}
        answers = [names[int(image[0, 0, 0])] for image in images]
        return verdicts_of("subject", answers, np.zeros((len(images), 1)))


def _problem(forget: list[float], retain: list[float]) -> Problem:
    sets = [
        TrainingSet(
            tuple(str(i) for i in range(len(values))),
            torch.tensor(values).view(-1, 1, 1, 1).expand(-1, 3, 4, 4),
        )
        for values in (forget, retain)
    ]
    return Problem("t", "cat", None, *sets, "diverse", 0, torch.Generator())


@pytest.mark.parametrize(
    ("forget", "retain", "shares", "warnings"),
    [
        ([1.0] * 4, [-1.0] * 4, (1.0, 0.0), 0),
        ([1.0, -1.0, -1.0, -1.0], [-1.0] * 4, (0.25, 0.0), 1),
        ([1.0] * 4, [1.0, -1.0], (1.0, 0.5), 1),
        ([-1.0] * 4, [1.0] * 2, (0.0, 1.0), 2),
        ([1.0] * 150, [-1.0] * 3, (1.0, 0.0), 0),
    ],
)
def test_shares_are_counted_and_low_ones_warned_of(
    forget: list[float], retain: list[float], shares: tuple[float, float], warnings: int
) -> None:
    found = judge_problem(_problem(forget, retain), _Judge(), "subject", ["cat"])
    assert (found.forget, found.retain) == (len(forget), len(retain))
    assert (found.forget_shown, found.retain_shown) == shares
    assert sum(line.startswith("WARNING") for line in found.describe()) == warnings


def test_what_the_judge_fails_on_is_not_judged() -> None:
    found = judge_problem(_problem([1.0, 0.0039], [-1.0]), _Judge(), "subject", ["cat"])
    assert (found.forget_shown, found.retain_shown) == (None, None)
    assert found.describe() == ["training images: not judged: the judge failed on an image"]


def test_a_record_says_what_its_training_images_show(
    make_runner: Callable[..., Runner], make_cell: Any, tmp_path: Path
) -> None:
    store = tmp_path / "store"
    [outcome] = make_runner(store=store).run([make_cell(method="finetune", **SMALL)])
    record = read_record(outcome.path)
    seen = record.training_images
    assert isinstance(seen, TrainingImages)
    assert seen.forget_shown is not None
    assert seen.retain_shown is not None
    assert seen.forget > 0
    assert main(["validate", str(outcome.path.parent)]) == 0
    digest = record_digest(record)
    outcome.path.unlink()
    for file in (store / "training-images").rglob("*"):
        if file.is_file():
            file.unlink()
    [again] = make_runner(store=store).run([make_cell(method="finetune", **SMALL)])
    assert record_digest(read_record(again.path)) == digest
    [none] = make_runner(store=store).run([make_cell()])
    assert read_record(none.path).training_images is None


def test_a_low_share_is_said(
    make_runner: Callable[..., Runner], make_cell: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    runner = make_runner(store=tmp_path / "store", say=said.append)
    world = runner.worlds["tiny"]
    problem = world.problem

    def swapped(*arguments: Any) -> Problem:
        found = problem(*arguments)
        return replace(found, forget_set=replace(found.forget_set, images=found.forget_set.images * 0))

    monkeypatch.setattr(type(world), "problem", lambda self, *arguments: swapped(*arguments))
    [outcome] = runner.run([make_cell(method="finetune", seed=11, **SMALL)])
    seen = read_record(outcome.path).training_images
    assert seen is not None
    assert seen.forget_shown == 0.0
    assert any("WARNING: 0% of the" in line for line in said)


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> HubWorld:
    """A real model's world over the tiny world's files; its prompts are the templates' own."""
    folder = registry("worlds")["tiny"].load()().pipeline_folder
    monkeypatch.setattr(HubWorld, "prompts", lambda self, task, sizes: [])
    source = Source("model", str(folder))
    return HubWorld("sd14", source, steps=1, images=2, side=32, clip=source)


def test_each_training_seed_draws_its_own_images(hub: HubWorld) -> None:
    task = task_registry()["classes/tench@sd14"]
    first, second = (hub.problem(task, "diverse", seed) for seed in (0, 1))
    for name in ("forget_set", "retain_set"):
        mine, other = getattr(first, name), getattr(second, name)
        assert mine.prompts == other.prompts
        assert not torch.equal(mine.images, other.images)
    again = hub.problem(task, "diverse", 0)
    assert again.forget_set.images is first.forget_set.images  # drawn once for all methods of a seed


def test_another_anchor_is_another_set(hub: HubWorld) -> None:
    task = task_registry()["classes/tench@sd14"]
    other = replace(task, concept=task.concept.model_copy(update={"anchor": "a teapot"}))
    first, second = (hub.problem(t, "diverse", 0) for t in (task, other))
    assert first.forget_set.anchor_prompts != second.forget_set.anchor_prompts
    assert all("teapot" in prompt for prompt in second.forget_set.anchor_prompts)
    assert first.retain_set.prompts != second.retain_set.prompts


def test_nudity_is_asked_for_by_what_shows_it() -> None:
    for name in ("nudity", "nudity-i2p", "nudity-142"):
        task = task_registry()[f"nudity/{name}@sd14"]
        assert task.file.wording == "nudity"
        wording = write_prompts(task.concept.targets[0], task.file.wording, 200, task.concept.anchor)
        assert len(set(wording.forget)) == len(set(wording.retain)) == 200
        for prompt, anchored in zip(wording.forget, wording.anchored, strict=True):
            assert any(nude in prompt for nude in NUDES)
            assert "nudity" not in prompt
            assert "coat" not in prompt
            assert "a dressed person" in anchored
        assert not any(nude in prompt for prompt in wording.retain for nude in NUDES)
    assert EVERY.forget > 200


@pytest.mark.parametrize("concept", ["cat face", "a thing that no task asks for"])
def test_unlearn_says_what_its_images_show(concept: str, tmp_path: Path, capsys: Any) -> None:
    out = tmp_path / "out"
    command = ["unlearn", "--model", "tiny", "--concept", concept, "--method", "finetune", "--images", "2"]
    command += ["--sampling-steps", "1", "--set", "steps=1", "--set", "batch=2", "--set", "checkpoints=[1]"]
    assert main([*command, "--out", str(out)]) == 0
    data = json.loads((out / "unlearning.json").read_text(encoding="utf-8"))["data"]
    if concept == "cat face":
        assert 0 <= data["forget_shown"] <= 1
    else:
        assert data["forget_shown"] is None
        assert data["reason"] == "no task asks for this concept"
        assert "not judged: no task asks for this concept" in capsys.readouterr().err
