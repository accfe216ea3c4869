"""The methods' toolkit: token positions, aligned states, drawn latents, masks, ridge solutions."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from unlearnbench.bench.errors import UserError
from unlearnbench.bench.training.objectives import Denoiser
from unlearnbench.methods.training.closed_form import Edit, derive_states, find_projections, solve_edit
from unlearnbench.methods.training.latents import LatentSampler, draw_noise, latent_shape
from unlearnbench.methods.training.masks import top_share
from unlearnbench.methods.training.tokens import TokenStates, align, concept_prompts, encode_tokens

from .families import EVERY
from .tiny import build_problem

Fresh = Callable[[str], Any]


def test_the_edit_is_the_solution_of_the_stacked_ridge_problem() -> None:
    random = np.random.default_rng(0)
    old, c, g, kept = (random.standard_normal(shape) for shape in ((5, 7), (3, 7), (3, 7), (4, 7)))
    found = solve_edit(
        torch.tensor(old),
        [Edit(torch.tensor(c), torch.tensor(g), 2.0), Edit(torch.tensor(kept), torch.tensor(kept), 0.5)],
        0.3,
    )
    inputs = np.concatenate([2.0**0.5 * c, 0.5**0.5 * kept, 0.3**0.5 * np.eye(7)])
    outputs = np.concatenate([2.0**0.5 * g @ old.T, 0.5**0.5 * kept @ old.T, 0.3**0.5 * old.T])
    expected = np.linalg.lstsq(inputs, outputs, rcond=None)[0].T
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-10)


def test_a_guide_that_is_the_concept_itself_changes_nothing() -> None:
    old, c = torch.randn(5, 7), torch.randn(3, 7)
    torch.testing.assert_close(solve_edit(old, [Edit(c, c, 1.0)], 0.1), old)


def test_derived_states_are_the_least_squares_solution() -> None:
    random = np.random.default_rng(1)
    new, base = random.standard_normal((2, 3, 6, 4))
    states = random.standard_normal((5, 4))
    found = derive_states(list(torch.tensor(new)), list(torch.tensor(base)), torch.tensor(states), 0.2)
    inputs = np.concatenate([*new, 0.2**0.5 * np.eye(4)])
    outputs = np.concatenate([*(w @ states.T for w in base), np.zeros((4, 5))])
    expected = np.linalg.lstsq(inputs, outputs, rcond=None)[0].T
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-10)


@pytest.mark.parametrize("share", [0.0, 0.25, 0.5, 1.0])
def test_a_mask_holds_exactly_its_share_even_where_scores_are_equal(share: float) -> None:
    scores = [torch.zeros(3, 4), torch.tensor([5.0, 1.0, 1.0, 1.0]), torch.ones(2, 2, 2)]
    masks = top_share(scores, share)
    assert sum(int(m.sum()) for m in masks) == round(share * 24)
    assert [m.shape for m in masks] == [s.shape for s in scores]
    inside = torch.cat([s[m] for s, m in zip(scores, masks, strict=True)])
    outside = torch.cat([s[~m] for s, m in zip(scores, masks, strict=True)])
    assert not len(inside) or not len(outside) or inside.min() >= outside.max()


@pytest.mark.parametrize("name", EVERY)
def test_the_concepts_tokens_are_found_in_every_family(family_for: Fresh, name: str) -> None:
    denoiser = Denoiser(family_for(name))
    tokens = encode_tokens(denoiser, ["a cat on a mat", "a dog", "cat"], ["cat"], (16, 16))
    assert tokens.states.shape[:2] == tokens.concept.shape == tokens.ends.shape
    per_prompt = 6 if name == "sd3" else 3  # letters; SD3 reads a prompt by CLIP and by T5
    assert tokens.concept.sum(1).tolist() == [per_prompt, 0, per_prompt]
    assert tokens.ends.sum(1).tolist() == [2 if name == "sd3" else 1] * 3
    # tokens are read from the left: a text behind the concept moves it nowhere
    if name in ("sd", "sdxl"):
        assert tokens.concept[0].nonzero()[:, 0].tolist() == [2, 3, 4]  # begin, a, c a t
        assert tokens.ends.int().argmax(1).tolist() == [10, 4, 3]


def test_token_states_are_what_the_pipeline_feeds_its_denoiser(family_for: Fresh) -> None:
    pipeline = family_for("sd")
    tokens = encode_tokens(Denoiser(pipeline), ["a cat", "a dog"], ["cat"])
    torch.testing.assert_close(tokens.states, pipeline.encode_prompt(["a cat", "a dog"], "cpu", 1, False)[0])


def test_alignment_pairs_each_token_with_the_one_in_its_place() -> None:
    def prompt(length: int, concept: list[int]) -> TokenStates:
        marks = torch.zeros(1, length, dtype=torch.bool)
        marks[0, concept] = True
        states = torch.arange(length, dtype=torch.float32).view(1, length, 1)
        return TokenStates(states, None, marks, marks)

    left, right = align(prompt(8, [2, 3, 4]), prompt(8, [2]))  # three tokens against one
    assert left[:, 0].tolist() == [0, 1, 2, 3, 4, 5, 6, 7]
    assert right[:, 0].tolist() == [0, 1, 2, 2, 2, 3, 4, 5]
    _, right = align(prompt(8, [2]), prompt(8, [2, 3, 4]))  # one against three
    assert right[:, 0].tolist() == [0, 1, 2, 5, 6, 7, 7, 7]
    _, right = align(prompt(4, []), prompt(4, [1]))
    assert right[:, 0].tolist() == [0, 1, 2, 3]


def test_concept_prompts_are_bare_names_or_the_training_prompts() -> None:
    problem = build_problem()
    assert concept_prompts(problem, "name") == (["cat"], ["dog"])
    prompts, anchors = concept_prompts(problem, "training")
    assert prompts == list(problem.forget_set.prompts)
    assert anchors == list(problem.forget_set.anchor_prompts)


def test_a_pipeline_without_text_projections_is_refused() -> None:
    with pytest.raises(UserError, match=r"Linear: has no layer named attn2\.to_k"):
        find_projections(torch.nn.Linear(2, 2), "sd")


@pytest.mark.parametrize("name", EVERY)
@torch.no_grad()
def test_drawn_latents_are_those_of_the_pipelines_own_call(family_for: Fresh, name: str) -> None:
    pipeline = family_for(name)
    pipeline.set_progress_bar_config(disable=True)
    denoiser = Denoiser(pipeline)
    noise = draw_noise(denoiser, 2, (16, 16), torch.Generator().manual_seed(3))
    assert noise.shape[1:] == latent_shape(denoiser, (16, 16)) == (4, 8, 8)
    conditions = denoiser.encode_text(["", "a cat", "a dog"], (16, 16))
    asked = {key: values[1:] for key, values in conditions.items()}
    empty = {key: values[[0, 0]] for key, values in conditions.items()}
    guidance = 3.5 if name == "flux" else 4.0
    found, _ = LatentSampler(denoiser, 4, guidance).draw(noise, asked, empty)
    given = noise.contiguous()
    if name == "flux":
        given = pipeline._pack_latents(given, 2, 4, 8, 8)
    drawn = pipeline(
        prompt=["a cat", "a dog"],
        num_inference_steps=4,
        guidance_scale=guidance,
        height=16,
        width=16,
        latents=given,
        output_type="latent",
    ).images
    if name == "flux":
        drawn = pipeline._unpack_latents(drawn, 8, 8, 1)
    torch.testing.assert_close(found, drawn, rtol=1e-3, atol=1e-4)


@torch.no_grad()
def test_a_partial_drawing_stops_before_its_step(family_for: Fresh) -> None:
    pipeline = family_for("sd")
    denoiser = Denoiser(pipeline)
    noise = draw_noise(denoiser, 1, (16, 16), torch.Generator().manual_seed(0))
    conditions = denoiser.encode_text(["", "a cat"], (16, 16))
    asked, empty = ({k: v[i : i + 1] for k, v in conditions.items()} for i in (1, 0))
    seen: list[int] = []
    sampler = LatentSampler(denoiser, 5, 2.0)
    first, times = sampler.draw(noise, asked, empty, 0)
    pipeline.scheduler.set_timesteps(5)
    assert torch.equal(first, noise)
    assert times.tolist() == pipeline.scheduler.timesteps[:1].tolist()
    _, times = sampler.draw(noise, asked, empty, 3, on_step=seen.append)
    assert seen == [0, 1, 2]
    assert times.tolist() == pipeline.scheduler.timesteps[3:4].tolist()
