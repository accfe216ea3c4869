"""SPM: adapters that begin at zero, a closed gate that draws the base, one step by its formula."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from unlearnbench.bench.errors import UserError
from unlearnbench.methods import spm

from .steer import draw, draw_under, fit, make_config
from .tiny import build_problem, copy_state

Pipelines = Callable[..., Any]
FAST = {"anchoring": 1000.0, "anchors": 2, "sampling_steps": 3, "rate": 1e-2, "optimiser": "sgd"}


@pytest.mark.parametrize("family", ["sd", "sdxl"])
def test_adapters_begin_at_zero_and_a_closed_gate_draws_the_base(family_for: Pipelines, family: str) -> None:
    pipeline = family_for(family)
    base, weights = draw(pipeline), copy_state(pipeline.unet)
    config, _, tensors = fit(spm, pipeline, **FAST | {"rate": 1.0, "steps": 2, "checkpoints": [2]})
    assert all(torch.equal(weights[name], value) for name, value in copy_state(pipeline.unet).items())
    assert not np.array_equal(draw_under(spm, pipeline, config, tensors), base)
    closed = config.model_copy(update={"strength": 0.0})
    assert np.array_equal(draw_under(spm, pipeline, closed, tensors), base)
    adapters = spm.Adapters(pipeline.unet, 1, torch.Generator().manual_seed(0))
    untrained = adapters.tensors() | {name: tensors[name] for name in ("concept", "ids")}
    assert np.array_equal(draw_under(spm, pipeline, config, untrained), base)
    names = set(adapters.by_layer())
    assert {n for n, m in pipeline.unet.named_modules() if n.endswith("attn2.to_q")} <= names
    assert all("transformer_blocks" in n or n.endswith(("proj_in", "proj_out")) for n in names)


def test_an_adapter_is_an_outer_product(pipeline_for: Pipelines) -> None:
    for layer, shape in ((torch.nn.Linear(5, 3), (2, 5)), (torch.nn.Conv2d(4, 6, 3, 2, 1), (2, 4, 8, 8))):
        adapter = spm.adapter_of(layer, 1, torch.Generator().manual_seed(0))
        torch.nn.init.normal_(adapter[1].weight)
        given = torch.randn(shape)
        whole = torch.einsum("oi...,ij...->oj...", adapter[1].weight, adapter[0].weight)
        if given.ndim == 4:
            expected = torch.nn.functional.conv2d(given, whole, None, 2, 1)
        else:
            expected = given @ whole.T
        torch.testing.assert_close(adapter(given), expected, rtol=1e-4, atol=1e-5)
        assert adapter(given).shape == layer(given).shape


def test_one_step_is_the_formulas(pipeline_for: Pipelines) -> None:
    pipeline, config = pipeline_for(), make_config(spm, **FAST)
    trainer = spm.AdapterTrainer(pipeline, build_problem(), config)
    with torch.no_grad():  # away from zero, where D has no gradient
        for parameter in trainer.parameters:
            parameter.add_(0.1)
    kept = [stream.get_state() for stream in (trainer.stream, trainer.anchor_stream)]
    with trainer.adapters.attached(pipeline.unet):
        batch, empty = trainer.draw()
    states = batch.conditions["encoder_hidden_states"]
    anchors = spm.draw_anchors(states, 2, trainer.anchor_stream)
    unet, base = pipeline.unet, trainer.base
    with torch.no_grad():
        plain = base(batch.noisy, batch.times, empty["encoder_hidden_states"]).sample
        target = plain - (base(batch.noisy, batch.times, states).sample - plain)
    with trainer.adapters.attached(unet):
        loss = (unet(batch.noisy, batch.times, states).sample - target).square().mean()
        for i in range(2):
            wanted = base(batch.noisy, batch.times, anchors[:, i]).sample.detach()
            found = unet(batch.noisy, batch.times, anchors[:, i]).sample
            loss = loss + 1000.0 * (found - wanted).square().mean() / 2
        gradients = torch.autograd.grad(loss, trainer.parameters)
    expected = [(p - 1e-2 * g).detach() for p, g in zip(trainer.parameters, gradients, strict=True)]
    trainer.stream.set_state(kept[0])
    trainer.anchor_stream.set_state(kept[1])
    trainer.step()
    for parameter, wanted in zip(trainer.parameters, expected, strict=True):
        torch.testing.assert_close(parameter.detach(), wanted, rtol=1e-3, atol=1e-4)


def test_anchors_have_the_concepts_length_and_repeat() -> None:
    states = torch.randn(2, 3, 5)
    found = spm.draw_anchors(states, 50, torch.Generator().manual_seed(0))
    assert found.shape == (2, 50, 3, 5)
    shares = found.flatten(2).norm(dim=2) / states.flatten(1).norm(dim=1)[:, None]
    assert 0.8 <= shares.min() < 0.85
    assert 1.15 < shares.max() <= 1.2
    # rejected more often towards the concept than away from it
    assert torch.cosine_similarity(found.flatten(2), states.flatten(1)[:, None], dim=2).mean() < 0
    assert torch.equal(found, spm.draw_anchors(states, 50, torch.Generator().manual_seed(0)))


def test_gates_by_hand() -> None:
    concept = torch.tensor([[[1.0, 0.0]], [[0.0, 1.0]]])
    states = torch.tensor([[[1.0, 0.0]], [[1.0, 1.0]], [[-1.0, 0.0]]])
    ids, names = [[7], [3, 4], [5, 6]], [{3, 4}, {6}]
    root = math.sqrt(0.5)
    expected = {
        "cosine": [1.0, root, 0.0],
        "overlap": [0.0, 1.0, 1.0],
        "both": [1.0, 1.0, 1.0],
        "open": [1.0] * 3,
    }
    for gate, values in expected.items():
        assert spm.gates_of(states, ids, concept, names, gate).tolist() == pytest.approx(values)
    half = spm.gates_of(states[2:], [[3]], concept[:1], names[:1], "both")
    assert half.tolist() == pytest.approx([0.5])


def test_each_image_has_its_own_prompts_gate(pipeline_for: Pipelines) -> None:
    pipeline = pipeline_for()
    config, _, tensors = fit(spm, pipeline, **FAST | {"rate": 1.0}, gate="overlap")
    base = draw(pipeline, prompts=["b", "a cat"])
    found = draw_under(spm, pipeline, config, tensors, prompts=["b", "a cat"])
    assert np.array_equal(found[0], base[0])  # no letter of the name
    assert not np.array_equal(found[1], base[1])


def test_the_papers_rate_rises_and_falls_thrice(pipeline_for: Pipelines) -> None:
    config = make_config(spm, steps=35, checkpoints=[35], warmup=5, cycles=3)
    trainer = spm.AdapterTrainer(pipeline_for(), build_problem(), config)
    rates = [trainer._rate(step) for step in range(36)]
    assert rates[:6] == pytest.approx([0.0, 0.2, 0.4, 0.6, 0.8, 1.0])
    assert rates[10] == pytest.approx(0.5)
    assert rates[15] == pytest.approx(1.0)
    assert rates[35] == 0.0


@pytest.mark.parametrize("family", ["sd3", "flux"])
def test_other_pipelines_are_refused(family_for: Pipelines, family: str) -> None:
    with pytest.raises(UserError, match="spm: does not work on"):
        fit(spm, family_for(family))
