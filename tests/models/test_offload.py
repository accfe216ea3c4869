"""Weights that wait on the CPU, or are kept in 8 bits: diffusers is asked for it, the images are right."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from accelerate import cpu_offload
from diffusers import DiffusionPipeline

from unlearnbench.bench.cli.main import main
from unlearnbench.bench.errors import UserError
from unlearnbench.bench.models import sampling
from unlearnbench.bench.models.device.offload import OFFLOADS, check_offload, offload
from unlearnbench.bench.models.device.precision import recorded_dtype
from unlearnbench.bench.models.digests import network_parts
from unlearnbench.bench.models.generators import Sampling
from unlearnbench.bench.models.points import ModelHolder
from unlearnbench.bench.models.sampling import Drawing, Request, draw_batch
from unlearnbench.bench.models.saved.deltas import write_delta
from unlearnbench.bench.records.record import read_record, record_digest
from unlearnbench.bench.running.attacking.host import Host
from unlearnbench.bench.running.catalog import registry
from unlearnbench.bench.running.cell_run import CellRun
from unlearnbench.bench.running.runner import Runner
from unlearnbench.bench.running.session import Session, make_runner
from unlearnbench.bench.store import Store

SMALL = {"steps": 2, "checkpoints": [1, 2], "batch": 2}
EIGHT = torch.float8_e4m3fn


class Recorder:
    """A pipeline that notes what diffusers' methods are called with."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, Any]] = []

    def enable_model_cpu_offload(self, device: str) -> None:
        self.calls.append(("model", device))

    def enable_sequential_cpu_offload(self, device: str) -> None:
        self.calls.append(("sequential", device))


@pytest.fixture
def by_layers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a CPU stand for the GPU: diffusers would name it `cpu:0`, which accelerate takes for another."""

    def enable(pipeline: Any, device: str) -> None:
        for network in network_parts(pipeline).values():
            cpu_offload(network, torch.device(device))

    monkeypatch.setattr(DiffusionPipeline, OFFLOADS["sequential"], enable)


def test_the_device_reaches_the_pipelines_method() -> None:
    pipeline = Recorder()
    for how in OFFLOADS:
        offload(pipeline, how, "cuda:1")
    assert pipeline.calls == [("model", "cuda:1"), ("sequential", "cuda:1")]


def test_a_pipeline_that_cannot_is_one_line() -> None:
    with pytest.raises(UserError, match="--offload model: object cannot do it"):
        offload(object(), "model", "cuda")


@pytest.mark.parametrize("how", OFFLOADS)
def test_it_is_refused_on_a_cpu_before_anything_is_drawn(
    how: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    where = ["--out", str(tmp_path / "out"), "--store", str(tmp_path / "store"), "--device", "cpu"]
    assert main(["run", "--task", "classes/cat-face@tiny", *where, "--offload", how]) == 2
    said = capsys.readouterr().err
    assert f"--offload {how}: spares the memory of a CUDA GPU; leave it out on cpu" in said
    assert said.count("\n") == 1
    assert not (tmp_path / "out").exists()
    with pytest.raises(UserError, match="--offload half: choose one of model, sequential"):
        check_offload("half", "cuda")
    check_offload(how, "cuda")
    check_offload(None, "cpu")


def test_the_choice_reaches_every_holder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("unlearnbench.bench.models.device.offload.check_offload", lambda *_: None)
    session = Session(device="cpu", threads=1, store=tmp_path / "store", offload="model")
    runner = make_runner(session, tmp_path / "out", {"tiny"})
    assert runner._holder(runner.worlds["tiny"]).offload == "model"  # type: ignore[attr-defined]


def _holder(**changes: Any) -> ModelHolder:
    world = registry("worlds")["tiny"].load()()
    settings = Sampling(2, 1.0, world.pixels, world.pixels)
    return ModelHolder(str(world.pipeline_folder), settings, "cpu", **changes)


def _draw(holder: ModelHolder) -> list[np.ndarray]:
    """Return an image of the base, of a point with other weights, and of the base again."""
    first = next(name for name, _ in holder.open().unet.named_parameters() if name.endswith("weight"))
    changed = {first: torch.full_like(holder.open().unet.state_dict()[first], 0.05, dtype=torch.float32)}
    payload, images = write_delta(changed), []
    for delta, given in (("", None), ("point", payload), ("", None)):
        generator = holder.generator(delta, given)
        [image] = draw_batch(generator, [Request("a cat", 1)])
        assert image is not None
        images.append(image)
    return images


@pytest.mark.parametrize("how", OFFLOADS)
def test_images_of_points_are_those_without_it(how: str, by_layers: None) -> None:
    plain, spared = _holder(), _holder(offload=how)
    assert plain.fingerprint == spared.fingerprint
    images = _draw(plain)
    assert not np.array_equal(images[0], images[1])
    assert all(np.array_equal(*pair) for pair in zip(images, _draw(spared), strict=True))


@pytest.mark.slow
@pytest.mark.parametrize("how", OFFLOADS)
def test_records_are_those_of_a_run_without_it(
    make_runner: Callable[..., Runner],
    make_cell: Any,
    tmp_path: Path,
    how: str,
    by_layers: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """diffusers' own hooks, with the CPU as the device: two points, the base, and a method that acts."""
    monkeypatch.setitem(sampling.MICRO_BATCH, "cpu", 4)
    cells = [make_cell(), make_cell(method="finetune", **SMALL), make_cell(method="sld")]
    plain, spared = (make_runner(folder=tmp_path / name, store=tmp_path / name) for name in ("a", "b"))
    spared.offload = how
    found = [[record_digest(read_record(o.path)) for o in run.run(cells)] for run in (plain, spared)]
    assert found[0] == found[1]
    record = read_record(spared.path_of(cells[1]))
    assert record.status == "ok"
    assert record.environment["offload"] == how
    assert "offload" not in read_record(plain.path_of(cells[1])).environment
    assert plain.cell_key(cells[1]) == spared.cell_key(cells[1])


def test_layers_wait_without_weights_while_nothing_is_drawn(by_layers: None) -> None:
    holder = _holder(offload="sequential")
    digest = holder.weights
    generator = holder.generator("", None)
    pipeline = generator.pipeline
    draw_batch(generator, [Request("a cat", 1)])
    assert {p.device.type for p in pipeline.unet.parameters()} == {"meta"}
    holder.reset()
    assert holder.digest(pipeline) == digest


def test_eight_bits_are_kept_and_bfloat16_computes() -> None:
    holder, half = _holder(dtype=EIGHT), _holder(dtype=torch.bfloat16)
    images = _draw(holder)
    unet, vae = holder.pipeline.unet, holder.pipeline.vae
    assert EIGHT in {p.dtype for p in unet.parameters()}
    assert unet.dtype == torch.bfloat16
    assert {p.dtype for p in vae.parameters()} == {torch.bfloat16}
    assert not np.array_equal(images[0], images[1])
    assert np.array_equal(images[0], images[2])
    # the weights are the rounded ones, not those of bfloat16
    assert not np.array_equal(images[0], _draw(half)[0])
    assert holder.fingerprint != half.fingerprint


@pytest.mark.slow
def test_a_record_says_that_weights_were_kept_in_eight_bits(
    make_runner: Callable[..., Runner], make_cell: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sampling.MICRO_BATCH, "cpu", 4)
    runner = make_runner(folder=tmp_path / "small", store=tmp_path / "store")
    plain = runner.cell_key(cell := make_cell(method="finetune", **SMALL))
    runner.dtype = "float8_e4m3fn"
    assert runner.cell_key(cell) != plain
    [outcome] = runner.run([cell])
    record = read_record(outcome.path)
    assert (record.status, record.error) == ("ok", None)
    assert record.sampling["dtype"] == "torch.float8_e4m3fn"
    assert record.precision is not None
    assert recorded_dtype(record.sampling, outcome.path) == "float8_e4m3fn"


def test_no_attack_looks_inside_weights_of_eight_bits(
    make_runner: Callable[..., Runner], make_cell: Any
) -> None:
    runner = make_runner()
    runner.dtype = "float8_e4m3fn"
    entry = next(e for e in registry("attacks").values() if e.access == "white-box")
    run = CellRun(runner, make_cell())
    host = Host(run, run.manifest.points[0], run._holder(), run.requests, entry, 0)
    with pytest.raises(UserError, match=r"float8_e4m3fn; give --dtype bfloat16"):
        host._open()


def test_a_device_without_memory_fails_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    holder = _holder()
    drawing = Drawing(
        holder.fingerprint, holder.sampling, "torch.float32", "cpu", lambda: holder.generator("", None)
    )

    def full(*_: Any, **__: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    store = Store(tmp_path / "store")
    with monkeypatch.context() as patch:
        patch.setattr(type(holder.pipeline), "__call__", full)
        with pytest.raises(UserError, match=r"cpu: too little memory to draw 24 images of .*--offload model"):
            drawing.draw([Request("a cat", 1)], store, lambda _: None)
    assert not list((tmp_path / "store").glob("images/*/*"))
    [image] = drawing.draw([Request("a cat", 1)], store, lambda _: None)
    assert isinstance(image, np.ndarray)
