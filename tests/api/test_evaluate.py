"""`evaluate`: functions, pipelines and folders; `unlearn`; the gate from Python."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import unlearnbench as ub
from unlearnbench.bench.models.generators import open_pipeline
from unlearnbench.bench.running.catalog import registry

SIZES = {
    "forget": 4,
    "forget_samples": 2,
    "retain_same": 3,
    "retain_other": 3,
    "retain_given": 2,
    "indirect": 3,
}
TASK = "classes/cat-face@tiny"


@pytest.fixture
def evaluate(session_store: Path, tmp_path: Path) -> Callable[..., ub.MeasuredRecord]:
    def make(generator: Any, **options: Any) -> ub.MeasuredRecord:
        given = {"out": tmp_path / "records", "store": session_store, "threads": 1, "sizes": SIZES} | options
        return ub.evaluate(generator, TASK, **given)

    return make


def folder() -> Path:
    place: Path = registry("worlds")["tiny"].load()().pipeline_folder
    return place


def painter(shade: int) -> Callable[[list[str], list[int]], Any]:
    def paint(prompts: list[str], seeds: list[int]) -> Any:
        return np.full((len(prompts), 32, 32, 3), shade, np.uint8)

    return paint


def test_two_functions_never_share_images(evaluate: Callable[..., ub.MeasuredRecord]) -> None:
    """Both are called `paint`, out of one line of code: only what they close over differs."""
    black, white = evaluate(painter(0)), evaluate(painter(255))
    assert black.inline
    assert white.inline
    assert black.method.name == white.method.name == "paint"
    assert black.points[0].fingerprint != white.points[0].fingerprint
    for record, flat in ((black, 0), (white, 255)):
        items = record.items if record is white else None  # the record of the name was measured again
        if items is not None:
            assert set(items["image_sha256"]) == {digest(flat)}
    calls: list[int] = []

    def counted(prompts: list[str], seeds: list[int]) -> Any:
        calls.append(len(prompts))
        return painter(7)(prompts, seeds)

    evaluate(counted)
    once = sum(calls)
    evaluate(counted)
    assert sum(calls) == 2 * once, "a function may have changed inside: it draws every time"


def digest(shade: int) -> str:
    from unlearnbench.bench.measuring.items import image_digest

    return image_digest(np.full((32, 32, 3), shade, np.uint8))


def test_several_functions_are_points_of_one_frontier(evaluate: Callable[..., ub.MeasuredRecord]) -> None:
    def other(prompts: list[str], seeds: list[int]) -> Any:
        return painter(9)(prompts, seeds)

    record = evaluate([painter(0), other], name="mine")
    assert [point.label for point in record.points] == ["paint", "other"]
    assert record.method.config == {"points": ["paint", "other"]}


def test_a_function_that_gives_no_images_is_named(evaluate: Callable[..., ub.MeasuredRecord]) -> None:
    with pytest.raises(ub.UserError, match="needed: a list or array of images"):
        evaluate(lambda prompts, seeds: None)


def test_a_pipeline_is_measured_as_its_folder_is(evaluate: Callable[..., ub.MeasuredRecord]) -> None:
    object_, place = open_pipeline(folder(), "cpu"), evaluate(folder(), name="folder")
    found = evaluate(object_, name="object")
    assert not found.inline
    assert found.points[0].fingerprint == place.points[0].fingerprint
    assert found.points[0].values["UA"] == place.points[0].values["UA"]
    with torch.no_grad():
        next(object_.unet.parameters()).mul_(0.5)
    changed = evaluate(object_, name="changed")
    assert changed.points[0].fingerprint != found.points[0].fingerprint


def test_a_pipeline_that_saving_changes_is_refused(evaluate: Callable[..., ub.MeasuredRecord]) -> None:
    hooked = open_pipeline(folder(), "cpu")
    hooked.unet.register_forward_hook(lambda *given: None)
    with pytest.raises(ub.UserError, match="hook"):
        evaluate(hooked)
    patched = open_pipeline(folder(), "cpu")
    patched.unet.mid_block.forward = patched.unet.mid_block.forward
    with pytest.raises(ub.UserError, match="mid_block"):
        evaluate(patched)


@pytest.mark.parametrize(
    ("generator", "options", "said"),
    [
        (3, {}, "generator: int: give a folder"),
        ("nobody", {}, "no such folder"),
        ([], {}, "0 given"),
        (painter(0), {"name": "balanced"}, "is a method of this package"),
        (painter(0), {"policy": "model-update"}, "one of the three"),
        (painter(0), {"sizes": {"forgets": 3}}, "sizes: forgets"),
    ],
)
def test_mistakes_are_one_line(
    evaluate: Callable[..., ub.MeasuredRecord], generator: Any, options: dict[str, Any], said: str
) -> None:
    with pytest.raises(ub.UserError, match=said):
        evaluate(generator, **options)


def test_the_gate_from_python(evaluate: Callable[..., ub.MeasuredRecord], session_store: Path) -> None:
    record = evaluate(folder(), name="released")
    found = ub.check(record.path, record.path, "model-update")
    assert found.verdict in (0, 1, 2)
    assert len(found.frame()) == len(found.findings) > 0
    assert "<table" in found._repr_html_()
    with pytest.raises(ub.UserError, match="absent"):
        ub.check("absent.json", record.path, "model-update")


def test_unlearning_from_python(tmp_path: Path) -> None:
    said: list[str] = []
    made = ub.unlearn(
        "tiny",
        "cat face",
        "finetune",
        out=tmp_path / "new",
        images=2,
        settings={"steps": 1, "checkpoints": [1], "batch": 2},
        sampling_steps=1,
        threads=1,
        say=said.append,
    )
    assert (made.folder, made.task, made.base) == (tmp_path / "new", TASK, "")
    assert (made.folder / "model_index.json").is_file()
    assert "unlearnbench evaluate --model" in made.command
    assert said
    with pytest.raises(ub.UserError, match="--kind thing"):
        ub.unlearn("tiny", "cat face", out=tmp_path / "other", kind="thing")  # type: ignore[arg-type]
