"""Somebody's models as points: folders, LoRAs and Python functions, next to what cannot be one."""

import shutil
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from unlearnbench.bench.cli.main import main
from unlearnbench.bench.errors import UserError
from unlearnbench.bench.models.generators import Sampling, open_pipeline
from unlearnbench.bench.models.lora import load_lora
from unlearnbench.bench.models.outside import _once, kind_of, load_function, model_digest, name_models
from unlearnbench.bench.models.points import ModelHolder
from unlearnbench.bench.models.sampling import Drawing, Request, draw_batch
from unlearnbench.bench.planning.plan import Cell
from unlearnbench.bench.records.record import read_items, read_record
from unlearnbench.bench.running.catalog import registry
from unlearnbench.bench.running.runner import Runner
from unlearnbench.bench.store import Store

from ..conftest import SMALL


@pytest.fixture
def base() -> Path:
    return Path(registry("worlds")["tiny"].load()().pipeline_folder)


def _lora(base: Path, folder: Path, scale: float, alpha: int = 2) -> Path:
    """Save a LoRA of the tiny world's UNet, of rank 2; scale 0: it changes nothing."""
    from diffusers import StableDiffusionPipeline
    from peft import LoraConfig
    from peft.utils import get_peft_model_state_dict

    pipeline = open_pipeline(base, "cpu")
    torch.manual_seed(0)
    parts = {"r": 2, "lora_alpha": alpha, "target_modules": ["to_q", "to_v"]}
    parts |= {"rank_pattern": {}, "alpha_pattern": {}}  # diffusers 0.36 asks for them
    pipeline.unet.add_adapter(LoraConfig(**parts, init_lora_weights="gaussian"))
    for name, tensor in pipeline.unet.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(tensor, std=scale)
    state = get_peft_model_state_dict(pipeline.unet)
    StableDiffusionPipeline.save_lora_weights(str(folder), state, unet_lora_adapter_metadata=parts)
    return folder


def _evaluate(make_runner: Callable[..., Runner], cell: Cell, *models: str) -> Any:
    row = cell.row.model_copy(update={"name": "mine", "config": {"points": [Path(m).name for m in models]}})
    [outcome] = make_runner().run([replace(cell, row=row, models=models)])
    record = read_record(outcome.path)
    assert record.status == "ok", record.error
    items = read_items(outcome.path, record)
    assert items is not None
    return record, items


def test_a_folder_and_loras_are_points_of_one_frontier(
    make_runner: Callable[..., Runner], make_cell: Any, base: Path, tmp_path: Path
) -> None:
    nothing, strong = _lora(base, tmp_path / "nothing", 0.0), _lora(base, tmp_path / "strong", 1.0)
    file = strong / "pytorch_lora_weights.safetensors"
    alone = strong.with_name("alone.safetensors")
    alone.write_bytes(file.read_bytes())
    record, items = _evaluate(make_runner, make_cell(), str(base), str(nothing), str(strong), str(alone))
    assert [point.label for point in record.points] == [base.name, "nothing", "strong", "alone"]
    assert [point.step for point in record.points] == [1, 2, 3, 4]
    assert not record.method.reference
    own = {i: list(rows["image_sha256"]) for i, rows in items.groupby("point")}
    [none] = make_runner().run([make_cell()])
    base_items = read_items(none.path, read_record(none.path))
    assert base_items is not None
    assert own[0] == list(base_items["image_sha256"])  # the base's own folder draws the base's images
    assert own[1] == own[0]  # a LoRA of zeros changes no image
    assert own[2] != own[0]
    assert own[3] == own[2]  # the file alone is the folder's


def test_a_lora_that_fits_in_part_is_refused(base: Path, tmp_path: Path) -> None:
    """diffusers loads what fits and warns of the rest: a model that nobody trained would be measured."""
    from safetensors.torch import load_file, save_file

    tensors = load_file(_lora(base, tmp_path / "whole", 1.0) / "pytorch_lora_weights.safetensors")
    mixed = {n.replace("up_blocks.0", "up_blocks.9"): tensor for n, tensor in tensors.items()}
    assert mixed.keys() != tensors.keys()
    assert mixed.keys() & tensors.keys()
    save_file(mixed, tmp_path / "mixed.safetensors")
    with pytest.raises(UserError, match=r"mixed\.safetensors: .* of its tensors"):
        load_lora(open_pipeline(base, "cpu"), str(tmp_path / "mixed.safetensors"))


def test_a_lora_of_another_alpha_is_another_model(base: Path, tmp_path: Path) -> None:
    """Its tensors are the same, but not what they add."""
    loras = [_lora(base, tmp_path / f"alpha-{alpha}", 1.0, alpha) for alpha in (2, 1)]
    holders = [ModelHolder(str(base), Sampling(1, 2.0, 32, 32), "cpu", lora=str(lora)) for lora in loras]
    images = [draw_batch(holder.generator("", None), [Request("a cat face", 0)]) for holder in holders]
    assert not np.array_equal(images[0], images[1])
    assert holders[0].fingerprint != holders[1].fingerprint


def test_a_model_that_moved_is_drawn_where_it_lies_now(
    make_runner: Callable[..., Runner], make_cell: Any, base: Path, tmp_path: Path
) -> None:
    def save(place: Path, scale: float) -> None:
        pipeline = open_pipeline(base, "cpu")
        for weight in pipeline.unet.parameters():
            weight.data *= scale
        shutil.rmtree(place, ignore_errors=True)
        pipeline.save_pretrained(place)

    first = tmp_path / "first"
    save(first, 1.01)
    few = make_cell().suite.model_copy(update={"sizes": SMALL.model_copy(update={"forget": 2})})
    _evaluate(make_runner, replace(make_cell(), suite=few), str(first))
    first.rename(tmp_path / "moved")
    save(first, 1.5)  # another model at the place that the first was measured at
    _, moved = _evaluate(make_runner, make_cell(), str(tmp_path / "moved"))
    _, fresh = _evaluate(lambda: make_runner(store=tmp_path / "other"), make_cell(), str(tmp_path / "moved"))
    _, other = _evaluate(make_runner, make_cell(), str(first))
    assert list(moved["image_sha256"]) == list(fresh["image_sha256"])
    assert list(moved["image_sha256"]) != list(other["image_sha256"])


def test_another_model_than_the_named_one_draws_nothing(base: Path, tmp_path: Path) -> None:
    holder = ModelHolder(str(base), Sampling(1, 1.0, 32, 32), "cpu")
    drawing = Drawing("0" * 64, holder.sampling, "torch.float32", "cpu", lambda: holder.generator("", None))
    store = Store(tmp_path / "store")
    with pytest.raises(UserError, match="not the one that is measured"):
        drawing.draw([Request("a cat", 0)], store, lambda n: None)
    assert not list((tmp_path / "store").rglob("images/*/*"))


GENERATE = """
import numpy as np
def generate(prompts, seeds):
    return [np.full((32, 32, 3), seed % 256, dtype=np.uint8) for seed in seeds]
generate.fingerprint = "constant@1"
def anew(prompts, seeds):
    return generate(prompts, seeds)
def small(prompts, seeds):
    return [np.zeros((8, 8, 3), dtype=np.uint8) for _ in seeds]
def few(prompts, seeds):
    return generate(prompts, seeds)[:1]
number = 3
"""


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "somebody_of_this_test.py").write_text(GENERATE)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "somebody_of_this_test", raising=False)
    _once.cache_clear()
    return "somebody_of_this_test"


def test_a_function_is_a_point_and_gets_each_images_own_seed(
    make_runner: Callable[..., Runner], make_cell: Any, module: str
) -> None:
    _, items = _evaluate(make_runner, make_cell(), f"{module}:generate")
    expected = {seed: np.full((32, 32, 3), seed % 256, dtype=np.uint8) for seed in items["seed"]}
    from unlearnbench.bench.measuring.items import image_digest

    assert list(items["image_sha256"]) == [image_digest(expected[seed]) for seed in items["seed"]]


def test_a_function_without_a_fingerprint_is_new_in_every_process(module: str) -> None:
    named, unnamed = model_digest(f"{module}:generate"), model_digest(f"{module}:anew")
    assert unnamed == model_digest(f"{module}:anew")
    _once.cache_clear()
    assert model_digest(f"{module}:generate") == named
    assert model_digest(f"{module}:anew") != unnamed


@pytest.mark.parametrize(("function", "complaint"), [("small", "(8, 8, 3)"), ("few", "1 images for")])
def test_images_that_do_not_fit_fail_the_cell(
    make_runner: Callable[..., Runner], make_cell: Any, module: str, function: str, complaint: str
) -> None:
    cell = replace(make_cell(), models=(f"{module}:{function}",))
    [outcome] = make_runner().run([cell])
    assert outcome.state == "failed"
    assert complaint in str(read_record(outcome.path).error)


def test_a_lora_of_another_model_is_refused(
    make_runner: Callable[..., Runner], make_cell: Any, tmp_path: Path
) -> None:
    from safetensors.torch import save_file

    other = {f"unet.else.to_q.lora_{part}.weight": torch.ones(2, 2) for part in "AB"}
    save_file(other, tmp_path / "other.safetensors")
    [outcome] = make_runner().run([replace(make_cell(), models=(str(tmp_path / "other.safetensors"),))])
    assert outcome.state == "failed"
    assert "other.safetensors" in str(read_record(outcome.path).error)


def test_what_is_no_model_is_named(tmp_path: Path, module: str) -> None:
    (tmp_path / "weights.bin").write_bytes(b"")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=r"weights\.bin: not a \.safetensors file"):
        kind_of(str(tmp_path / "weights.bin"))
    with pytest.raises(UserError, match=r"no model_index\.json"):
        kind_of(str(tmp_path / "empty"))
    with pytest.raises(UserError, match="no such folder or file"):
        kind_of(str(tmp_path / "absent"))
    with pytest.raises(UserError, match="no module named"):
        load_function("no_such_module_here:generate")
    with pytest.raises(UserError, match="has nothing named 'absent'"):
        load_function(f"{module}:absent")
    with pytest.raises(UserError, match="not a function"):
        load_function(f"{module}:number")
    assert kind_of("runwayml/stable-diffusion-v1-5") == "pipeline"


def test_models_that_bear_a_methods_name_are_refused(
    module: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Under a registered method's name they would stand in its row, whatever they are."""
    command = ["evaluate", "--model", f"{module}:generate", "--task", "classes/cat-face@tiny"]
    for name in ("balanced", "none", "retrain"):
        assert main([*command, "--out", str(tmp_path), "--name", name]) == 2
        assert f"--name {name}: is a method of this package" in capsys.readouterr().err


def test_points_of_one_name_are_refused() -> None:
    with pytest.raises(UserError, match=r"two are named 'unet'"):
        name_models(["a/unet", "b/unet"])


def test_a_model_written_anew_at_the_same_place_is_another(tmp_path: Path) -> None:
    """One process that gates several models in turn must not judge the first one again and again."""
    model = tmp_path / "model.safetensors"
    found = []
    for content in (1.0, 2.0, 1.0):
        model.unlink(missing_ok=True)
        save_file({"down_blocks.0.attn2.to_k.weight": torch.full((2, 2), content)}, model)
        found.append(model_digest(str(model)))
    assert found[0] == found[2] != found[1]


def test_a_hub_id_is_its_snapshot_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    snapshot = tmp_path / "snapshot"
    snapshot.mkdir()
    monkeypatch.setattr("unlearnbench.bench.models.outside.find", lambda where: snapshot)
    (snapshot / "weights").write_bytes(b"one")
    first = model_digest("owner/name")
    (snapshot / "weights").write_bytes(b"two!")
    assert first != model_digest("owner/name")


def test_no_model_is_no_folder_to_walk(monkeypatch: pytest.MonkeyPatch) -> None:
    """The digest of a world's own base walked through the current folder, for seconds at every key."""
    before = model_digest("")
    monkeypatch.setattr(Path, "rglob", lambda *_: pytest.fail("walked through a folder"))
    assert model_digest("") == before
