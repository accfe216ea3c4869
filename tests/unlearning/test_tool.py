"""The unlearning tool: prompts from templates, folders that plain diffusers opens, LoRA, bad input."""

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import DiffusionPipeline
from huggingface_hub import ModelCard

from unlearnbench._tool import find_task, place
from unlearnbench.bench.cli.main import main
from unlearnbench.bench.cli.unlearn import read_settings
from unlearnbench.bench.errors import UserError
from unlearnbench.bench.files import scratch_name
from unlearnbench.bench.models.generators import open_pipeline
from unlearnbench.bench.models.reading import find_unknown
from unlearnbench.bench.planning.tasks import PromptSizes
from unlearnbench.bench.running.catalog import registry, task_registry
from unlearnbench.bench.unlearning.card import read_licence, write_card, write_command
from unlearnbench.bench.unlearning.tool import UnlearnRequest, unlearn_model
from unlearnbench.bench.unlearning.writing import KINDS, NUDES, read_prompts, replace_concept, write_prompts

from ..methods.families import build_family

SMALL = {"steps": 2, "checkpoints": [1, 2], "batch": 2}


@pytest.fixture(scope="module")
def base() -> Path:
    return Path(registry("worlds")["tiny"].load()().pipeline_folder)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("anchor", [None, "a dog"])
def test_templates_give_prompts_that_differ_and_retain_none_of_the_concept(
    kind: Any, anchor: str | None
) -> None:
    found = write_prompts("Grumpy Cat", kind, 60, anchor)
    assert len(set(found.forget)) == len(set(found.retain)) == 60
    named = NUDES if kind == "nudity" else ("Grumpy Cat",)  # what shows it, where its name does not
    assert all(any(name in prompt for name in named) for prompt in found.forget)
    assert not any("grumpy cat" in prompt.lower() for prompt in (*found.retain, *found.anchored))
    if anchor:
        assert len(found.anchored) == 60
        assert sum("dog" in prompt for prompt in found.retain) >= 20
    assert len({p.replace("Grumpy Cat", "")[:12] for p in found.forget}) > 5  # not one template over and over


def test_more_prompts_than_templates_is_an_error() -> None:
    with pytest.raises(UserError, match="ask for fewer, or give files"):
        write_prompts("a cat", "style", 5000)


@pytest.mark.parametrize(
    ("prompt", "anchor", "expected"),
    [
        ("a cat on a hill", "dog", "a dog on a hill"),
        ("a cat on a hill", "owl", "an owl on a hill"),
        ("a photo of the Cat", "a dog", "a photo of a dog"),
        ("concatenated cats and a cat", "dog", "concatenated cats and a dog"),
        ("cat by a lake", "dog", "dog by a lake"),
    ],
)
def test_the_anchor_takes_the_concepts_place(prompt: str, anchor: str, expected: str) -> None:
    assert replace_concept(prompt, "cat", anchor) == expected


def test_the_folder_opens_in_plain_diffusers_and_differs_in_the_denoiser_alone(
    base: Path, tmp_path: Path
) -> None:
    order = UnlearnRequest(
        str(base), "cat face", anchor="dog face", images=4, config=SMALL, steps=2, guidance=3.0
    )
    said: list[str] = []
    out = unlearn_model(order, tmp_path / "out", say=said.append)
    before, after = (DiffusionPipeline.from_pretrained(str(p)) for p in (base, out))
    for name in ("vae", "text_encoder"):
        old, new = (getattr(p, name).state_dict() for p in (before, after))
        assert all(torch.equal(old[key], new[key]) for key in old)
    old, new = before.unet.state_dict(), after.unet.state_dict()
    assert any(not torch.equal(old[key], new[key]) for key in old)
    done = json.loads((out / "unlearning.json").read_text(encoding="utf-8"))
    assert done["weights_before"] != done["weights_after"]
    assert done["config"]["steps"] == 2
    assert str(base) not in (out / "unlearning.json").read_text(encoding="utf-8")  # no path of this machine
    card = (out / "README.md").read_text(encoding="utf-8")
    assert "without cat face" in card
    assert "unlearnbench evaluate --model" in card
    assert read_prompts(out / "forget_prompts.txt")[0] == "a photo of a cat face on a table"
    known = ("longer than the model reads", "does not know", "no task asks for this concept")
    assert all(any(words in line for words in known) for line in said)
    unknown = next(line for line in said if "does not know" in line)  # of the templates' words
    assert unknown.startswith("the model's vocabulary does not know photo, ")
    assert "cat" not in unknown.replace(",", "").split()


class LargeTokenizer:
    """A vocabulary that spells any letters, but does not know a Chinese sign."""

    unk_token, eos_token, model_max_length = "<unk>", "</s>", 77

    def __len__(self) -> int:
        return 32_128

    def tokenize(self, word: str) -> list[str]:
        return [self.unk_token] if word == "猫" else [*word]


def test_words_that_a_vocabulary_lacks_are_named(base: Path) -> None:
    pipeline = open_pipeline(base, "cpu")
    assert find_unknown(pipeline, ["a cat face", "A cat face, Giraffe!", "giraffe 猫"]) == ["giraffe", "猫"]
    assert find_unknown(pipeline, []) == []
    pipeline.tokenizer = LargeTokenizer()
    assert find_unknown(pipeline, ["giraffe 猫"]) == ["猫"]


def test_the_type_of_numbers_is_checked_and_recorded(base: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="--dtype half: choose one of auto, float32"):
        unlearn_model(UnlearnRequest(str(base), "cat face", dtype="half"), tmp_path / "none")
    weights, stated = {}, {}
    for dtype in ("float32", "bfloat16"):
        out = tmp_path / dtype
        order = UnlearnRequest(
            str(base), "cat face", "finetune", images=2, steps=1, config=SMALL, dtype=dtype,
            forget=("a cat face",), retain=("a dog face",),
        )  # fmt: skip
        unlearn_model(order, out)
        done = json.loads((out / "unlearning.json").read_text(encoding="utf-8"))
        weights[dtype], stated[dtype] = done["weights_after"], done["sampling"]["dtype"]
    assert stated == {"float32": "torch.float32", "bfloat16": "torch.bfloat16"}
    assert weights["float32"] != weights["bfloat16"]


def test_the_cards_metadata_links_a_hub_base_and_its_licence(tmp_path: Path) -> None:
    done = {
        "concept": "cat", "task": "", "anchor": None, "base_model": "owner/sd", "method": "balanced",
        "config": {"steps": 2}, "data": {"forget": 1, "retain": 1}, "weights_before": "a" * 64,
        "weights_after": "b" * 64,
    }  # fmt: skip
    (tmp_path / "README.md").write_text("---\nlicense: openrail\nbase: [x\n---\n")
    assert read_licence(tmp_path) is None  # no YAML
    (tmp_path / "README.md").write_text("---\nlicense: openrail\n---\ntext\n")
    data = ModelCard(write_card(done, lora=True, licence=read_licence(tmp_path))).data.to_dict()
    assert (data["base_model"], data["base_model_relation"]) == ("owner/sd", "adapter")
    assert (data["license"], data["library_name"]) == ("openrail", "diffusers")
    assert {"unlearnbench", "balanced", "lora"} <= set(data["tags"])
    local = ModelCard(write_card(done | {"base_model": "folder"})).data.to_dict()
    assert not {"base_model", "base_model_relation", "license"} & local.keys()


def test_equal_orders_give_equal_weights(base: Path, tmp_path: Path) -> None:
    order = UnlearnRequest(str(base), "cat face", images=3, config=SMALL, steps=2, method="gradient_sum")
    digests = [
        json.loads((unlearn_model(order, tmp_path / name) / "unlearning.json").read_text())["weights_after"]
        for name in ("a", "b")
    ]
    assert digests[0] == digests[1]


def test_a_lora_comes_alone_and_gives_the_same_images(base: Path, tmp_path: Path) -> None:
    config = SMALL | {"part": "lora", "rank": 2, "rate": 0.01}
    out = unlearn_model(
        UnlearnRequest(str(base), "cat face", images=3, config=config, steps=2), tmp_path / "lora"
    )
    assert (out / "pytorch_lora_weights.safetensors").is_file()
    assert not (out / "model_index.json").exists()
    plain, changed = (
        DiffusionPipeline.from_pretrained(str(base)),
        DiffusionPipeline.from_pretrained(str(base)),
    )
    changed.load_lora_weights(str(out))
    call = {"prompt": "a cat face", "num_inference_steps": 2, "height": 32, "width": 32, "output_type": "np"}
    images = [p(**call, generator=torch.Generator().manual_seed(0)).images for p in (plain, changed)]
    assert abs(images[0] - images[1]).max() > 1e-3


def test_prompt_files_are_used_word_for_word(base: Path, tmp_path: Path) -> None:
    forget, retain = ("a cat face on red", "the cat face"), ("a dog face", "a robot")
    order = UnlearnRequest(
        str(base),
        "cat face",
        "anchor_sum",
        anchor="dog face",
        forget=forget,
        retain=retain,
        config=SMALL,
        steps=2,
    )
    out = unlearn_model(order, tmp_path / "out")
    assert read_prompts(out / "forget_prompts.txt") == forget
    assert read_prompts(out / "retain_prompts.txt") == retain


def test_prompt_files_without_an_anchor_have_none(base: Path, tmp_path: Path) -> None:
    order = UnlearnRequest(
        str(base), "cat face", "anchor_sum", forget=("a cat face",), retain=("a robot",), config=SMALL
    )
    with pytest.raises(UserError, match="needs an anchor"):
        unlearn_model(order, tmp_path / "out")
    nameless = replace(order, anchor="dog face", forget=("a cat face", "a pet"))
    with pytest.raises(UserError, match="concept's name in every prompt"):
        unlearn_model(nameless, tmp_path / "out")


def _fails(*arguments: str) -> None:
    assert main(["unlearn", *arguments]) == 2


def test_mistakes_are_named_before_anything_is_drawn(
    base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    common = ("--model", str(base), "--concept", "cat face")
    full = tmp_path / "full"
    full.mkdir()
    (full / "x").write_text("mine")
    (tmp_path / "empty.txt").write_text("\n \n")
    cases = {
        "name a new folder": ("--out", str(full)),
        "no prompt in it": ("--out", str(tmp_path / "o"), "--forget-prompts", str(tmp_path / "empty.txt")),
        "did you mean balanced": ("--out", str(tmp_path / "o"), "--method", "balancd"),
        "ratte": ("--out", str(tmp_path / "o"), "--set", "ratte=1"),
        "key=value": ("--out", str(tmp_path / "o"), "--set", "rate"),
        "needs an anchor": ("--out", str(tmp_path / "o"), "--method", "anchor_sum", "--concept", "a thing"),
        "--kind thing": ("--out", str(tmp_path / "o"), "--kind", "thing"),
        "--image-size 25": ("--out", str(tmp_path / "o"), "--image-size", "25"),
        "--images 0": ("--out", str(tmp_path / "o"), "--images", "0"),
    }
    for message, arguments in cases.items():
        _fails(*common, *arguments)
        assert message in capsys.readouterr().err
    assert not (tmp_path / "o").exists()
    assert (full / "x").read_text() == "mine"


def test_settings_are_toml_values() -> None:
    assert read_settings(["rate=1e-5", "optimiser=sgd", "checkpoints=[1, 2]"]) == {
        "rate": 1e-5,
        "optimiser": "sgd",
        "checkpoints": [1, 2],
    }


def test_the_task_that_measures_a_concept_is_found() -> None:
    assert find_task("Cat Face", "emoji") == "classes/cat-face@emoji"
    assert find_task("Van Gogh", "emoji") == ""
    assert find_task("church", "sd15") == "classes/church@sd15"


def test_a_task_of_another_kind_of_model_is_never_suggested(base: Path, tmp_path: Path) -> None:
    """`dog` is a task of a world of 32 px photographs: no measure of somebody's Stable Diffusion."""
    model = tmp_path / "model"
    model.mkdir()
    (model / "model_index.json").write_text('{"_class_name": "StableDiffusionXLPipeline"}')
    assert place(UnlearnRequest(str(model), "dog")).task == ""
    assert place(UnlearnRequest(str(model), "church")).task == "classes/church@sdxl"
    assert place(UnlearnRequest("nobody/here", "church")).task == ""


def test_a_model_of_ones_own_is_measured_beside_its_own_base(tmp_path: Path) -> None:
    """A LoRA of Stable Diffusion 1.4 was to be put on 1.5, which the task's world has for its base."""
    model = tmp_path / "a model"
    model.mkdir()
    (model / "model_index.json").write_text('{"_class_name": "StableDiffusionPipeline"}')
    order = place(UnlearnRequest(str(model), "church"))
    command = write_command("out", order.base, order.task)
    assert command == (f"unlearnbench evaluate --model out --base-model '{model}' --task classes/church@sd15")
    assert place(UnlearnRequest("tiny", "cat face")).base == ""


def test_the_command_names_a_model_whose_folder_is_called_as_a_method() -> None:
    """`evaluate` refuses the name of a method, which the folder's own would be."""
    command = write_command("out/uce", "", "classes/church@sd15")
    assert command == "unlearnbench evaluate --model out/uce --task classes/church@sd15 --name my-uce"


@pytest.mark.parametrize("model", ["tiny", "folder"])
def test_a_worlds_own_model_is_asked_in_its_own_words(model: str) -> None:
    """The small text encoder of an embedded world knows no others; prompts that are given stay."""
    world = registry("worlds")["tiny"].load()()
    named = model if model == "tiny" else str(world.pipeline_folder)
    order = place(UnlearnRequest(named, "cat face", images=5))
    assert (order.model, order.steps, order.guidance) == (str(world.pipeline_folder), world.steps, 2.0)
    assert order.task == "classes/cat-face@tiny"
    assert order.anchor == "dog face"
    assert len(order.forget) == len(order.retain) == 5
    assert all("cat face" in prompt for prompt in order.forget)
    assert not any("cat face" in prompt for prompt in order.retain)
    evaluated = {p.text for p in world.prompts(task_registry()[order.task], PromptSizes())}
    assert not evaluated & {*order.forget, *order.retain}
    own = place(UnlearnRequest(named, "cat face", forget=("a cat face",), images=5))
    assert own.forget == ("a cat face",)
    assert own.task == order.task
    assert place(UnlearnRequest("somebody/elses", "cat face")).forget == ()


def test_a_preset_is_checked_before_anything_is_drawn(
    base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    order = ["unlearn", "--model", str(base), "--concept", "cat face", "--method", "esd_x", "--out", str(out)]
    assert main([*order, "--config", "papr"]) != 0
    [line] = capsys.readouterr().err.strip().splitlines()
    assert line.endswith("method esd_x: no preset named 'papr'; known: code-2025, paper")
    assert not out.exists()


def test_a_preset_and_settings_over_it_are_what_the_method_gets(base: Path, tmp_path: Path) -> None:
    out, small = tmp_path / "out", ["--images", "2", "--sampling-steps", "1", "--threads", "1"]
    order = ["unlearn", "--model", str(base), "--concept", "cat face", "--method", "uce", "--out", str(out)]
    assert main([*order, *small, "--config", "paper", "--set", "lam=0.25"]) == 0
    done = json.loads((out / "unlearning.json").read_text())
    assert done["config"]["lam"] == 0.25
    assert {"prompts": "name", "tokens": "last", "preserve_scale": 1.0}.items() <= done["config"].items()
    before, after = (DiffusionPipeline.from_pretrained(place).unet.state_dict() for place in (base, out))
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed
    assert all(name.endswith(("attn2.to_k.weight", "attn2.to_v.weight")) for name in changed)


def test_a_method_that_does_not_work_on_a_pipeline_is_refused_before_anything_is_drawn(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "tokens").mkdir()
    build_family("sd3", tmp_path / "tokens").save_pretrained(tmp_path / "sd3")
    out = tmp_path / "out"
    order = ["unlearn", "--model", str(tmp_path / "sd3"), "--concept", "cat", "--out", str(out)]
    assert main([*order, "--method", "fmn"]) != 0
    [line] = capsys.readouterr().err.strip().splitlines()
    assert line.endswith("fmn: does not work on StableDiffusion3Pipeline; it works on: sd, sdxl")
    assert not out.exists()


def _order(base: Path) -> UnlearnRequest:
    return UnlearnRequest(
        str(base), "cat face", method="balanced", images=2, config=SMALL, steps=1, image_size=32
    )


@pytest.mark.parametrize("what", ["hook", "text encoder", "nan"])
def test_a_model_that_a_folder_would_not_hold_is_not_written(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    def unlearn(pipeline: Any, problem: Any, config: Any, save: Any) -> None:
        if what == "hook":
            pipeline.unet.register_forward_hook(lambda module, given, found: None)
        part = pipeline.text_encoder if what == "text encoder" else pipeline.unet
        with torch.no_grad():
            next(part.parameters()).mul_(float("nan") if what == "nan" else 1.5)
        save(1, {"step": [1]})

    monkeypatch.setattr("unlearnbench.methods.balanced.unlearn", unlearn)
    expected = {"hook": "hooks", "text encoder": "text_encoder", "nan": "diverged"}[what]
    with pytest.raises((UserError, FloatingPointError), match=expected):
        unlearn_model(_order(base), tmp_path / "out")
    assert not (tmp_path / "out").exists()


PROMPTS = {"forget": ("a cat",), "retain": ("a dog",)}


def _file(folder: Path) -> Path:
    (folder / "out").write_text("mine")
    return folder / "out"


def _filled(folder: Path) -> Path:
    (folder / "out").mkdir()
    (folder / "out" / "mine").write_text("mine")
    return folder / "out"


def _below_file(folder: Path) -> Path:
    return _file(folder) / "below" / "model"


def _broken_link(folder: Path) -> Path:
    (folder / "out").symlink_to(folder / "nowhere")
    return folder / "out"


def _long(folder: Path) -> Path:
    return folder / ("n" * 300)


@pytest.mark.parametrize("make", [_file, _filled, _below_file, _broken_link, _long])
def test_an_output_that_cannot_be_is_refused_before_any_work(
    base: Path, tmp_path: Path, make: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(
        "unlearnbench.bench.unlearning.tool.open_pipeline", lambda *_: pytest.fail("opened a model")
    )
    out = make(tmp_path)
    before = {path: path.is_file() and path.read_text() for path in tmp_path.rglob("*")}
    assert main(["unlearn", "--model", str(base), "--concept", "cat", "--out", str(out)]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1
    assert {path: path.is_file() and path.read_text() for path in tmp_path.rglob("*")} == before


def test_a_disk_with_too_little_room_is_found_before_training(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import shutil
    from collections import namedtuple

    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(10, 9, 1))
    monkeypatch.setattr("unlearnbench.bench.unlearning.tool._train", lambda *_: pytest.fail("trained"))
    with pytest.raises(UserError, match="are free on this disk"):
        unlearn_model(UnlearnRequest(str(base), "cat", config=SMALL, steps=2, **PROMPTS), tmp_path / "out")  # type: ignore[arg-type]


@pytest.mark.parametrize("error", [KeyboardInterrupt(), OSError(28, "No space left on device")])
def test_a_save_that_breaks_leaves_no_half_of_a_model(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    """Nothing lies at the model's place, the same command works again, and other people's files stay."""
    from unlearnbench.bench.unlearning import tool

    whole = tool._save

    def broken(pipeline: Any, adapters: Any, out: Path) -> None:
        whole(pipeline, adapters, out)
        raise error

    (tmp_path / ".mine.tmp").mkdir()
    order = UnlearnRequest(str(base), "cat", config=SMALL, steps=2, **PROMPTS)  # type: ignore[arg-type]
    with monkeypatch.context() as patch:
        patch.setattr(tool, "_save", broken)
        with pytest.raises((UserError, KeyboardInterrupt)):
            unlearn_model(order, tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == [".mine.tmp"]
    killed = tmp_path / scratch_name().replace(f"-{os.getpid()}-", "-999999999-")
    killed.mkdir()
    (killed / "unet").touch()
    unlearn_model(order, tmp_path / "out")
    assert sorted(path.name for path in tmp_path.iterdir()) == [".mine.tmp", "out"]
    DiffusionPipeline.from_pretrained(tmp_path / "out")


def test_a_world_never_replaces_a_folder_with_other_files(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.txt").write_text("mine")
    command = ["pretrain", "tiny", "--work", str(tmp_path / "work"), "--out", str(tmp_path / "out")]
    assert main([*command, "--stages", "export"]) == 2
    assert "thesis.txt, which no world holds" in capsys.readouterr().err
    assert (tmp_path / "out" / "thesis.txt").read_text() == "mine"
