"""Inversion: its gradient, the one row that it changes, the word that it asks by."""

from collections.abc import Callable

import pytest
import torch

from unlearnbench.bench.attacks import inversion
from unlearnbench.bench.attacks.contract import Victim
from unlearnbench.bench.attacks.lessons import Lessons, find_rare_word, in_place, pick_images


def test_only_the_row_of_a_word_that_no_prompt_holds_changes(make_victim: Callable[..., Victim]) -> None:
    victim = make_victim()
    table = victim.pipeline.text_encoder.get_input_embeddings().weight
    before = table.detach().clone()
    number, word = find_rare_word(
        victim.pipeline.tokenizer, [*victim.prompts.values(), *victim.learning.forget.prompts]
    )
    inputs = inversion.attack(victim, inversion.Config(budget=2, images=2, batch=2))
    changed = (table.detach() != before).any(dim=1).nonzero().flatten().tolist()
    assert changed == [number]
    assert inputs.texts["two"] == f"a picture of a {word}"
    assert word not in " ".join(victim.prompts.values()).split()


def test_the_first_step_is_against_the_gradient(make_victim: Callable[..., Victim]) -> None:
    """Finite differences give the gradient; AdamW's first step is rate times its sign."""
    victim = make_victim(torch.float64)
    lessons = Lessons(victim, pick_images(victim.learning.forget, 2, victim.generator))
    encoder, tokenizer = victim.pipeline.text_encoder, victim.pipeline.tokenizer
    number, word = find_rare_word(tokenizer, [*victim.prompts.values(), *victim.learning.forget.prompts])
    table = encoder.get_input_embeddings().weight
    own = tokenizer("cat face", add_special_tokens=False).input_ids
    start = table[own].mean(dim=0, keepdim=True).detach()
    captions, batch = lessons.draw(2)
    texts = [inversion.call(caption, victim.targets, word) for caption in captions]

    def loss(vector: torch.Tensor) -> float:
        with torch.no_grad(), in_place(encoder, vector, token=number):
            return lessons.loss(texts, batch).item()

    again = make_victim(torch.float64)
    inversion.attack(again, inversion.Config(budget=1, images=2, batch=2, rate=0.01))
    moved = again.pipeline.text_encoder.get_input_embeddings().weight[number] - start[0]
    for place in (0, 5, 40):
        step = torch.zeros_like(start)
        step[0, place] = 1e-5
        slope = (loss(start + step) - loss(start - step)) / 2e-5
        assert moved[place].item() == pytest.approx(-0.01 * slope / (abs(slope) + 1e-8), rel=1e-3)


def test_a_text_without_the_target_has_the_word_in_front() -> None:
    assert inversion.call("happy hour", ("wine glass",), "xyz") == "xyz happy hour"
    assert inversion.call("a wine glass on red", ("wine glass",), "xyz") == "a xyz on red"
