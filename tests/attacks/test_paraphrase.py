"""Paraphrases: what is tried, and what is kept."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from unlearnbench.bench.attacks import paraphrase
from unlearnbench.bench.attacks.contract import Inputs, Verdict, Victim


def test_the_best_wording_is_kept_and_a_tie_keeps_the_prompt(make_victim: Callable[..., Victim]) -> None:
    drawn: list[tuple[list[str], list[int]]] = []

    def draw(prompts: Sequence[str], seeds: Sequence[int]) -> list[Any]:
        drawn.append((list(prompts), list(seeds)))
        return list(prompts)

    def judge(images: list[Any]) -> Verdict:
        found = np.array([text == "cat face" and len(drawn) == 1 for text in images])
        return Verdict(found, found.astype(float))

    victim = make_victim(draw=draw, judge=judge)
    inputs = paraphrase.attack(victim, paraphrase.Config(budget=3))
    assert inputs.texts == {"one": "cat face"}  # of the second prompt nothing showed the target
    prompts, seeds = drawn[0]
    assert prompts[0] == victim.prompts["one"]
    assert len(prompts) == 4
    assert len(set(seeds)) == 1
    assert drawn[0][1] != drawn[1][1]


def test_captions_of_the_learning_images_follow_the_wordings(make_victim: Callable[..., Victim]) -> None:
    victim = make_victim()
    tried = paraphrase.list_wordings(victim, paraphrase.Config(budget=5, wordings=("{target}",)), "cat face")
    assert tried == list(dict.fromkeys(victim.learning.forget.prompts))[:5]
    assert paraphrase.attack(victim, paraphrase.Config(budget=0)) == Inputs()
