"""Forget-Me-Not: its maps are the pipeline's own, its loss is their norm at the concept's tokens."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch

from unlearnbench.bench.config import build
from unlearnbench.bench.errors import UserError
from unlearnbench.bench.running.catalog import registry
from unlearnbench.methods import fmn
from unlearnbench.methods.training.attention import keep_maps

from .tiny import build_problem, run_small

METHODS = registry("methods")
Pipelines = Callable[..., Any]


def test_fmns_maps_are_those_of_the_pipelines_own_attention(pipeline_for: Pipelines) -> None:
    pipeline = pipeline_for()
    unet = pipeline.unet.eval()
    inputs = (torch.randn(2, 4, 8, 8), 7, pipeline.encode_prompt(["a cat", "a dog"], "cpu", 1, False)[0])
    with torch.no_grad():
        plain = unet(*inputs).sample
        with keep_maps(unet) as maps:
            kept = unet(*inputs).sample
    torch.testing.assert_close(plain, kept, rtol=1e-4, atol=1e-5)
    assert len(maps.maps) == sum(name.endswith("attn2") for name, _ in unet.named_modules())
    for found in maps.maps:
        torch.testing.assert_close(found.sum(2), torch.ones(found.shape[:2]))


def test_fmns_loss_is_the_norm_of_the_concepts_columns_and_zero_of_zero_maps() -> None:
    maps = [torch.rand(4, 5, 6), torch.rand(4, 2, 6)]  # two images of two heads
    marks = torch.zeros(2, 6, dtype=torch.bool)
    marks[0, [1, 2]] = marks[1, 4] = True
    expected = sum(float((m[:2, :, [1, 2]] ** 2).sum() + (m[2:, :, 4] ** 2).sum()) for m in maps) ** 0.5
    assert fmn.attention_norm(maps, marks).item() == pytest.approx(expected, rel=1e-5)
    zero = torch.zeros(4, 5, 6, requires_grad=True)
    loss = fmn.attention_norm([zero], marks)
    loss.backward()
    assert loss.item() == 0.0
    assert zero.grad is None or torch.isfinite(zero.grad).all()


def test_fmn_lowers_the_attention_to_the_concept(pipeline_for: Pipelines) -> None:
    log = run_small(
        METHODS["fmn"], pipeline_for(), steps=12, checkpoints=[12], rate=1e-2, batch=4, end_tokens=False
    )
    assert log["forget_loss"][-1] < 0.7 * log["forget_loss"][0]


def test_fmn_without_the_name_in_its_prompts_is_refused(pipeline_for: Pipelines) -> None:
    with pytest.raises(UserError, match="no prompt of the forget set holds the name"):
        run_small(METHODS["fmn"], pipeline_for(), replace(build_problem(), targets=("zebra",)))


def test_fmn_refuses_gradient_checkpointing() -> None:
    """Its loss reads attention maps of the forward pass, which checkpointing would compute a second time."""
    with pytest.raises(UserError, match="gradient_checkpointing"):
        build(fmn.Config, {"gradient_checkpointing": True}, "s.toml")
