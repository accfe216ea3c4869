"""A world of drawn shapes, a few steps of each part, from the folder to the board; its judge, its tasks."""

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionPipeline

from unlearnbench.bench.checking.expected import expect
from unlearnbench.bench.cli.main import main
from unlearnbench.bench.errors import UserError
from unlearnbench.bench.judges.image_classifier import ClassifierNetwork, ImageJudge
from unlearnbench.bench.measuring.requests import list_requests
from unlearnbench.bench.planning.plan import find_suite
from unlearnbench.bench.planning.tasks import PromptSizes
from unlearnbench.bench.records.load import load
from unlearnbench.bench.records.record import read_items, read_record
from unlearnbench.bench.records.statements import list_records
from unlearnbench.bench.running.catalog import suites_folder, task_registry
from unlearnbench.bench.worlds.emoji.recipe.settings import UPSTREAM as EMOJI_PARTS
from unlearnbench.bench.worlds.images import world as worlds
from unlearnbench.bench.worlds.images.recipe import UPSTREAM, part_key
from unlearnbench.bench.worlds.images.spec import SETTINGS, ClassCaptioner, load_settings
from unlearnbench.bench.worlds.images.tasks import make_tasks
from unlearnbench.leaderboard.ranking.board import collect

PUBLISHED = Path(__file__).resolve().parents[2] / "results" / "fashion-mnist"
CLASSES = ["disc", "open ring", "square"]


def test_a_made_world_opens_in_plain_diffusers_and_says_what_was_measured(made: Path) -> None:
    pipeline = StableDiffusionPipeline.from_pretrained(made / "pipeline")
    pipeline.set_progress_bar_config(disable=True)
    image = pipeline("a disc", num_inference_steps=2, height=32, width=32, output_type="np").images[0]
    assert image.shape == (32, 32, 3)
    card = json.loads((made / "world.json").read_text())
    assert card["classes"] == CLASSES
    assert card["data"] | {"sha256": ""} == {
        "kind": "folders",
        "sha256": "",
        "training_images": 27,
        "test_images": 3,
    }
    assert card["classifier"]["test_images"] == card["classifier"]["round_trips"] == 3
    assert 0 <= card["classifier"]["test_accuracy"] <= 1


FEWER = {
    r"checkpoints = \[(30, )?60\]": "checkpoints = [1]",
    "steps = 60": "steps = 1",
    "batch = 16": "batch = 2",
    "forget = 16": "forget = 4",
    "forget_samples = 4": "forget_samples = 1",
    "retain_same = 48": "retain_same = 4",
    "retain_given = 96": "retain_given = 2",
    r"seeds = \[0, 1\]": "seeds = [0]",
}


def test_a_suite_runs_to_its_board_and_leaves_out_what_means_nothing(made: Path, tmp_path: Path) -> None:
    text = (made / "suite.toml").read_text(encoding="utf-8")
    for pattern, less in FEWER.items():
        text = re.sub(pattern, less, text)
    (tmp_path / "suite.toml").write_text(text, encoding="utf-8")
    out = tmp_path / "records"
    command = ["run", "--suite", str(tmp_path / "suite.toml"), "--world-folder", str(made), "--threads", "1"]
    command += ["--out", str(out), "--store", str(tmp_path / "store"), "--task", "classes/open-ring@shapes"]
    assert main([*command, "--skip", "finetune", "--skip", "gradient_sum", "--skip", "anchor_sum"]) == 0
    assert (out / "leaderboard" / "index.html").is_file()
    assert main(["validate", str(out), "--world-folder", str(made)]) == 0
    records = [read_record(path) for path in sorted(out.glob("*.json"))]
    assert [record.method.name for record in records] == ["anchor_balanced", "balanced", "none"]
    for record in records:
        values = record.points[-1].values
        assert (record.status, record.task.judge) == ("ok", "image-classifier@1")
        assert values["UA"].value is not None
        assert values["VA"] == values["IRA"]  # the class is all that a caption says
        assert values["KID"].value is not None
        for name in ("AS", "CRA", "in_prompt", "UA_indirect", "FD", "FID"):
            assert values[name].value is None, name
        items = read_items(out / f"{record.cell}.json", record)
        assert items is not None
        assert not items[items["split"] == "retain"]["prompt"].str.contains("open ring").any()
    for result in collect(load(out)):
        assert result.missing is None
        assert result.frontier is not None
        assert result.frontier.in_prompt is None


def test_a_made_worlds_folder_must_fit_the_task(made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--task", "classes/disc@shapes", "--world-folder", str(made)]) == 0
    assert main(["run", "--suite", "demo", "--world-folder", str(made)]) == 2
    assert "the world shapes; no task of this run is in it" in capsys.readouterr().err
    taken = ["pretrain", "images", "--data", str(made.parents[1] / "data"), "--name", "emoji"]
    assert main(taken) == 2
    assert "emoji: another world has this name" in capsys.readouterr().err
    assert main([*taken[:-1], "shapes", "--out", str(made.parents[1])]) == 2
    assert "is there already and is no world" in capsys.readouterr().err
    where = ["--world-folder", str(made), "--model", str(made / "pipeline")]
    assert main(["evaluate", "--task", "classes/cube@shapes", *where]) == 2
    assert "did you mean" in capsys.readouterr().err


def test_prompts_and_problems_keep_their_sides(made: Path) -> None:
    world = worlds.open_folder(made)
    task = task_registry(made)["classes/disc@shapes"]
    given = task.concept.given["subject"]
    prompts = world.prompts(task, PromptSizes(forget=5, retain_same=7, retain_given=4))
    split = {name: [p for p in prompts if p.split == name] for name in ("forget", "retain")}
    assert {p.asked["subject"] for p in split["forget"]} == {"disc"}
    assert {p.asked["subject"] for p in split["retain"]} == {"open ring", "square"}
    assert {p.asked["subject"] for p in split["retain"] if p.given} == set(given)
    assert (len(split["forget"]), len(split["retain"])) == (5, 11)
    assert {p.half for p in split["forget"]} == {"A", "B"}
    made = {data: world.problem(task, data, 0) for data in ("diverse", "narrow", "narrow-retain", "retain-1")}
    for data, problem in made.items():
        trained = {
            *problem.forget_set.prompts,
            *problem.retain_set.prompts,
            *problem.forget_set.anchor_prompts,
        }
        assert not trained & {p.text for p in world.prompts(task, PromptSizes(forget=99, retain_same=99))}
        assert all("disc" in text for text in problem.forget_set.prompts)
        assert not any("disc" in text for text in problem.retain_set.prompts)
        assert all(str(task.concept.anchor) in text for text in problem.forget_set.anchor_prompts)
        assert problem.forget_set.images.shape[1:] == (3, 32, 32)
        assert torch.equal(problem.forget_set.images, world.problem(task, data, 0).forget_set.images)
        assert problem.targets == tuple(task.concept.targets)
        assert set(problem.retained) <= set(task.concept.given["subject"]) - {*task.concept.targets}
        assert (problem.sampling.steps, problem.sampling.guidance) == (world.steps, world.guidance)
    wide, narrow, thin, one = made.values()
    assert torch.equal(thin.forget_set.images, wide.forget_set.images)
    assert thin.forget_set.prompts == wide.forget_set.prompts != narrow.forget_set.prompts
    assert len(set(thin.retain_set.prompts)) == len(set(narrow.retain_set.prompts))
    assert len(set(thin.retain_set.prompts)) < len(set(wide.retain_set.prompts))
    assert thin.retained == narrow.retained
    assert one.retained == tuple(given[:1])
    assert one.forget_set.prompts == wide.forget_set.prompts
    assert all(given[0] in text for text in one.retain_set.prompts)
    assert len(set(one.retain_set.prompts)) > 1
    with pytest.raises(UserError, match=f"takes 9 subjects of the task's `given`, which names {len(given)}"):
        world.problem(task, "retain-9", 0)
    assert not torch.equal(narrow.forget_set.images, world.problem(task, "narrow", 1).forget_set.images)


def test_published_prompts_can_be_checked_without_the_world(tmp_path: Path) -> None:
    """Records name the prompts by digest: the task file and the wordings that ship must give it."""
    absent = worlds.ImagesWorld("fashion-mnist", tmp_path / "absent")
    suite, tasks = find_suite("fashion-mnist", suites_folder()), task_registry()
    for name in suite.tasks:
        task = tasks[name]
        name = f"{task.id.replace('/', '-').replace('@', '-')}.balanced.*.json"
        path = next(path for path in list_records(PUBLISHED) if path.match(name))
        found = expect(list_requests(absent, task, suite.sizes, 0))
        assert found.digest == read_record(path).prompts_sha256
    given = [c.model_copy(update={"given": {"subject": ["cap"]}}) for c in task.file.concepts]
    odd = replace(task, file=task.file.model_copy(update={"concepts": given}))
    with pytest.raises(UserError, match="not a finished world"):
        absent.prompts(odd, suite.sizes)


def test_the_reference_leaves_the_forgotten_class_out_and_no_other(made: Path) -> None:
    world = worlds.open_folder(made)
    task = task_registry(made)["classes/disc@shapes"]
    whole, without = world.reference(), world.reference(task)
    assert (len(whole), len(without)) == (3, 2)
    assert {tuple(row) for row in without} < {tuple(row) for row in whole}


def test_the_words_of_evaluation_are_those_of_training_in_other_wordings() -> None:
    words = ClassCaptioner(["cat"]).words
    assert not {*words.train} & {*words.evaluation}
    assert len({*words.evaluation}) == len(words.evaluation)
    assert {w for t in words.evaluation for w in t.split()} <= {w for t in words.train for w in t.split()}
    assert ClassCaptioner(["ankle boot"]).caption(0, "a photo of {s}") == "a photo of an ankle boot"


def test_a_setting_changes_the_parts_that_depend_on_it() -> None:
    assert set(UPSTREAM) & set(EMOJI_PARTS) == {"autoencoder", "latents", "text", "unet"}
    spec = load_settings(SETTINGS, "x", ["a", "b"])
    changes: dict[str, Any] = {
        "seed": set(UPSTREAM),
        "classes": {"text", "unet"},
        "guidance": set(),
        "unet": {"unet"},
        "classifier": {"classifier"},
    }
    for name, expected in changes.items():
        value = getattr(spec, name)
        other = ["c", "d"] if name == "classes" else 7
        if hasattr(value, "steps"):
            other = value.model_copy(update={"steps": 1})
        less = spec.model_copy(update={name: other})
        assert {p for p in UPSTREAM if part_key(spec, "d", p) != part_key(less, "d", p)} == expected, name
    assert {p for p in UPSTREAM if part_key(spec, "d", p) != part_key(spec, "e", p)} == set(UPSTREAM)


def test_an_anchor_is_what_the_judge_confuses_most_and_is_given() -> None:
    confused = np.array([[9, 0, 3, 1], [0, 9, 0, 0], [0, 0, 9, 0], [4, 0, 2, 9]])
    tasks = make_tasks("w", ["a", "b", "c", "d e"], confused, "image-classifier@1")
    assert [c.anchor for c in tasks.concepts] == ["c", "c", "d e", "a"]
    assert [c.given["subject"] for c in tasks.concepts] == [
        ["c", "d e"],
        ["c", "d e"],
        ["d e", "a"],
        ["a", "b"],
    ]
    assert tasks.concepts[-1].name == "d-e"


def test_the_judge_names_what_it_is_sure_of() -> None:
    torch.manual_seed(0)
    card = {
        "version": 1,
        "pixels": 16,
        "width": 8,
        "classes": ["a", "b"],
        "temperature": 1.0,
        "threshold": 0.6,
    }
    network = ClassifierNetwork(16, 2, 8)
    with torch.no_grad():
        network.head.weight.zero_()
        network.head.bias.copy_(torch.tensor([2.0, 0.0, 0.0]))
    images = np.zeros((3, 16, 16, 3), dtype=np.uint8)
    verdicts = ImageJudge(card, network).judge(images, batch=2)
    assert list(verdicts.found["subject"]) == ["a"] * 3  # softmax: 0.787
    assert verdicts.features.shape == (3, 8)
    assert list(ImageJudge(card | {"threshold": 0.8}, network).judge(images).found["subject"]) == [""] * 3
    with pytest.raises(UserError, match="judges 16 px RGB images"):
        ImageJudge(card, network).judge(np.zeros((1, 8, 8, 3), dtype=np.uint8))


def test_a_world_that_is_not_there_says_how_it_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(worlds, "recipe_folder", lambda: tmp_path)
    assert main(["run", "--suite", "fashion-mnist", "--out", str(tmp_path / "x"), "--threads", "1"]) == 2
    said = capsys.readouterr().err
    assert "make it with: unlearnbench pretrain images --data FOLDER" in said
    assert len(said.strip().splitlines()) == 1
    assert main(["doctor", "--task", "classes/frog@cifar10"]) == 1
    assert "pretrain images --data FOLDER --name cifar10" in capsys.readouterr().out
    assert main(["run", "--world-folder", str(tmp_path)]) == 2
    assert main(["pretrain", "images"]) == 2
    assert main(["pretrain", "tiny", "--data", str(tmp_path)]) == 2
    assert "is only for `pretrain images`" in capsys.readouterr().err
