"""Half precision: a point is trained with float32 weights, and drawn by a model in the holder's type."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from unlearnbench.bench.errors import UserError
from unlearnbench.bench.models.device.precision import choose_dtype, computing
from unlearnbench.bench.models.generators import Generator, open_pipeline
from unlearnbench.bench.models.points import ModelHolder, train_points
from unlearnbench.bench.models.sampling import Drawing, draw_batch
from unlearnbench.bench.models.saved.deltas import read_delta
from unlearnbench.bench.running.catalog import registry
from unlearnbench.bench.store import Store
from unlearnbench.bench.training.objectives import Denoiser, denoising

from .families import EVERY
from .redraw import REQUESTS, SAMPLING
from .tiny import build_problem, small_config

METHODS = registry("methods")
HALF = [torch.bfloat16, torch.float16]
QUICK = ("finetune", "sld", "spm")


def _drawn_point(method: str, folder: Path, store: Store, dtype: torch.dtype) -> tuple[Any, list[Any]]:
    """Train a method in a type as a run does, and draw its last point as a run does; return both."""
    entry = METHODS[method]
    holder = ModelHolder(str(folder), SAMPLING, "cpu", dtype)
    manifest = train_points(holder, store, method, build_problem(), entry, small_config(entry), method)
    point = manifest.points[-1]
    payload = store.get("deltas", point.delta)
    assert payload is not None
    drawing = Drawing(
        point.fingerprint, SAMPLING, str(dtype), "cpu", lambda: holder.generator(point.delta, payload)
    )
    images = drawing.draw(REQUESTS, store, lambda count: None)  # refuses another fingerprint
    found = read_delta(payload, "unet" if hasattr(holder.pipeline, "unet") else "transformer")
    for tensor in [*found.tensors.values(), *(t for w in found.weights.values() for t in w.values())]:
        assert tensor.dtype == torch.float32 or not tensor.is_floating_point()
    return holder, images


@pytest.mark.parametrize("dtype", HALF)
@pytest.mark.parametrize("method", QUICK)
def test_a_point_is_trained_in_float32_weights_and_drawn_in_half(
    method: str, dtype: torch.dtype, folder_for: Callable[[str], Path], tmp_path: Path
) -> None:
    holder, images = _drawn_point(method, folder_for("sd"), Store(tmp_path), dtype)
    assert holder.pipeline.unet.dtype == dtype
    assert holder.pipeline.vae.dtype == (torch.float32 if dtype == torch.float16 else dtype)
    assert all(image is not None for image in images)


@pytest.mark.slow
@pytest.mark.parametrize("family", EVERY)
def test_every_method_is_drawn_in_half(
    family: str, folder_for: Callable[[str], Path], tmp_path: Path
) -> None:
    for entry in METHODS.values():
        if not entry.pipelines or family in entry.pipelines:
            _, images = _drawn_point(entry.name, folder_for(family), Store(tmp_path), torch.bfloat16)
            assert all(image is not None for image in images), entry.name


@pytest.mark.parametrize("family", EVERY)
def test_a_family_draws_in_half_what_it_draws_in_full(family: str, folder_for: Callable[[str], Path]) -> None:
    def draw(dtype: torch.dtype) -> np.ndarray:
        pipeline = open_pipeline(folder_for(family), "cpu", dtype)
        return np.stack([i for i in draw_batch(Generator(pipeline, SAMPLING, ""), REQUESTS) if i is not None])

    full = draw(torch.float32).astype(int)
    for dtype in HALF:
        off = np.abs(draw(dtype).astype(int) - full)
        assert off.max() > 0
        assert off.mean() < 8  # of 255, with random weights


def test_passes_inside_compute_in_half_and_give_float32_back(folder_for: Callable[[str], Path]) -> None:
    pipeline = open_pipeline(folder_for("sd"), "cpu")
    denoiser, kinds = Denoiser(pipeline), []
    problem = build_problem()
    batch = denoiser.draw(denoiser.encode(problem.retain_set), 2, 0.0, problem.generator)
    layer = pipeline.unet.conv_in
    layer.register_forward_hook(lambda module, given, output: kinds.append(output.dtype))
    full = denoising(denoiser)(batch)[0].item()
    found = {}
    for dtype in HALF:
        layer.weight.grad = None
        layer.weight.requires_grad_(True)
        with computing(dtype):
            loss, _ = denoising(denoiser)(batch)
        loss.backward()
        assert loss.dtype == layer.weight.grad.dtype == torch.float32
        found[dtype] = loss.item()
    # float16 would need scaled losses: it computes in float32
    assert kinds == [torch.float32, torch.bfloat16, torch.float32]
    assert found[torch.float16] == full
    assert 0 < abs(found[torch.bfloat16] - full) < 0.02 * full


def test_pixels_that_overflow_in_half_are_a_failure(folder_for: Callable[[str], Path]) -> None:
    """Weights that float32 can hold and float16 cannot: no black image may come of them."""
    pipeline = open_pipeline(folder_for("sd"), "cpu")
    with torch.no_grad():
        pipeline.unet.conv_out.weight.mul_(1e6)
    pipeline.unet.to(torch.float16)
    pipeline.text_encoder.to(torch.float16)
    assert draw_batch(Generator(pipeline, SAMPLING, ""), REQUESTS) == [None] * len(REQUESTS)


def test_auto_is_float32_on_a_cpu_and_half_for_real_models_on_cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: True)
    assert choose_dtype("auto", "cpu", True) == choose_dtype("auto", "cuda", False) == torch.float32
    assert choose_dtype("auto", "cuda", True) == torch.bfloat16
    assert choose_dtype("float16", "cpu", False) == torch.float16
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: False)
    assert choose_dtype("auto", "cuda", True) == torch.float32
    with pytest.raises(UserError, match="--dtype half: choose one of auto, float32, bfloat16, float16"):
        choose_dtype("half", "cpu", False)


def test_a_model_in_half_is_not_trained_by_itself(folder_for: Callable[[str], Path]) -> None:
    with pytest.raises(UserError, match=r"its unet is in torch\.bfloat16; load it in torch\.float32"):
        Denoiser(open_pipeline(folder_for("sd"), "cpu", torch.bfloat16))
