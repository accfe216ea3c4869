"""Methods without a gradient: what their closed forms and masks come to, by hand and by a solver."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from unlearnbench.bench.config import build
from unlearnbench.bench.errors import UserError
from unlearnbench.bench.running.catalog import registry
from unlearnbench.bench.training.objectives import Denoiser
from unlearnbench.methods import concept_prune, uce

from .tiny import build_problem, copy_state, run_small, token_state

METHODS = registry("methods")
Pipelines = Callable[..., Any]


def test_uces_weights_equal_a_ridge_solver(pipeline_for: Pipelines) -> None:
    pipeline = pipeline_for()
    layer = next(m for name, m in pipeline.unet.named_modules() if name.endswith("attn2.to_v"))
    old = layer.weight.detach().double().numpy().copy()
    last = partial(token_state, pipeline)
    c, g = last("cat", 3), last("dog", 3)  # begin, three letters: the last one is the third
    kept = np.stack([last("", 0), last("fox", 3)])
    run_small(METHODS["uce"], pipeline, **METHODS["uce"].presets["paper"])
    width = old.shape[1]
    inputs = np.concatenate([c[None], kept, 0.5**0.5 * np.eye(width)])
    outputs = np.concatenate([g[None], kept, 0.5**0.5 * np.eye(width)]) @ old.T
    expected = np.linalg.lstsq(inputs, outputs, rcond=None)[0].T
    np.testing.assert_allclose(layer.weight.detach().numpy(), expected, atol=1e-5)


@pytest.mark.parametrize("tokens", ["all", "last"])
@pytest.mark.parametrize("prompts", ["name", "training"])
def test_uce_with_the_concept_as_its_own_guide_changes_nothing(
    pipeline_for: Pipelines, prompts: str, tokens: str
) -> None:
    problem = build_problem()
    itself = replace(problem.forget_set, anchor_prompts=problem.forget_set.prompts)
    pipeline = pipeline_for()
    before = copy_state(pipeline.unet)
    run_small(
        METHODS["uce"],
        pipeline,
        replace(problem, anchor="cat", forget_set=itself),
        prompts=prompts,
        tokens=tokens,
    )
    for name, value in copy_state(pipeline.unet).items():
        torch.testing.assert_close(value, before[name], rtol=1e-4, atol=1e-6)


def test_rece_without_rounds_is_uce_and_each_round_edits_further(pipeline_for: Pipelines) -> None:
    found = []
    for name, values in (
        ("uce", {"lam": 0.1, "preserve_scale": 0.1}),
        ("rece", {"rounds": 0}),
        ("rece", {"rounds": 1}),
    ):
        pipeline = pipeline_for()
        run_small(METHODS[name], pipeline, **values)
        found.append(copy_state(pipeline.unet))
    assert all(torch.equal(found[0][key], found[1][key]) for key in found[0])
    assert any(not torch.equal(found[1][key], found[2][key]) for key in found[0])


def test_concept_prunes_mask_by_hand() -> None:
    weight = torch.tensor([[1.0, -2.0, 3.0, 0.5], [4.0, 1.5, -1.0, 0.9]])
    concept = torch.tensor([[1.0, 1.0, 1.0, 1.0], [4.0, 0.1, 1.0, 1.0]])
    base = torch.tensor([[0.5, 2.0, 0.5, 0.5], [1.0, 1.0, 2.0, 0.5]])
    # two of four a row: at the first step columns 2, 1 of row 0 and 0, 1 of row 1, of which column 1 is the
    # base's; at the second columns 0, 2 of row 0 and 0, 2 of row 1, of which column 2 is the base's
    either = concept_prune.concept_mask(weight, concept, base, 0.5, 0.0)
    assert either.tolist() == [[True, False, True, False], [True, False, False, False]]
    both = concept_prune.concept_mask(weight, concept, base, 0.5, 0.5)
    assert both.tolist() == [[False, False, False, False], [True, False, False, False]]
    assert not concept_prune.concept_mask(weight, concept, base, 0.0, 0.0).any()


def test_concept_prune_zeroes_the_weights_that_it_counts_and_no_other(pipeline_for: Pipelines) -> None:
    pipeline = pipeline_for()
    before = copy_state(pipeline.unet)
    log = run_small(METHODS["concept_prune"], pipeline, ratio=0.1)
    after = copy_state(pipeline.unet)
    changed = {name: before[name] != after[name] for name in before}
    assert sum(int(c.sum()) for c in changed.values()) == log["pruned"][0] > 0
    assert {name for name, c in changed.items() if c.any()} <= {n for n in before if "ff.net.2.weight" in n}
    assert all(bool((after[name][c] == 0).all()) for name, c in changed.items())
    base = pipeline_for()
    log = run_small(METHODS["concept_prune"], base, ratio=0.0)
    assert log["pruned"] == [0]
    assert all(torch.equal(before[name], value) for name, value in copy_state(base.unet).items())


def test_concept_prune_sees_the_inputs_of_each_step(pipeline_for: Pipelines) -> None:
    denoiser = Denoiser(pipeline_for())
    layers = concept_prune.find_layers(denoiser.module)
    seen: dict[str, list[Tensor]] = {name: [] for name in layers}
    with concept_prune.watch(layers, lambda name, inputs: seen[name].append(inputs)):
        states = torch.zeros(2, 16, 32)
        denoiser.module(torch.zeros(2, 4, 8, 8), 3, states)
    assert all(len(found) == 1 for found in seen.values())
    assert all(found[0].shape[1] == layers[name].in_features for name, found in seen.items())


def test_uces_configuration_names_what_is_wrong() -> None:
    with pytest.raises(UserError, match="tokens"):
        build(uce.Config, {"tokens": "first"}, "here")
