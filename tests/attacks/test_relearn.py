"""Relearning: a step by hand, and that it learns."""

from collections.abc import Callable

import torch

from unlearnbench.bench.attacks import relearn
from unlearnbench.bench.attacks.contract import Victim
from unlearnbench.bench.attacks.lessons import Lessons, pick_images


def test_the_first_step_of_adamw_by_hand(make_victim: Callable[..., Victim]) -> None:
    """AdamW's first step without decay is rate * g / (|g| + 1e-8)."""
    other = make_victim()
    lessons = Lessons(other, pick_images(other.learning.forget, 3, other.generator))
    weight = other.pipeline.unet.conv_in.weight
    before = weight.detach().clone()
    weight.requires_grad_(True)
    texts, batch = lessons.draw(2)
    (gradient,) = torch.autograd.grad(lessons.loss(texts, batch), weight)
    victim = make_victim()
    relearn.attack(victim, relearn.Config(budget=1, images=3, batch=2, rate=1e-3))
    wanted = before - 1e-3 * gradient / (gradient.abs() + 1e-8)
    assert torch.allclose(victim.pipeline.unet.conv_in.weight, wanted, atol=2e-6)


def test_unrelated_images_are_those_of_the_retain_set(make_victim: Callable[..., Victim]) -> None:
    first, second = (
        relearn.attack(make_victim(), relearn.Config(budget=1, images=3, batch=2, shows=shows))
        for shows in ("target", "unrelated")
    )
    assert list(first.log["loss"]) != list(second.log["loss"])
