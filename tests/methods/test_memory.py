"""Training that fits: LoRA, micro-batches that halve themselves, gradient checkpointing."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from unlearnbench.bench.config import build
from unlearnbench.bench.errors import UserError
from unlearnbench.bench.models.adapters import has_lora, plain_state
from unlearnbench.bench.models.saved.deltas import (
    changed_weights,
    read_delta,
    read_weights,
    set_weights,
    write_delta,
)
from unlearnbench.bench.running.catalog import registry
from unlearnbench.bench.training.trainer import Training

from .tiny import build_problem

METHODS = registry("methods")
Pipelines = Callable[..., Any]


def _config(method: str = "balanced", **values: Any) -> Any:
    content = {"steps": 2, "checkpoints": [1, 2], "batch": 4} | values
    return build(METHODS[method].load_config(), content, "test.toml")


def _weights(pipeline: Any) -> dict[str, Tensor]:
    return {name: tensor.detach().clone() for name, tensor in pipeline.unet.state_dict().items()}


def _train(pipeline: Any, method: str = "balanced", **values: Any) -> list[dict[str, Tensor]]:
    """Run a method; return the plain weights at each checkpoint and at the end."""
    seen: list[dict[str, Tensor]] = []

    def save(step: int, log: Any) -> None:
        seen.append({name: tensor.clone() for name, tensor in plain_state(pipeline.unet).items()})

    METHODS[method].load()(pipeline, build_problem(), _config(method, **values), save)
    return [*seen, _weights(pipeline)]


@pytest.mark.parametrize("method", ["finetune", "gradient_sum", "balanced", "anchor_balanced"])
def test_lora_changes_attention_alone_and_ends_as_plain_weights(pipeline_for: Pipelines, method: str) -> None:
    pipeline = pipeline_for("v_prediction")
    before = _weights(pipeline)
    first, second, last = _train(pipeline, method, part="lora", rank=2, rate=1e-2)
    assert not has_lora(pipeline.unet)
    assert first.keys() == second.keys() == last.keys() == before.keys()
    changed = {name for name in before if not torch.equal(before[name], last[name])}
    assert changed
    assert all(any(f".{part}." in name for part in ("to_q", "to_k", "to_v", "to_out")) for name in changed)
    for name in changed:
        assert torch.linalg.matrix_rank(last[name] - before[name], rtol=1e-3) <= 2
    assert any(not torch.equal(first[name], second[name]) for name in changed)
    assert all(torch.equal(second[name], last[name]) for name in before)


def test_a_point_of_a_lora_is_a_delta_of_plain_weights(pipeline_for: Pipelines) -> None:
    pipeline, fresh = pipeline_for(), pipeline_for()
    base, deltas = _weights(pipeline), []
    METHODS["finetune"].load()(
        pipeline,
        build_problem(),
        _config("finetune", part="lora", rate=1e-2),
        lambda step, log: deltas.append(write_delta(changed_weights(base, read_weights(pipeline, ["unet"])))),
    )
    set_weights(fresh.unet, base, read_delta(deltas[-1], "unet").weights["unet"])
    assert all(
        torch.equal(a, b) for a, b in zip(_weights(fresh).values(), _weights(pipeline).values(), strict=True)
    )


def test_lora_starts_where_the_base_is(pipeline_for: Pipelines) -> None:
    pipeline = pipeline_for()
    before = _weights(pipeline)
    training = Training(pipeline, build_problem(), _config("finetune", part="lora"))
    state = plain_state(pipeline.unet)
    assert state.keys() == before.keys()
    assert all(torch.equal(state[name], before[name]) for name in before)
    assert sum(p.numel() for p in training.parameters) < sum(t.numel() for t in before.values()) / 5


def test_placebo_has_no_lora(pipeline_for: Pipelines) -> None:
    config = build(METHODS["placebo"].load_config(), {"steps": 1, "part": "lora"}, "x")
    with pytest.raises(UserError, match="train by gradients"):
        METHODS["placebo"].load()(pipeline_for(), build_problem(), config, lambda step, log: None)


@pytest.mark.parametrize("values", [{"micro_batch": 1}, {"micro_batch": 3}, {"gradient_checkpointing": True}])
def test_what_saves_memory_changes_no_step(pipeline_for: Pipelines, values: dict[str, Any]) -> None:
    plain = _train(pipeline_for(), optimiser="sgd", rate=0.1)[-1]
    other = _train(pipeline_for(), optimiser="sgd", rate=0.1, **values)[-1]
    for name in plain:
        torch.testing.assert_close(other[name], plain[name], rtol=1e-4, atol=1e-5)


def test_a_batch_that_does_not_fit_is_halved(
    pipeline_for: Pipelines, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = _train(pipeline_for(), optimiser="sgd", rate=0.1)[-1]
    pipeline, sizes = pipeline_for(), []
    from unlearnbench.bench.training import objectives

    errors = objectives.Denoiser.errors

    def small(self: Any, batch: Any) -> Tensor:
        if len(batch.times) > 2:
            raise torch.OutOfMemoryError("out of memory")
        sizes.append(len(batch.times))
        return errors(self, batch)

    monkeypatch.setattr(objectives.Denoiser, "errors", small)
    other = _train(pipeline, optimiser="sgd", rate=0.1)[-1]
    assert set(sizes) == {2}
    for name in plain:
        torch.testing.assert_close(other[name], plain[name], rtol=1e-4, atol=1e-5)


def test_one_image_that_does_not_fit_is_an_error(
    pipeline_for: Pipelines, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: Any, batch: Any) -> Tensor:
        raise torch.OutOfMemoryError("out of memory")

    monkeypatch.setattr("unlearnbench.bench.training.objectives.Denoiser.errors", full)
    with pytest.raises(torch.OutOfMemoryError):
        _train(pipeline_for(), "finetune")


def test_a_bound_of_the_whole_batch_cannot_be_had_in_parts(pipeline_for: Pipelines) -> None:
    with pytest.raises(UserError, match="truncation_mode"):
        _train(pipeline_for(), truncation_mode="batch", micro_batch=2)
