"""Every method on a tiny pipeline: its part alone, bit by bit repeatable, points and logs as promised."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from unlearnbench.bench.config import build
from unlearnbench.bench.errors import UserError
from unlearnbench.bench.registry import Entry, builtin_registry

from .tiny import build_problem

Pipelines = Callable[..., Any]
METHODS = builtin_registry("methods", "unlearnbench.methods")
TRAINED = ("anchor_balanced", "anchor_sum", "balanced", "finetune", "gradient_sum")
BOTH = [
    "step",
    "forget_loss",
    "retain_loss",
    "cos",
    "conflict",
    "norm_before_clipping",
    "update_dot_forget",
    "update_dot_retain",
]
COLUMNS = dict.fromkeys(TRAINED, BOTH) | {
    "finetune": ["step", "retain_loss", "norm_before_clipping", "update_dot_retain"],
    "placebo": ["step", "update_norm"],
}


def run(
    entry: Entry, pipeline: Any, **values: Any
) -> tuple[dict[str, Tensor], list[tuple[int, dict[str, list]]]]:
    """Run a method; return the weights' change and what was saved."""
    small = {} if entry.name == "placebo" else {"batch": 3}
    config = build(entry.load_config(), {"steps": 3, "checkpoints": [1, 3]} | small | values, "test.toml")
    before = {name: value.clone() for name, value in pipeline.unet.state_dict().items()}
    saved: list[tuple[int, dict[str, list]]] = []
    entry.load()(pipeline, build_problem(), config, lambda step, log: saved.append((step, dict(log))))
    return {name: value - before[name] for name, value in pipeline.unet.state_dict().items()}, saved


def test_the_methods_are_registered_by_file_name() -> None:
    assert {*TRAINED, "placebo"} <= set(METHODS)
    assert "combine" not in METHODS


@pytest.mark.parametrize("part", ["full", "xattn", "noxattn"])
@pytest.mark.parametrize("name", [*TRAINED, "placebo"])
def test_it_changes_its_part_alone_and_saves_at_its_checkpoints(
    pipeline_for: Pipelines, name: str, part: str
) -> None:
    pipeline = pipeline_for("v_prediction")
    others = {
        k: v.clone() for k, v in (pipeline.vae.state_dict() | pipeline.text_encoder.state_dict()).items()
    }
    changes, saved = run(METHODS[name], pipeline, part=part)
    changed = {name for name, change in changes.items() if change.any()}
    wanted = {k for k in changes if part == "full" or ("attn2" in k) == (part == "xattn")}
    assert changed <= wanted
    assert len(changed) >= 0.9 * len(wanted)  # a bias before a normalisation may have no gradient
    assert [step for step, _ in saved] == [1, 3]
    for step, log in saved:
        assert list(log) == COLUMNS[name]
        assert all(len(column) == step for column in log.values())
        assert all(torch.isfinite(torch.tensor(column)).all() for column in log.values())
    now = pipeline.vae.state_dict() | pipeline.text_encoder.state_dict()
    assert all(torch.equal(others[k], now[k]) for k in others)
    for module in (pipeline.unet, pipeline.vae, pipeline.text_encoder):
        assert not module.training
        assert not any(p.requires_grad or p.grad is not None for p in module.parameters())


@pytest.mark.parametrize("name", [*TRAINED, "placebo"])
def test_it_repeats_bit_by_bit(pipeline_for: Pipelines, name: str) -> None:
    first, first_log = run(METHODS[name], pipeline_for())
    torch.rand(17)  # the global generator must not matter
    second, second_log = run(METHODS[name], pipeline_for())
    assert all(torch.equal(first[k], second[k]) for k in first)
    assert first_log == second_log


@pytest.mark.parametrize("optimiser", ["adamw", "adam", "sgd"])
@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction", "sample"])
def test_balanced_runs_with_each_optimiser_and_prediction(
    pipeline_for: Pipelines, prediction: str, optimiser: str
) -> None:
    changes, _ = run(
        METHODS["balanced"], pipeline_for(prediction), optimiser=optimiser, steps=1, checkpoints=[1]
    )
    assert any(change.any() for change in changes.values())


def test_finetune_does_not_look_at_the_forget_set(pipeline_for: Pipelines) -> None:
    entry, problem = METHODS["finetune"], build_problem()
    config = build(entry.load_config(), {"steps": 2, "batch": 2}, "x")
    weights = []
    for forget_set in (problem.forget_set, replace(problem.forget_set, images=-problem.forget_set.images)):
        pipeline = pipeline_for()
        entry.load()(
            pipeline, replace(build_problem(), forget_set=forget_set), config, lambda step, log: None
        )
        weights.append(pipeline.unet.state_dict())
    assert all(torch.equal(weights[0][k], weights[1][k]) for k in weights[0])


def test_anchor_methods_say_that_they_need_an_anchor(pipeline_for: Pipelines) -> None:
    problem = build_problem()
    problem = replace(problem, forget_set=replace(problem.forget_set, anchor_prompts=()))
    for name in ("anchor_sum", "anchor_balanced"):
        config = build(METHODS[name].load_config(), {"steps": 1, "batch": 1}, "x")
        with pytest.raises(UserError, match="no anchor prompts"):
            METHODS[name].load()(pipeline_for(), problem, config, lambda step, log: None)


@pytest.mark.parametrize("relative", [True, False])
@pytest.mark.parametrize("part", ["full", "xattn"])
def test_placebo_walks_straight_to_its_norm(pipeline_for: Pipelines, part: str, relative: bool) -> None:
    pipeline, entry = pipeline_for(), METHODS["placebo"]
    values = {"steps": 8, "checkpoints": [2, 6, 8], "norm": 0.05, "relative": relative, "part": part}
    start = {k: v.clone() for k, v in pipeline.unet.named_parameters() if part == "full" or "attn2" in k}
    ways: list[Tensor] = []

    def save(step: int, log: Any) -> None:
        now = dict(pipeline.unet.named_parameters())
        ways.append(torch.cat([(now[k] - start[k]).detach().flatten().double() for k in start]))
        assert log["update_norm"][-1] == pytest.approx(ways[-1].norm().item(), rel=1e-3)

    entry.load()(pipeline, build_problem(), build(entry.load_config(), values, "x"), save)
    whole = torch.cat([v.detach().flatten() for v in start.values()]).norm().item() if relative else 1.0
    assert [way.norm().item() for way in ways] == pytest.approx(
        [0.05 * whole * k / 8 for k in (2, 6, 8)], rel=1e-3
    )
    assert torch.allclose(ways[0] * 4, ways[2], atol=1e-5 * whole)
    deviation = ways[2] / ways[2].std()
    assert abs(deviation.mean()) < 0.02
    assert 2.8 < (deviation**4).mean() < 3.2  # a Gaussian's kurtosis
