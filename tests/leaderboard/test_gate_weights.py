"""`check` with a rule on weights, on real model folders: a cast passes, a damaged layer does not."""

from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import pytest
import torch

from unlearnbench.bench.cli import main
from unlearnbench.bench.cli_commands import registry
from unlearnbench.bench.generators import open_pipeline
from unlearnbench.bench.runner import Runner

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
