"""The world of UnlearnCanvas on a tiny pipeline: prompts, sampler, plan, and whole cells of both families."""

import re
from collections import Counter
from dataclasses import replace
from functools import wraps
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import save_file, save_model

from unlearnbench.bench.cli.main import main
from unlearnbench.bench.errors import UserError
from unlearnbench.bench.judges import unlearncanvas
from unlearnbench.bench.judges.unlearncanvas import OBJECTS, STYLES, CanvasJudge
from unlearnbench.bench.models.generators import Generator, Sampling, open_pipeline
from unlearnbench.bench.models.points import ModelHolder
from unlearnbench.bench.models.sampling import Request, draw_batch
from unlearnbench.bench.models.settings import set_scheduler
from unlearnbench.bench.planning.plan import Cell, MethodRow, Suite
from unlearnbench.bench.planning.tasks import PromptSizes, Task, read_task_file
from unlearnbench.bench.records.record import read_items, read_record
from unlearnbench.bench.running.catalog import registry, suites_folder, task_registry
from unlearnbench.bench.running.keys import train_key
from unlearnbench.bench.worlds.hub.crossed import cross_prompts, write_crossed
from unlearnbench.bench.worlds.hub.protocols import answer_prompt
from unlearnbench.bench.worlds.hub.world import EVERY

from .test_hub import save_models

SEEDS = {188, 288, 588, 688, 888}
TASKS = {task.id: task for task in task_registry().values() if task.file.world == "unlearncanvas"}
STYLE, OBJECT = TASKS["styles/van-gogh@unlearncanvas"], TASKS["classes/cats@unlearncanvas"]
TINY_VIT = "test_vit"


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A tiny Stable Diffusion folder, a tiny open_clip folder, tiny classifiers of the two kinds of file."""
    made = save_models(tmp_path_factory.mktemp("canvas"))
    weights = made["data"] / "unlearncanvas"
    weights.mkdir(parents=True)
    save_model(_network(STYLES), str(weights / "style.safetensors"))
    torch.save({"model_state_dict": _network(OBJECTS).state_dict()}, weights / "object.pth")
    return made


def _network(names: tuple[str, ...]) -> Any:
    torch.manual_seed(len(names))
    return timm.create_model(TINY_VIT, pretrained=False, num_classes=len(names))


@pytest.fixture
def world(places: dict[str, Path]) -> Any:
    opened = registry("worlds")["unlearncanvas"].load()()
    return opened.placed(source=places["model"], clip=places["clip"], data=places["data"], steps=2, images=4)


def test_every_style_and_object_is_a_task_that_its_judge_knows() -> None:
    for family, names, others in (("styles", STYLES, OBJECTS), ("classes", OBJECTS, STYLES)):
        own = [task for task in TASKS.values() if task.file.family == family]
        assert sorted(task.concept.targets[0] for task in own) == sorted({*names} - {"Seed_Images"})
        for task in own:
            assert tuple(task.file.names) == names
            assert task.file.crossed is not None
            assert tuple(task.file.crossed.names) == others
            given = task.concept.given[task.file.target_kind]
            assert task.concept.anchor in given  # it is drawn for the methods, so it is not unseen
            assert not {*given} & {*task.concept.targets}
            assert {*given} <= {*names}


@pytest.mark.parametrize(("task", "forget", "retain"), [(STYLE, 100, 5000), (OBJECT, 255, 4845)])
def test_the_whole_answer_set_is_asked_once(task: Task, forget: int, retain: int) -> None:
    prompts = cross_prompts(task, EVERY)
    count = Counter(prompt.split for prompt in prompts)
    assert (count["forget"], count["retain"]) == (forget, retain)
    pairs = {(p.asked["style"], p.asked["subject"], p.seed) for p in prompts}
    assert len(pairs) == len({p.id for p in prompts}) == 51 * 20 * 5
    assert {p.seed for p in prompts} == SEEDS
    for p in prompts:
        assert p.text == answer_prompt(p.asked["style"], p.asked["subject"])
        assert (p.split == "forget") == (p.asked[p.target_kind] in task.concept.targets)
        assert p.given == (p.asked[p.target_kind] in task.concept.given[p.target_kind])
    assert {p.half for p in prompts if p.split == "forget"} == {"A", "B"}


@pytest.mark.parametrize("task", [STYLE, OBJECT])
def test_few_prompts_cover_all_names_evenly(task: Task) -> None:
    kind, other = task.file.target_kind, "subject" if task.file.target_kind == "style" else "style"
    others = len(task.file.crossed.names)  # type: ignore[union-attr]
    fresh = len(task.file.names) - 1 - len(task.concept.given[kind])
    prompts = cross_prompts(task, PromptSizes(forget=others, retain_same=2 * fresh, retain_given=7))
    for split, given, number in (
        ("forget", False, others),
        ("retain", False, 2 * fresh),
        ("retain", True, 7),
    ):
        part = [p for p in prompts if (p.split, p.given) == (split, given)]
        assert len(part) == number
        for counts in (Counter(p.asked[kind] for p in part), Counter(p.asked[other] for p in part)):
            assert max(counts.values()) - min(counts.values()) <= 1
        assert len({p.seed for p in part}) == 5
        if number == 2 * fresh:
            assert len({p.asked[kind] for p in part}) == fresh
            assert len({p.asked[other] for p in part}) >= min(others, 2 * fresh - 1)


def test_no_training_prompt_is_an_evaluation_prompt() -> None:
    for task in TASKS.values():
        asked = {
            prompt.text
            for prompt in cross_prompts(task, PromptSizes(forget=255, retain_same=0, retain_given=0))
        }
        told = write_crossed(task, 200, asked)
        assert len({*told.forget}) == len({*told.retain}) == len(told.anchored) == 200
        target, anchor = (str(n).replace("_", " ") for n in (task.concept.targets[0], task.concept.anchor))
        anchor = anchor.replace("Seed Images", "Photo")
        assert not any("Seed Images" in text for text in (*told.forget, *told.retain))
        assert tuple(re.sub(rf"\b{target}\b", anchor, text) for text in told.forget) == told.anchored
        assert not any(f" {target} " in f" {text} ".replace(",", " ") for text in told.retain)
        assert not any(text.endswith("style.") for text in (*told.forget, *told.retain))
    with pytest.raises(UserError, match="give 320 training prompts, not 321"):
        write_crossed(STYLE, 321)
    bare = replace(STYLE, concept=STYLE.concept.model_copy(update={"given": {}}))
    with pytest.raises(UserError, match="given: names no style"):
        write_crossed(bare, 4)


def test_what_concepts_say_alike_is_said_once(tmp_path: Path) -> None:
    path = tmp_path / "x.toml"
    head = 'family = "x"\nworld = "w"\nversion = 1\nsummary = ""\njudge = "j@1"\ntarget_kind = "style"\n'
    rest = (
        '[[concepts]]\nname = "a"\ntargets = ["A"]\n[[concepts]]\nname = "b"\ntargets = ["B"]\nanchor = "c"\n'
    )
    path.write_text(head + '[each]\nrole = "evaluated"\nanchor = "z"\ngiven = {}\n' + rest)
    assert [c.anchor for c in read_task_file(path).concepts] == ["z", "c"]
    path.write_text(head + '[each]\nrole = "evaluated"\nanchr = "z"\ngiven = {}\n' + rest)
    with pytest.raises(UserError, match=r"x.toml: concepts.0.anchr"):
        read_task_file(path)
    path.write_text(head + "each = 3\n" + rest)
    with pytest.raises(UserError, match="each: must be a table"):
        read_task_file(path)


def test_the_sampler_is_ddim_whatever_the_folder_names(places: dict[str, Path], world: Any) -> None:
    from diffusers import FlowMatchEulerDiscreteScheduler, PNDMScheduler

    assert (world.steps, world.guidance, world.scheduler) == (2, 9.0, "ddim")
    assert registry("worlds")["unlearncanvas"].load()().steps == 100
    pipeline = open_pipeline(places["model"], "cpu")
    pipeline.scheduler = PNDMScheduler(beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012)
    own = pipeline.scheduler.alphas_cumprod
    set_scheduler(pipeline, "")
    assert type(pipeline.scheduler) is PNDMScheduler
    set_scheduler(pipeline, "ddim")
    ddim = pipeline.scheduler
    assert type(ddim).__name__ == "DDIMScheduler"
    torch.testing.assert_close(ddim.alphas_cumprod, own)
    ddim.set_timesteps(100)
    assert ddim.timesteps.tolist() == list(range(991, 0, -10))  # 1, 11, ..., 991 as in the first code
    assert ddim.final_alpha_cumprod == own[0]
    assert not ddim.config.clip_sample
    pipeline.scheduler = FlowMatchEulerDiscreteScheduler()
    with pytest.raises(UserError, match="FlowMatchEulerDiscreteScheduler: has no noise levels"):
        set_scheduler(pipeline, "ddim")
    with pytest.raises(UserError, match="'dmid' is not known; known: ddim"):
        set_scheduler(pipeline, "dmid")


def test_another_sampler_is_another_generator(places: dict[str, Path], world: Any) -> None:
    plain, named = Sampling(2, 9.0, 16, 16), Sampling(2, 9.0, 16, 16, scheduler="ddim")
    assert "scheduler" not in plain.stated()
    assert named.stated()["scheduler"] == "ddim"
    folder = ModelHolder(str(places["model"]), plain, "cpu")
    forced = ModelHolder(str(places["model"]), named, "cpu")
    assert folder.fingerprint != forced.fingerprint
    etas = []
    step = type(forced.pipeline.scheduler).step

    @wraps(step)  # its parameters are asked for eta
    def watched(self: Any, *args: Any, **options: Any) -> Any:
        etas.append(options.get("eta"))
        return step(self, *args, **options)

    forced.pipeline.scheduler.step = watched.__get__(forced.pipeline.scheduler)
    request = [Request("a cat", 188)]
    drawn = draw_batch(forced.generator("", None), request)
    assert etas == [0.0, 0.0]
    assert not np.array_equal(drawn, draw_batch(Generator(folder.pipeline, plain, ""), request))
    row = MethodRow(name="finetune", config={"steps": 1})
    cell = Cell(
        Suite(name="x", tasks=[STYLE.id], methods=[row]), STYLE, row, registry("methods")["finetune"], 0
    )
    assert train_key(cell, world, "cpu", 1) != train_key(cell, world.placed(scheduler=""), "cpu", 1)


def test_other_classifiers_change_the_keys_and_absent_ones_are_said(world: Any, tmp_path: Path) -> None:
    folder = tmp_path / "unlearncanvas"
    folder.mkdir()
    with pytest.raises(UserError, match=r"style.pth: no such file \(nor style.safetensors\)"):
        world.placed(data=tmp_path).inputs(STYLE)
    for name in ("style.pth", "object.pth"):
        (folder / name).write_bytes(b"x")
    first = world.placed(data=tmp_path).inputs(STYLE)
    save_file({"y": torch.zeros(1)}, folder / "object.safetensors")  # is taken where both are there
    assert world.placed(data=tmp_path).inputs(STYLE) != first


def test_a_name_that_its_classifiers_do_not_know_is_refused(world: Any) -> None:
    judge = CanvasJudge(None, torch.nn.Identity(), torch.nn.Identity())
    assert judge.knowing(STYLE.file) is judge
    with pytest.raises(UserError, match="no style 'Vaporwave' of UnlearnCanvas"):
        judge.knowing(STYLE.file.model_copy(update={"names": ["Van_Gogh", "Vaporwave"]}))


def test_a_dry_run_plans_and_names_what_is_missing(
    places: dict[str, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    assert main(["run", "--suite", "unlearncanvas-pilot", "--dry-run"]) == 1
    said = capsys.readouterr().out
    for part in (
        "name its folder with --model FOLDER",
        "unlearncanvas/style.pth",
        "unlearncanvas/object.pth",
    ):
        assert f"MISSING; {part}" in said or f"MISSING; put it at data/{part}" in said
    assert "4 of 4 missing" in said
    assert main(["run", "--suite", "unlearncanvas-pilot"]) == 2
    assert "not here; name its folder with --model FOLDER" in capsys.readouterr().err
    here = ["--model", str(places["model"]), "--clip", str(places["clip"]), "--data", str(places["data"])]
    assert main(["doctor", "--task", STYLE.id, *here]) == 0
    assert "nothing is missing" in capsys.readouterr().out


def test_cells_of_both_families_run_on_a_tiny_model(
    places: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unlearncanvas, "ARCHITECTURE", TINY_VIT)
    monkeypatch.setattr(unlearncanvas, "SIDE", 160)
    suite = tmp_path / "pilot.toml"
    text = (suites_folder() / "unlearncanvas-pilot.toml").read_text(encoding="utf-8")
    for long, short in (
        ("steps = 100\ncheckpoints = [50, 100]", "steps = 1\ncheckpoints = [1]"), ("batch = 8", "batch = 2"),
        ('"styles/mosaic@unlearncanvas", ', ""), ("forget = 20", "forget = 5"),
        ("retain_same = 45", "retain_same = 6"), ("retain_given = 10", "retain_given = 2"),
        ("unlearncanvas-pilot", "canvas-small"),
    ):  # fmt: skip
        assert long in text
        text = text.replace(long, short)
    suite.write_text(text, encoding="utf-8")
    out = tmp_path / "records"
    command = [
        "run", "--suite", str(suite), "--model", str(places["model"]), "--clip", str(places["clip"]),
        "--data", str(places["data"]), "--sampling-steps", "1", "--training-images", "2", "--threads", "1",
        "--skip", "balanced", "--out", str(out), "--store", str(tmp_path / "store"),
    ]  # fmt: skip
    assert main(command) == 0
    records = [read_record(path) for path in sorted(out.glob("*.json"))]
    assert [record.status for record in records] == ["ok"] * 4
    for record in records:
        assert record.sampling["scheduler"] == "ddim"
        values = record.points[-1].values
        assert all(
            values[name].value is not None for name in ("UA", "IRA", "CRA", "IRA_given", "CRA_given", "AS")
        )
        items = read_items(out / f"{record.cell}.json", record)
        assert items is not None
        assert set(items["seed"]) == SEEDS
        assert (items[["asked_style", "asked_subject"]] != "").all(axis=None)
        assert {*items["found_style"]} <= {*STYLES}
        assert {*items["found_subject"]} <= {*OBJECTS}
        fresh = items[(items["split"] == "retain") & ~items["given"]]
        other = "style" if record.task.family == "classes" else "subject"
        hits = (fresh[f"asked_{other}"] == fresh[f"found_{other}"]).mean()
        assert values["CRA"].value == pytest.approx(hits, abs=1e-6)
    assert main(["validate", str(out)]) == 0  # its prompts are the task's, told from the rows alone
