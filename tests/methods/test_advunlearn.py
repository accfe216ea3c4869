"""AdvUnlearn: its prefix is the pipeline's own encoding, its attack works, its step is that by hand."""

import copy
import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from unlearnbench.bench.errors import UserError
from unlearnbench.bench.running.catalog import registry
from unlearnbench.bench.training.trainer import freeze
from unlearnbench.methods import advunlearn

from .tiny import build_problem, copy_state, run_small, small_config

METHOD = registry("methods")["advunlearn"]
Pipelines = Callable[..., Any]
SMALL: dict[str, Any] = {"retain_batch": 2, "attack_steps": 2, "attack_every": 1, "warm_up": 0}


@pytest.fixture
def pipeline(pipeline_for: Pipelines) -> Any:
    return pipeline_for()


def _trainer(pipeline: Any, **values: Any) -> advunlearn.AdversarialTrainer:
    return advunlearn.AdversarialTrainer(pipeline, build_problem(), small_config(METHOD, **SMALL | values))


def _shake(module: nn.Module) -> None:
    """Move a text encoder's layers away from the base's."""
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            if "embeddings." not in name:
                parameter += 0.3 * torch.randn(parameter.shape, generator=generator)


def _states(pipeline: Any, prompt: str) -> Tensor:
    states: Tensor = pipeline.encode_prompt([prompt], "cpu", 1, False)[0]
    return states


@torch.no_grad()
def test_a_prefix_of_a_words_embedding_is_that_word_before_the_prompt(pipeline: Any) -> None:
    freeze(pipeline)
    ids = pipeline.tokenizer("x y", add_special_tokens=False).input_ids
    prefix = advunlearn.find_embedding(pipeline.text_encoder).weight[ids]
    with advunlearn.prefixed(pipeline.text_encoder, prefix):
        found = _states(pipeline, "cat")
    torch.testing.assert_close(found, _states(pipeline, "x y cat"))
    assert not torch.allclose(found, _states(pipeline, "cat"))


def test_the_attack_lowers_its_loss_and_leaves_the_model_as_it_is(pipeline: Any) -> None:
    trainer = _trainer(pipeline, prompts="name", batch=1, attack_steps=30, attack_rate=0.1)
    _shake(pipeline.text_encoder)
    before = copy_state(pipeline.text_encoder), copy_state(pipeline.unet)
    rows = torch.zeros(1, dtype=torch.long)
    state = trainer.stream.get_state()
    words = torch.randint(
        len(advunlearn.find_embedding(pipeline.text_encoder).weight), (1,), generator=trainer.stream
    )
    trainer.stream.set_state(state)
    found, losses = trainer.attack(rows)
    with torch.no_grad():
        batches = [trainer.keeping(trainer.concept, rows, stop) for stop in (0, 1, 2) for _ in range(3)]

        def loss(prefix: Tensor | None) -> float:
            objective = trainer.distance(trainer.prompts, prefix)
            return sum(objective(batch)[0].item() for batch in batches)

        start = advunlearn.find_embedding(pipeline.text_encoder).weight[words]
        assert loss(found) < 0.9 * loss(start)
    assert len(losses) == 30
    for old, module in zip(before, (pipeline.text_encoder, pipeline.unet), strict=True):
        assert all(torch.equal(old[name], value) for name, value in copy_state(module).items())
    assert all(p.requires_grad for p in trainer.parameters)
    assert not advunlearn.find_embedding(pipeline.text_encoder)._forward_hooks


def test_the_attack_takes_adams_steps(pipeline: Any) -> None:
    trainer = _trainer(pipeline, prompts="name", batch=1, attack_steps=3, attack_rate=0.05)
    _shake(pipeline.text_encoder)
    rows = torch.zeros(1, dtype=torch.long)
    trainer.prefix = torch.full((1, 32), 0.1)
    state = trainer.stream.get_state()
    found, losses = trainer.attack(rows)
    trainer.stream.set_state(state)
    prefix = nn.Parameter(trainer.prefix.clone())
    optimiser = torch.optim.Adam([prefix], lr=0.05)
    for expected in losses:
        batch = trainer.keeping(trainer.concept, rows, trainer.draw_stop())
        with advunlearn.prefixed(pipeline.text_encoder, prefix):
            states = _states(pipeline, "cat")
        output = pipeline.unet(batch.noisy, batch.times, states).sample
        loss = (output - batch.target).square().mean()
        assert loss.item() == pytest.approx(expected, rel=1e-4)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    torch.testing.assert_close(found, prefix.detach(), rtol=1e-4, atol=1e-5)


def test_a_step_is_that_of_both_losses_by_hand(pipeline: Any) -> None:
    trainer = _trainer(
        pipeline, prompts="name", batch=1, retain_batch=1, warm_up=9, optimiser="sgd", rate=0.5,
        retain_weight=0.25, negative_guidance=2.0,
    )  # fmt: skip
    base = copy.copy(pipeline)
    base.text_encoder = copy.deepcopy(pipeline.text_encoder).requires_grad_(False)
    _shake(pipeline.text_encoder)
    state = trainer.stream.get_state()
    trainer.draw_rows(1, 1)
    stop = trainer.draw_stop()
    unet = pipeline.unet

    def noisy(states: Tensor) -> tuple[Tensor, Tensor]:
        latents = torch.randn((1, 4, 8, 8), generator=trainer.stream)
        pipeline.scheduler.set_timesteps(3)
        with torch.no_grad():
            for time in pipeline.scheduler.timesteps[:stop]:
                plain, guided = (unet(latents, time, s).sample for s in (_states(base, ""), states))
                guided = plain + 3.0 * (guided - plain)
                latents = pipeline.scheduler.step(guided, time, latents).prev_sample
        return latents, pipeline.scheduler.timesteps[stop]

    latents, time = noisy(_states(base, "cat"))
    with torch.no_grad():
        plain, guided = (unet(latents, time, _states(base, text)).sample for text in ("", "cat"))
    wanted = plain - 2.0 * (guided - plain)
    forget = (unet(latents, time, _states(pipeline, "cat")).sample - wanted).square().mean()
    kept = build_problem().retain_set.prompts[int(trainer.draw_rows(6, 1))]
    latents, time = noisy(_states(base, kept))
    with torch.no_grad():
        wanted = unet(latents, time, _states(base, kept)).sample
    retain = (unet(latents, time, _states(pipeline, kept)).sample - wanted).square().mean()
    gradients = torch.autograd.grad(forget + 0.25 * retain, trainer.parameters)
    expected = [(p - 0.5 * g).detach() for p, g in zip(trainer.parameters, gradients, strict=True)]
    trainer.stream.set_state(state)
    trainer.step()
    assert trainer.log["forget_loss"][0] == pytest.approx(forget.item(), rel=1e-4)
    assert trainer.log["retain_loss"][0] == pytest.approx(retain.item(), rel=1e-4)
    for parameter, value in zip(trainer.parameters, expected, strict=True):
        torch.testing.assert_close(parameter.detach(), value, rtol=1e-3, atol=1e-6)


def test_the_text_encoders_layers_change_and_nothing_else(pipeline: Any) -> None:
    parts = {name: part for name, part in pipeline.components.items() if isinstance(part, nn.Module)}
    before = {name: copy_state(part) for name, part in parts.items()}
    run_small(METHOD, pipeline, **SMALL, steps=2, checkpoints=[2])
    for name, part in parts.items():
        changed = {
            key for key, value in copy_state(part).items() if not torch.equal(value, before[name][key])
        }
        if name != "text_encoder":
            assert not changed
            continue
        assert changed
        assert not any("embeddings." in key for key in changed)
        left = {key for key in before[name] if "embeddings." not in key} - changed
        assert all("k_proj.bias" in key for key in left)  # a bias of the keys does not reach the attention
    assert not any(p.requires_grad for part in parts.values() for p in part.parameters())


def test_attacks_begin_behind_the_warm_up_and_come_every_so_often(pipeline: Any) -> None:
    log = run_small(METHOD, pipeline, **SMALL | {"warm_up": 2, "attack_every": 2}, steps=5, checkpoints=[5])
    assert [math.isnan(loss) for loss in log["attack_loss"]] == [True, True, False, True, False]


@pytest.mark.parametrize("values", [{"prefix": 0}, {"attack_steps": 0}])
def test_without_a_prefix_or_steps_there_is_no_attack(pipeline: Any, values: dict[str, int]) -> None:
    log = run_small(METHOD, pipeline, **SMALL | values)
    assert math.isnan(log["attack_loss"][0])
    assert math.isfinite(log["forget_loss"][0])


@pytest.mark.parametrize("attack_from", ["latest", "random"])
def test_an_attack_begins_at_the_latest_or_at_random_words(pipeline: Any, attack_from: str) -> None:
    trainer = _trainer(pipeline, attack_steps=0, attack_from=attack_from)
    trainer.prefix = torch.full((1, 32), 0.5)
    found, _ = trainer.attack(torch.zeros(1, dtype=torch.long))
    words = advunlearn.find_embedding(pipeline.text_encoder).weight
    assert bool((found == trainer.prefix).all()) is (attack_from == "latest")
    assert bool((words == found).all(1).any()) is (attack_from == "random")


def test_it_repeats_bit_by_bit(pipeline_for: Pipelines) -> None:
    found = []
    for _ in range(2):
        pipeline = pipeline_for()
        run_small(METHOD, pipeline, **SMALL)
        torch.rand(17)  # the global generator must not matter
        found.append(copy_state(pipeline.text_encoder))
    assert all(torch.equal(found[0][name], found[1][name]) for name in found[0])


def test_the_retain_weight_is_the_parsers_or_the_scripts_for_nudity() -> None:
    weights = {name: values["retain_weight"] for name, values in METHOD.presets.items()}
    assert weights == {"paper": 1.0, "paper-nudity": 0.3}


def test_without_retain_prompts_it_is_refused(pipeline: Any) -> None:
    problem = build_problem()
    empty = replace(problem.retain_set, prompts=(), images=problem.retain_set.images[:0])
    with pytest.raises(UserError, match="retain set: has no prompts"):
        run_small(METHOD, pipeline, replace(problem, retain_set=empty), **SMALL)
