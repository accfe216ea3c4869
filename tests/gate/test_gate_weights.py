"""`check` with a rule on weights, on real model folders: a cast passes, a damaged layer does not."""

import json
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import torch

from unlearnbench.bench.cli.main import main
from unlearnbench.bench.gate.check import _judge_weights
from unlearnbench.bench.gate.policy import Rule
from unlearnbench.bench.gate.weights import Change, largest_change
from unlearnbench.bench.models.generators import open_pipeline
from unlearnbench.bench.models.settings import describe_settings, name_differences
from unlearnbench.bench.running.catalog import registry
from unlearnbench.bench.running.runner import Runner

POLICY = """
name = "copies"
[sizes]
forget = 8
forget_samples = 1
retain_same = 4
retain_other = 4
retain_given = 0
indirect = 0
[[rules]]
metric = "weights"
change_at_most = 0.005
"""


@pytest.fixture
def base() -> Path:
    return Path(registry("worlds")["tiny"].load()().pipeline_folder)


@pytest.fixture
def check(
    make_runner: Callable[..., Runner], base: Path, session_store: Path, tmp_path: Path
) -> Callable[..., tuple[int, str]]:
    """Return check(candidate, *more) -> exit status and the finding's message."""
    policy, suite = tmp_path / "policy.toml", tmp_path / "suite.toml"
    policy.write_text(POLICY)
    head, tail = 'name = "base"\ntasks = ["classes/cat-face@tiny"]\n', '[[methods]]\nname = "none"\n'
    suite.write_text(head + POLICY[POLICY.index("[sizes]") : POLICY.index("[[rules]]")] + tail)
    places = ["--store", str(session_store), "--threads", "1"]
    assert main(["run", "--suite", str(suite), "--out", str(tmp_path / "base"), *places]) == 0
    [record] = (tmp_path / "base").glob("*.json")

    def run(candidate: Path, *more: str) -> tuple[int, str]:
        out = tmp_path / "report"
        sides = ["--baseline", str(record), "--candidate", str(candidate), "--policy", str(policy)]
        status = main(["check", *sides, *more, "--out", str(out), *places])
        if status == 3:
            return status, ""
        [case] = ElementTree.parse(out / "junit.xml").getroot().iter("testcase")
        return status, case[0].attrib["message"] if len(case) else ""

    return run


def test_a_cast_passes_and_a_damaged_layer_is_named(
    check: Callable[..., tuple[int, str]], base: Path, tmp_path: Path
) -> None:
    own = ("--baseline-model", str(base))
    assert check(base, *own) == (0, "")
    pipeline = open_pipeline(base, "cpu")
    pipeline.to(torch.bfloat16).save_pretrained(tmp_path / "half")
    assert check(tmp_path / "half", *own) == (0, "")
    pipeline = open_pipeline(base, "cpu")
    name, weight = next(item for item in pipeline.unet.named_parameters() if ".attn2." in item[0])
    noise = torch.randn(weight.shape, generator=torch.Generator().manual_seed(0))
    weight.data += 0.01 * weight.data.norm() * noise / noise.norm()
    pipeline.save_pretrained(tmp_path / "damaged")
    status, message = check(tmp_path / "damaged", *own)
    assert status == 1
    assert message.startswith("0.01; 1 of ")
    assert f"unet.{name} the most" in message


def test_without_the_baselines_model_nothing_is_told(
    check: Callable[..., tuple[int, str]], base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status, message = check(base)
    assert status == 2
    assert "--baseline-model FOLDER" in message
    pipeline = open_pipeline(base, "cpu")
    pipeline.to(torch.float16).save_pretrained(tmp_path / "other")
    assert check(base, "--baseline-model", str(tmp_path / "other")) == (3, "")
    assert "not the model that" in capsys.readouterr().err


def _edit(path: Path, **values: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | values), encoding="utf-8")


def _swap(folder: Path) -> None:
    """Exchange two words' numbers in the tokenizer."""
    for name in ("vocab.json", "tokenizer.json"):
        path = folder / "tokenizer" / name
        content = json.loads(path.read_text(encoding="utf-8"))
        words = content if name == "vocab.json" else content["model"]["vocab"]
        words["cat</w>"], words["dog</w>"] = words["dog</w>"], words["cat</w>"]
        path.write_text(json.dumps(content), encoding="utf-8")


CHANGES: dict[str, tuple[Callable[[Path], None], str]] = {
    "spacing": (
        lambda f: _edit(f / "scheduler/scheduler_config.json", timestep_spacing="linspace"),
        r"scheduler: timestep_spacing: \w+ -> linspace",
    ),
    "prediction": (
        lambda f: _edit(f / "scheduler/scheduler_config.json", prediction_type="sample"),
        r"scheduler: prediction_type: \w+ -> sample",
    ),
    "sampler": (
        lambda f: _edit(f / "model_index.json", scheduler=["diffusers", "DDPMScheduler"]),
        "scheduler: class: DDIMScheduler -> DDPMScheduler",
    ),
    "scale of latents": (
        lambda f: _edit(f / "vae/config.json", scaling_factor=0.5),
        r"vae: scaling_factor: [\d.]+ -> 0\.5",
    ),
    "activation": (
        lambda f: _edit(f / "text_encoder/config.json", hidden_act="gelu"),
        "text_encoder: hidden_act: quick_gelu -> gelu",
    ),
    "tokenizer": (_swap, r"tokenizer: vocabulary: (cat|dog)</w>: \d+ -> \d+"),
    "length of prompts": (
        lambda f: _edit(f / "tokenizer/tokenizer_config.json", model_max_length=8),
        r"tokenizer: longest: \d+ -> 8",
    ),
    "pipeline": (
        lambda f: _edit(f / "model_index.json", _class_name="StableDiffusionPAGPipeline"),
        "pipeline: class: StableDiffusionPipeline -> StableDiffusionPAGPipeline",
    ),
}


@pytest.mark.parametrize("kind", CHANGES)
def test_a_setting_that_decides_the_images_is_named(base: Path, tmp_path: Path, kind: str) -> None:
    change, said = CHANGES[kind]
    other = Path(shutil.copytree(base, tmp_path / "other"))
    change(other)
    found = _compare(base, other)
    assert found.differ == 0
    assert any(re.search(said, line) for line in found.settings), found.settings
    rule = Rule(metric="weights", change_at_most=0.005)
    finding = _judge_weights(rule, found)
    assert finding.state == "regressed"
    assert re.search(said, finding.reason)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_a_copy_in_any_precision_has_no_other_setting(base: Path, tmp_path: Path, dtype: torch.dtype) -> None:
    open_pipeline(base, "cpu").to(dtype).save_pretrained(tmp_path / "copy")
    found = _compare(base, tmp_path / "copy")
    assert (found.share, found.settings) == (0, ())


def _compare(before: Path, after: Path) -> Change:
    settings = [describe_settings(open_pipeline(model, "cpu")) for model in (before, after)]
    return replace(largest_change(before, after), settings=tuple(name_differences(*settings)))


def test_check_names_a_changed_scheduler(
    check: Callable[..., tuple[int, str]], base: Path, tmp_path: Path
) -> None:
    other = Path(shutil.copytree(base, tmp_path / "other"))
    _edit(other / "scheduler/scheduler_config.json", timestep_spacing="linspace")
    status, message = check(other, "--baseline-model", str(base))
    assert status == 1
    assert re.search(r"scheduler: timestep_spacing: \w+ -> linspace", message)
