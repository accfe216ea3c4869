"""The controls of attacks, by hand."""

import pytest

from unlearnbench.bench.stats.hidden import describe_control, hidden, proves_nothing, strongest
from unlearnbench.bench.types import Value


def test_strongest_is_chosen_on_one_half_and_read_on_the_other() -> None:
    found = strongest({"x": {"A": 0.2, "B": 0.9}, "y": {"A": 0.5, "B": 0.4}})
    assert found.chosen == ("x", "y")  # x is lowest on A, y on B
    assert found.ua.value == pytest.approx((0.9 + 0.5) / 2)  # x read on B, y read on A


def test_a_lacking_half_is_missing_not_left_out() -> None:
    found = strongest({"x": {"A": 0.2, "B": 0.9}, "y": {"A": None, "B": 0.0}})
    assert found.ua.value is None
    assert "y" in str(found.ua.missing)
    assert strongest({}).ua.value is None


def test_ua_of_zero_is_a_number() -> None:
    assert strongest({"x": {"A": 0.0, "B": 0.0}}).ua.value == 0.0


def test_hidden_is_the_paired_difference() -> None:
    found = hidden({"cat": 0.5, "dog": 0.3, "fox": 0.4}, {"cat": 0.1, "dog": 0.1, "fox": 0.0})
    # differences .4, .2, .4: mean 1/3, sd .11547, t(2) = 4.30265, half 4.30265 * .11547 / sqrt(3)
    assert found.value == pytest.approx(1 / 3)
    assert found.high == pytest.approx(1 / 3 + 0.286844, abs=1e-5)
    assert found.n == 3


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
