"""P4D: its gradient, its projection, its text."""

from collections.abc import Callable

import pytest
import torch

from unlearnbench.bench.attacks import p4d
from unlearnbench.bench.attacks.contract import Victim
from unlearnbench.bench.attacks.lessons import Lessons, in_place, list_words, pick_images


def test_its_gradient_is_that_of_finite_differences(make_victim: Callable[..., Victim]) -> None:
    victim = make_victim(torch.float64)
    lessons = Lessons(victim, pick_images(victim.learning.forget, 2, victim.generator))
    words = list_words(victim.pipeline.tokenizer)
    table = victim.pipeline.text_encoder.get_input_embeddings().weight.detach()
    placed, word = table[[5, 9]].clone(), words[min(words)]
    victim.generator.manual_seed(5)
    gradient, value = p4d.gradient(victim, lessons, placed, word, 2)

    def loss(vectors: torch.Tensor) -> float:
        victim.generator.manual_seed(5)
        captions, batch = lessons.draw(2)
        encode = lessons.denoiser.family.encode
        with torch.no_grad():
            target = victim.base.unet(
                batch.noisy,
                batch.times,
                encode(victim.base, captions, victim.size, torch.device("cpu"))["encoder_hidden_states"],
            ).sample
            with in_place(victim.pipeline.text_encoder, vectors, first=1):
                states = encode(victim.pipeline, [f"{word} {word}"] * 2, victim.size, torch.device("cpu"))
            own = victim.pipeline.unet(batch.noisy, batch.times, states["encoder_hidden_states"]).sample
        return (own - target).square().mean().item()

    assert value == pytest.approx(loss(placed), rel=1e-12)
    for place, column in ((0, 0), (1, 17)):
        step = torch.zeros_like(placed)
        step[place, column] = 1e-5
        slope = (loss(placed + step) - loss(placed - step)) / 2e-5
        assert gradient[place, column].item() == pytest.approx(slope, rel=1e-4, abs=1e-10)


def test_the_nearest_word_is_the_one_of_the_highest_cosine() -> None:
    table = torch.tensor([[1.0, 0.0], [0.0, 5.0], [3.0, 3.0]])
    vectors = torch.tensor([[9.0, 1.0], [0.1, 2.0], [0.5, 0.4]])
    assert p4d.nearest(vectors, table).tolist() == [0, 1, 2]


def test_one_text_stands_for_every_prompt(make_victim: Callable[..., Victim]) -> None:
    victim = make_victim()
    inputs = p4d.attack(victim, p4d.Config(budget=2, words=4, images=2, batch=2))
    assert set(inputs.texts) == set(victim.prompts)
    (text,) = set(inputs.texts.values())
    assert len(victim.pipeline.tokenizer(text, add_special_tokens=False).input_ids) == 4
