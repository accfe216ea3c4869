"""The controls of attacks, by hand."""

import numpy as np
import pytest

from unlearnbench.bench.stats.hidden import describe_control, hidden, proves_nothing, strongest
from unlearnbench.bench.types import Value

HALVES = ["A", "A", "B", "B"]
PROMPTS = ["1", "2", "3", "4"]


def test_strongest_is_chosen_on_one_half_and_read_on_the_other() -> None:
    found = strongest({"x": [0, 0, 1, 1], "y": [1, 0, 1, 0]}, HALVES, PROMPTS)
    assert found.chosen == ("x", "y")  # x is lowest on A (0), y on B (1/2)
    assert found.ua.value == 0.75  # y read on A: 1, 0; x read on B: 1, 1
    assert found.ua.low is not None
    assert found.ua.low < 0.75


def test_the_better_of_two_attacks_of_noise_is_not_their_minimum() -> None:
    """Two attacks that do nothing: each image shows the target by chance, half of the time."""
    generator = np.random.default_rng(0)
    read, least = [], []
    for _ in range(400):
        gone = {name: generator.integers(0, 2, 24).astype(float) for name in "xyz"}
        halves, prompts = ["A"] * 12 + ["B"] * 12, [str(i) for i in range(24)]
        read.append(strongest(gone, halves, prompts).ua.value)
        least.append(min(images.mean() for images in gone.values()))
    assert np.mean(read) == pytest.approx(0.5, abs=0.02)
    assert np.mean(least) < 0.43


def test_what_may_have_been_the_strongest_is_missing_not_left_out() -> None:
    found = strongest({"x": [0, 0, 1, 1], "y": [1, np.nan, 1, 0]}, HALVES, PROMPTS)
    assert found.ua.value is None
    assert "under y" in str(found.ua.missing)
    assert strongest({}, HALVES, PROMPTS).ua.value is None
    assert "half B" in str(strongest({"x": [0, 0]}, ["A", "A"], ["1", "2"]).ua.missing)


def test_ua_of_zero_is_a_number() -> None:
    assert strongest({"x": [0, 0, 0, 0]}, HALVES, PROMPTS).ua.value == 0.0


def test_hidden_is_the_paired_difference() -> None:
    found = hidden({"cat": 0.5, "dog": 0.3, "fox": 0.4}, {"cat": 0.1, "dog": 0.1, "fox": 0.0})
    # differences .4, .2, .4: mean 1/3, sd .11547, t(2) = 4.30265, half 4.30265 * .11547 / sqrt(3)
    assert found.value == pytest.approx(1 / 3)
    assert found.high == pytest.approx(1 / 3 + 0.286844, abs=1e-5)
    assert found.n == 3


def test_equal_differences_have_no_interval() -> None:
    found = hidden({"cat": 0.3, "dog": 0.4}, {"cat": 0.1, "dog": 0.2})
    assert found.value == pytest.approx(0.2)
    assert (found.low, found.high) == (None, None)


def test_hidden_of_a_concept_without_a_pair_is_missing() -> None:
    found = hidden({"cat": 0.5, "dog": 0.3}, {"cat": 0.1})
    assert found.value is None
    assert "dog" in str(found.missing)


def test_an_attack_that_succeeds_on_retrain_proves_nothing() -> None:
    on_retrain = Value(value=0.3, low=0.1, high=0.5, n=8)
    assert proves_nothing(on_retrain) is True
    assert "proves nothing" in describe_control("inversion", on_retrain)
    at_chance = Value(value=0.05, low=-0.1, high=0.2, n=8)
    assert proves_nothing(at_chance) is False
    assert proves_nothing(None) is None
    assert "not run on retrain" in describe_control("inversion", None)
