"""Receler: erasers that begin at zero, strength 0 draws the base, one step by its formula."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from unlearnbench.bench.errors import UserError
from unlearnbench.bench.models import memory
from unlearnbench.methods import receler

from .steer import draw, draw_under, fit, make_config
from .tiny import build_problem, copy_state

Pipelines = Callable[..., Any]
FAST = {
    "rank": 4,
    "sampling_steps": 3,
    "attack_steps": 2,
    "soft_tokens": 3,
    "mask_shrink": 2,
    "optimiser": "sgd",
}


@pytest.mark.parametrize("family", ["sd", "sdxl"])
def test_erasers_begin_at_zero_and_without_them_it_is_the_base(family_for: Pipelines, family: str) -> None:
    pipeline = family_for(family)
    base, weights = draw(pipeline), copy_state(pipeline.unet)
    config, log, tensors = fit(receler, pipeline, **FAST, rate=1.0)
    assert all(torch.equal(weights[name], value) for name, value in copy_state(pipeline.unet).items())
    assert log["attack_loss"][0] > 0
    assert not np.array_equal(draw_under(receler, pipeline, config, tensors), base)
    off = config.model_copy(update={"strength": 0.0})
    assert np.array_equal(draw_under(receler, pipeline, off, tensors), base)
    untrained = receler.Erasers(pipeline.unet, 4, torch.Generator().manual_seed(0)).tensors()
    assert np.array_equal(draw_under(receler, pipeline, config, untrained), base)
    assert np.array_equal(draw(pipeline), base)


def test_masks_by_hand() -> None:
    # one image, two heads, 2 x 2 places, 3 tokens; a layer of another size does not count
    head = torch.tensor([[0.5, 0.1, 0.3], [0.0, 0.2, 0.2], [0.0, 0.0, 0.1], [0.0, 0.12, 0.0]])
    maps = [torch.stack([head, head + torch.tensor([9.0, 0.0, 0.0])]), torch.ones(2, 1, 3)]
    marks = torch.tensor([[False, True, True]])
    # means over the two tokens: .2, .2, .05, .06; scaled: 1, 1, 0, .067
    assert receler.find_masks(maps, marks, (2, 2), 0.1).tolist() == [[[1, 1], [0, 0]]]
    assert receler.find_masks(maps, marks, (2, 2), 0.05).tolist() == [[[1, 1], [0, 1]]]
    with pytest.raises(
        UserError, match=r"mask_shrink: no attention map has 9 places; there are maps of \[1, 4\]"
    ):
        receler.find_masks(maps, marks, (3, 3), 0.1)
    with pytest.raises(UserError, match="does not hold the name"):
        receler.find_masks(maps, marks & False, (2, 2), 0.1)


def test_what_erasers_do_outside_the_mask_by_hand() -> None:
    masks = torch.tensor([[[1.0, 0.0]]])
    small = torch.tensor([[[5.0, 5.0], [1.0, 3.0]]])  # 1 x 2 places of two channels
    assert receler.outside(small, masks).item() == pytest.approx(5.0)
    large = torch.zeros(1, 8, 2)  # 2 x 4 places, of which the right half counts
    large[0, [0, 1, 4, 5]], large[0, 2] = 7.0, 2.0
    assert receler.outside(large, masks).item() == pytest.approx(4.0 / 4)


def test_soft_prompts_are_written_behind_the_concept(pipeline_for: Pipelines) -> None:
    problem = replace(build_problem(), targets=("cat", "foxes"))
    trainer = receler.EraserTrainer(pipeline_for(), problem, make_config(receler, **FAST))
    conditions = {name: values[1:] for name, values in trainer.conditions.items()}
    before, found = (c["encoder_hidden_states"] for c in (conditions, trainer.insert(conditions)))
    for row, last in ((0, 3), (1, 5)):  # behind the start and the letters of the name
        assert torch.equal(found[row, last + 1 : last + 4], trainer.soft[row + 1])
        assert torch.equal(found[row, : last + 1], before[row, : last + 1])
        assert torch.equal(found[row, last + 4 :], before[row, last + 4 :])


def test_one_step_is_the_formulas(pipeline_for: Pipelines) -> None:
    pipeline = pipeline_for()
    config = make_config(receler, **FAST, rate=1e-2, localising=0.5)
    trainer = receler.EraserTrainer(pipeline, build_problem(), config)
    with torch.no_grad():  # away from zero, where D has no gradient
        for parameter in trainer.parameters:
            parameter.add_(0.05)
    state = trainer.stream.get_state()
    with trainer.erasers.attached(pipeline.unet):
        batch, empty = trainer.draw()
    trainer.stream.set_state(state)
    unet, base, states = pipeline.unet, trainer.base, batch.conditions["encoder_hidden_states"]
    soft = trainer.soft.detach()[1].clone().requires_grad_(True)
    adam = torch.optim.Adam([soft], lr=0.1, weight_decay=0.1)
    with torch.no_grad():
        plain = base(batch.noisy, batch.times, empty["encoder_hidden_states"]).sample
        wanted = base(batch.noisy, batch.times, states).sample

    def predict(prompt: torch.Tensor) -> torch.Tensor:
        written = torch.cat([states[:, :4], prompt.expand(len(states), -1, -1), states[:, 7:]], 1)
        found: torch.Tensor = unet(batch.noisy, batch.times, written).sample
        return found

    with trainer.erasers.attached(unet):
        for _ in range(2):
            attack = (predict(soft) - wanted).square().mean()
            [soft.grad] = torch.autograd.grad(attack, [soft])
            adam.step()
        erasing = (predict(soft.detach()) - (2 * plain - wanted)).square().mean()
        outputs = list(trainer.erasers.outputs.values())
        with torch.no_grad(), receler.keep_maps(base) as kept:
            base(batch.noisy, batch.times, states)
        masks = receler.find_masks(kept.maps, batch.conditions["concept"], (4, 4), 0.1)
        apart = sum(receler.outside(o, masks) for o in outputs) / len(outputs)
        gradients = torch.autograd.grad(erasing + 0.5 * apart, trainer.parameters)
    assert 0 < masks.mean() < 1
    expected = [(p - 1e-2 * g).detach() for p, g in zip(trainer.parameters, gradients, strict=True)]
    trainer.step()
    torch.testing.assert_close(trainer.soft.detach()[1], soft.detach(), rtol=1e-3, atol=1e-4)
    assert trainer.log["attack_loss"][0] == pytest.approx(attack.item(), rel=1e-4)
    assert trainer.log["forget_loss"][0] == pytest.approx(erasing.item(), rel=1e-4)
    for parameter, value in zip(trainer.parameters, expected, strict=True):
        torch.testing.assert_close(parameter.detach(), value, rtol=1e-3, atol=1e-5)


def test_the_attack_brings_the_concept_nearer(pipeline_for: Pipelines) -> None:
    config = make_config(receler, **FAST | {"attack_steps": 30})
    trainer = receler.EraserTrainer(pipeline_for(), build_problem(), config)
    batch, _ = trainer.draw()
    with torch.no_grad():
        wanted = trainer.denoiser.predict(batch, batch.conditions)
        before = trainer.denoiser.predict(batch, trainer.insert(batch.conditions))
    assert trainer.attack(batch, wanted) < 0.7 * (before - wanted).square().mean().item()


def test_the_attacks_own_steps_are_no_progress(
    pipeline_for: Pipelines, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []

    @contextmanager
    def show(title: str, total: int) -> Iterator[Callable[[int, str], None]]:
        yield lambda done, text: seen.append(done)

    monkeypatch.setattr(memory, "show_progress", show)
    with memory.count_steps("receler", 1):
        fit(receler, pipeline_for(), **FAST)
    assert seen == [1]


@pytest.mark.parametrize("family", ["sd3", "flux"])
def test_other_pipelines_are_refused(family_for: Pipelines, family: str) -> None:
    with pytest.raises(UserError, match="receler: does not work on"):
        fit(receler, family_for(family))


def test_without_a_name_it_is_refused(pipeline_for: Pipelines) -> None:
    with pytest.raises(UserError, match="targets: the problem does not name"):
        fit(receler, pipeline_for(), replace(build_problem(), targets=()))
