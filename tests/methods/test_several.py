"""Several targets: each is forgotten, towards its own anchor, and none is left out."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch

from unlearnbench.bench.errors import UserError
from unlearnbench.bench.running.catalog import registry
from unlearnbench.bench.training.objectives import Denoiser
from unlearnbench.bench.types import Problem, TrainingSet
from unlearnbench.methods import concept_ablation, mace, uce
from unlearnbench.methods.training.tokens import anchors_of, concept_prompts, lead_with_each

from .tiny import build_problem, run_small, small_config, token_state

METHODS = registry("methods")
Pipelines = Callable[..., Any]
PAIRS = {"cat": "dog", "owl": "hen", "cow": "pig"}


def build_several() -> Problem:
    """Return a problem with three targets, each with an anchor of its own."""
    problem = build_problem()
    names = [name for name in PAIRS for _ in range(2)]
    prompts = tuple(f"a {name} {word}" for name, word in zip(names, "stuvwx", strict=True))
    swapped = tuple(f"a {PAIRS[name]} {word}" for name, word in zip(names, "stuvwx", strict=True))
    forget = TrainingSet(prompts, problem.forget_set.images, swapped)
    return replace(
        problem,
        forget_set=forget,
        targets=tuple(PAIRS),
        anchor=None,
        anchors=tuple(PAIRS.values()),
    )


def test_each_target_has_its_own_anchor() -> None:
    problem = build_several()
    assert anchors_of(problem) == ["dog", "hen", "pig"]
    assert concept_prompts(problem, "name") == (list(PAIRS), ["dog", "hen", "pig"])
    alone = build_problem()
    assert anchors_of(alone) == ["dog"]
    assert anchors_of(replace(alone, targets=("cat", "owl"), anchor=None)) == ["", ""]


def test_uce_solves_for_all_targets_at_once(pipeline_for: Pipelines) -> None:
    pipeline = pipeline_for()
    layer = next(m for name, m in pipeline.unet.named_modules() if name.endswith("attn2.to_v"))
    old = layer.weight.detach().double().numpy().copy()
    last = partial(token_state, pipeline)
    concepts, guides = (np.stack([last(name, 3) for name in names]) for names in (PAIRS, PAIRS.values()))
    kept = np.stack([last("", 0), last("fox", 3)])
    run_small(METHODS["uce"], pipeline, build_several(), **METHODS["uce"].presets["paper"])
    ridge = 0.5**0.5 * np.eye(old.shape[1])
    inputs = np.concatenate([concepts, kept, ridge])
    outputs = np.concatenate([guides, kept, ridge]) @ old.T
    expected = np.linalg.lstsq(inputs, outputs, rcond=None)[0].T
    np.testing.assert_allclose(layer.weight.detach().numpy(), expected, atol=1e-5)


def test_uce_pairs_the_tokens_of_every_anchor(pipeline_for: Pipelines) -> None:
    problem, pipeline = build_several(), pipeline_for()
    config = small_config(METHODS["uce"], prompts="training", tokens="all")
    states, _ = uce.make_edits(Denoiser(pipeline), problem, config)
    found = pipeline.encode_prompt(list(problem.forget_set.anchor_prompts), "cpu", 1, False)[0]
    torch.testing.assert_close(states[0].guides, found.flatten(0, 1))  # names of equal length: token by token


def test_mace_trains_a_lora_for_every_target(pipeline_for: Pipelines) -> None:
    trainer = mace.MaceTrainer(pipeline_for(), build_several(), small_config(METHODS["mace"]))
    assert len(trainer.concepts) == len(trainer.adapters) == 3
    held = [concept.states for concept in trainer.concepts]
    assert [len(states) for states in held] == [2, 2, 2]  # of its own two prompts
    assert not torch.equal(held[0], held[1])
    lonely = replace(build_several(), anchors=())
    with pytest.raises(UserError, match="MACE needs"):
        mace.MaceTrainer(pipeline_for(), lonely, small_config(METHODS["mace"]))


def test_concept_ablation_draws_an_image_of_every_target(pipeline_for: Pipelines) -> None:
    problem = build_several()
    config = small_config(METHODS["concept_ablation"], images=3)
    trainer = concept_ablation.AblationTrainer(pipeline_for(), problem, config)
    used = trainer.encoded.rows.tolist()
    states = trainer.encoded.conditions["encoder_hidden_states"][used]
    firsts = [problem.forget_set.prompts[i] for i in (0, 2, 4)]
    wanted = trainer.denoiser.encode_text(firsts, (16, 16))["encoder_hidden_states"]
    torch.testing.assert_close(states, wanted)


def test_the_first_prompts_name_every_target_or_the_number_is_refused() -> None:
    prompts = ["a cat s", "a cat t", "an owl s", "it", "a cow s"]
    anchors = [f"{prompt}!" for prompt in prompts]
    found, paired = lead_with_each(prompts, anchors, ["cat", "owl", "cow"], 3, "pairs")
    assert found == ["a cat s", "an owl s", "a cow s", "a cat t", "it"]
    assert paired == [f"{prompt}!" for prompt in found]
    for targets, count in ((["cat"], 1), (["cat", "owl"], 3), (["cat", "fox"], 1)):  # no prompt names a fox
        assert lead_with_each(prompts, anchors, targets, count, "pairs") == (prompts, anchors)
    with pytest.raises(UserError, match="pairs: 2 leaves out some of the 3 targets; raise it"):
        lead_with_each(prompts, anchors, ["cat", "owl", "cow"], 2, "pairs")
