"""SAFREE: projections by their definition, one prompt by a loop of its own, and images without triggers."""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from unlearnbench.bench.errors import UserError
from unlearnbench.bench.models.saved.steering import Call
from unlearnbench.methods import safree

from .steer import PROMPTS, draw, draw_under, fit, make_config
from .tiny import build_problem

Pipelines = Callable[..., Any]
OFF = {"alpha": math.inf, "negative": False}


def test_the_projection_is_idempotent_and_keeps_its_span() -> None:
    vectors = torch.randn(3, 8, dtype=torch.float64)
    vectors = torch.cat([vectors, vectors[:1] + vectors[1:2]])  # of rank 3
    projection = safree.project_on(vectors)
    torch.testing.assert_close(projection @ projection, projection)
    torch.testing.assert_close(vectors @ projection, vectors)
    assert torch.trace(projection).item() == pytest.approx(3.0)


def test_triggers_by_hand() -> None:
    concept = safree.project_on(torch.tensor([[1.0, 0.0]]))
    masked = torch.tensor([[5.0, 1.0], [5.0, -1.1], [5.0, 1.04]])  # distances 1, 1.1 and 1.04
    assert safree.find_triggers(masked, concept, 0.01).tolist() == [False, True, False]
    assert safree.find_triggers(masked, concept, 0.1).tolist() == [False, False, False]
    assert safree.find_triggers(masked[:1], concept, 0.01).tolist() == [True]
    assert safree.find_triggers(masked[:1], concept, math.inf).tolist() == [False]


def test_the_filters_last_step_by_hand() -> None:
    config = make_config(safree, steps_bound=10, slope=2.5, midpoint=5.333)
    states = torch.tensor([[1.0, 0.0], [1.0, 0.0]])
    turned = torch.tensor([[0.4, 0.84**0.5], [0.6, 0.8]])  # cosines .4 and .6: β = .5
    assert safree.last_step(states, turned, config) == round(10 / (1 + math.exp(-5 * (5 - 5.333))))
    assert safree.last_step(states, states, config) == 0
    assert safree.last_step(states, -states, config) == 10


def test_low_frequencies_are_scaled_only_where_they_are_larger() -> None:
    torch.manual_seed(1)
    safe, plain = torch.randn(2, 3, 8, 8), torch.randn(2, 3, 8, 8)
    found = np.fft.fft2(safree.attenuate(safe, plain, 0.2).numpy())
    before, other = np.fft.fft2(safe.numpy()), np.fft.fft2(plain.numpy())
    # the constant is a frequency of its own; the others of the middle mirror those outside of it
    larger = before[..., 0, 0].real > other[..., 0, 0].real
    expected = np.where(larger, 0.2 * before[..., 0, 0], before[..., 0, 0])
    np.testing.assert_allclose(found[..., 0, 0], expected, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(found[..., 2:7, 2:7], before[..., 2:7, 2:7], rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(safree.attenuate(safe, safe, 0.2), safe, rtol=1e-4, atol=1e-5)


def test_a_prompts_states_are_those_of_a_loop_over_its_tokens(pipeline_for: Pipelines) -> None:
    pipeline = pipeline_for()
    config, _, tensors = fit(safree, pipeline, filter=False)
    states = pipeline.encode_prompt(["a cat"], "cpu", 1, False)[0]
    call = Call(pipeline, ("a cat",), {"encoder_hidden_states": states})
    concept = safree.project_on(tensors["concept"])
    ours = safree.Projection(call, concept, {}, config, safree.SkipFeatures(config)).states[0]
    ids, pooled = pipeline.tokenizer("a cat").input_ids, []
    for place in range(1, 5):
        masked = [0 if i == place else token for i, token in enumerate(ids)]
        pooled.append(pipeline.text_encoder(torch.tensor([masked])).pooler_output[0].detach().double())
    bases = [np.linalg.svd(np.stack(rows), full_matrices=False)[2] for rows in (tensors["concept"], pooled)]
    off, own = np.eye(32) - bases[0].T @ bases[0], bases[1].T @ bases[1]
    lengths = [np.linalg.norm(off @ row.numpy()) for row in pooled]
    expected = states[0].detach().numpy().copy()
    for i, length in enumerate(lengths):
        if length >= 1.01 * np.mean(lengths[:i] + lengths[i + 1 :]):
            expected[i + 1] = off @ own @ expected[i + 1]
    np.testing.assert_allclose(ours.detach().numpy(), expected, rtol=1e-3, atol=1e-4)
    assert not torch.equal(ours, states[0])


@pytest.mark.parametrize("family", ["sd", "sdxl"])
def test_off_draws_the_bases_images_bit_by_bit(family_for: Pipelines, family: str) -> None:
    pipeline = family_for(family)
    base = draw(pipeline)
    config, _, tensors = fit(safree, pipeline, **OFF)
    assert np.array_equal(draw_under(safree, pipeline, config, tensors), base)
    for values in (
        {"negative": False, "reattention": False, "filter": False},
        {"negative": False, "filter": False, "half_scale": 0.0},
        {"alpha": math.inf},
    ):
        config, _, tensors = fit(safree, pipeline, **values)
        assert not np.array_equal(draw_under(safree, pipeline, config, tensors), base), values
    assert np.array_equal(draw(pipeline), base)


def test_the_negative_prompt_is_the_pipelines_own(pipeline_for: Pipelines) -> None:
    pipeline = pipeline_for()
    config, _, tensors = fit(safree, pipeline, alpha=math.inf)
    found = draw_under(safree, pipeline, config, tensors)
    noise = [torch.Generator().manual_seed(i) for i in range(2)]
    wanted = pipeline(
        PROMPTS, num_inference_steps=4, guidance_scale=3.0, height=16, width=16, generator=noise,
        negative_prompt=["cat"] * 2, output_type="np",
    ).images  # fmt: skip
    np.testing.assert_allclose(found, wanted, atol=2e-5)


def test_the_filter_bounds_the_steps(pipeline_for: Pipelines) -> None:
    pipeline = pipeline_for()
    values = {"negative": False, "reattention": False}
    config, _, tensors = fit(safree, pipeline, **values, midpoint=-100.0, steps_bound=3)
    every = make_config(safree, **values, filter=False)
    assert np.array_equal(
        draw_under(safree, pipeline, config, tensors), draw_under(safree, pipeline, every, tensors)
    )
    first = make_config(safree, **values, midpoint=100.0)  # t' = 0: the first step alone
    assert not np.array_equal(
        draw_under(safree, pipeline, first, tensors), draw_under(safree, pipeline, every, tensors)
    )


def test_an_image_is_the_same_in_another_batch(pipeline_for: Pipelines) -> None:
    pipeline = pipeline_for()
    config, _, tensors = fit(safree, pipeline, filter=False)
    both = draw_under(safree, pipeline, config, tensors)
    single = draw_under(safree, pipeline, config, tensors, prompts=PROMPTS[:1])
    np.testing.assert_allclose(both[0], single[0], atol=1e-4)


@pytest.mark.parametrize("family", ["sd3", "flux"])
def test_other_pipelines_are_refused(family_for: Pipelines, family: str) -> None:
    with pytest.raises(UserError, match="safree: does not work on"):
        fit(safree, family_for(family))


def test_without_a_name_it_is_refused(pipeline_for: Pipelines) -> None:
    with pytest.raises(UserError, match="targets: the problem does not name"):
        fit(safree, pipeline_for(), replace(build_problem(), targets=()))
