"""The adversarial prefix: its gradient, its projection, its words."""

from collections.abc import Callable

import pytest
import torch

from unlearnbench.bench.attacks import adversarial_prefix as prefix
from unlearnbench.bench.attacks.contract import Victim
from unlearnbench.bench.attacks.lessons import Lessons, in_place, list_words, pick_images


def test_its_gradient_is_that_of_finite_differences(make_victim: Callable[..., Victim]) -> None:
    victim = make_victim(torch.float64)
    lessons = Lessons(victim, pick_images(victim.learning.forget, 2, victim.generator))
    encoder = victim.pipeline.text_encoder
    words = list_words(victim.pipeline.tokenizer)
    table = encoder.get_input_embeddings().weight[sorted(words)].detach()
    drawn, word = torch.tensor([3, 7]), words[min(words)]

    def loss(one_hot: torch.Tensor) -> float:
        victim.generator.manual_seed(5)
        captions, batch = lessons.draw(2)
        texts = [f"{word} {word} {caption}" for caption in captions]
        with torch.no_grad(), in_place(encoder, one_hot @ table, first=1):
            return lessons.loss(texts, batch).item()

    victim.generator.manual_seed(5)
    gradient, value = prefix.one_hot_gradient(lessons, table, drawn, word, 2)
    one_hot = torch.nn.functional.one_hot(drawn, len(table)).double()
    assert value == pytest.approx(loss(one_hot), rel=1e-12)
    for place, row in ((0, 3), (0, 11), (1, 20)):
        step = torch.zeros_like(one_hot)
        step[place, row] = 1e-5
        slope = (loss(one_hot + step) - loss(one_hot - step)) / 2e-5
        assert gradient[place, row].item() == pytest.approx(slope, rel=1e-5, abs=1e-10)


def test_projection_by_hand() -> None:
    rows = torch.tensor([[0.5, 0.5, 0.0], [1.0, 0.6, -3.0], [2.0, 0.0, 0.0]])
    # (1, .6): subtract .3 from both; (2, 0, 0): all of it on the first
    wanted = torch.tensor([[0.5, 0.5, 0.0], [0.7, 0.3, 0.0], [1.0, 0.0, 0.0]])
    assert torch.allclose(prefix.project(rows), wanted)


def test_its_words_are_read_as_one_token_each(make_victim: Callable[..., Victim]) -> None:
    victim = make_victim()
    inputs = prefix.attack(victim, prefix.Config(budget=2, words=3, batch=2, images=2))
    assert set(inputs.texts) == set(victim.prompts)
    tokenizer = victim.pipeline.tokenizer
    for name, prompt in victim.prompts.items():
        assert inputs.texts[name].endswith(f" {prompt}")
        first = tokenizer(inputs.texts[name], add_special_tokens=False).input_ids
        assert first[3:] == tokenizer(prompt, add_special_tokens=False).input_ids
    assert len(inputs.log["loss"]) == 2


def test_equal_seeds_give_equal_prefixes(make_victim: Callable[..., Victim]) -> None:
    config = prefix.Config(budget=2, batch=2, images=2, rate=0.5)
    first, second = (prefix.attack(make_victim(seed=3), config) for _ in range(2))
    assert first.texts == second.texts
    assert list(first.log["loss"]) == list(second.log["loss"])
