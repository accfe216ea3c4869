"""The search by a concept vector: its vector, and that it comes nearer."""

from collections.abc import Callable

import torch

from unlearnbench.bench.attacks import concept_vector
from unlearnbench.bench.attacks.contract import Victim


def test_the_vector_is_the_mean_difference_of_the_pairs(make_victim: Callable[..., Victim]) -> None:
    victim = make_victim()
    search = concept_vector.Search(victim, concept_vector.Config(pairs=2, words=4))
    learning = victim.learning
    one, two = (
        search.encode([learning.forget.prompts[i]])[0] - search.encode([learning.clean[i]])[0] for i in (0, 1)
    )
    assert torch.allclose(search.vector, (one + two) / 2, atol=1e-5)
    assert "cat face" in learning.forget.prompts[0]
    assert "cat face" not in learning.clean[0]


def test_generations_come_nearer(make_victim: Callable[..., Victim]) -> None:
    distances = []
    for budget in (1, 8):
        victim = make_victim()
        config = concept_vector.Config(budget=budget, population=8, words=6, pairs=4)
        inputs = concept_vector.attack(victim, config)
        assert all(len(text.split()) == 6 for text in inputs.texts.values())
        distances.append(sum(inputs.log["distance"]))
    assert distances[1] < distances[0]
