"""AS, its difference to the base, and its difference to shuffled pairs."""

import numpy as np
import pytest

from unlearnbench.bench.metrics.alignment import METRIC
from unlearnbench.bench.types import View


def measure(items, base=None):
    view = View(items, base=None if base is None else View(base))
    return METRIC.reduce(METRIC.per_item(items), view)


def cosines(make_items, values, shuffled=0.1, **change):
    rows = [
        {"alignment": v, "alignment_shuffled": shuffled, "prompt_id": f"p{i // 2}", "sample": i % 2, **change}
        for i, v in enumerate(values)
    ]
    return make_items(*rows)


def test_hand_worked(make_items, forget_row):
    # The last score is not the mean: another benchmark reported the last image's.
    items = cosines(make_items, [0.1, 0.2, 0.3, 0.8])
    value = measure(items)["AS"]
    assert value.value == pytest.approx(0.35)
    assert value.n == 4
    assert value.low < 0.35 < value.high
    assert measure(items)["AS_chance"].value == pytest.approx(0.25)
    assert measure(items)["AS_delta"].missing == "no base model to compare with"


def test_only_retain_rows_that_were_not_given(make_items, forget_row):
    items = make_items(
        {"alignment": 0.3}, {"alignment": 0.9, "given": True}, forget_row("cat", alignment=0.9)
    )
    assert measure(items)["AS"].value == pytest.approx(0.3)
    np.testing.assert_array_equal(METRIC.per_item(items), [0.3, np.nan, np.nan])


def test_delta_is_paired_whatever_the_order(make_items):
    rng = np.random.default_rng(0)
    before = rng.uniform(0, 1, 20)
    items = cosines(make_items, before - 0.05)
    base = cosines(make_items, before).sample(frac=1, random_state=3).reset_index(drop=True)
    value = measure(items, base)["AS_delta"]
    assert value.value == pytest.approx(-0.05)
    # Every pair differs by the same: paired, the interval has no width; unpaired it would have .3.
    assert value.high - value.low == pytest.approx(0, abs=1e-12)


def test_base_lacking_a_row_is_an_error(make_items):
    items = cosines(make_items, [0.1, 0.2, 0.3, 0.8])
    with pytest.raises(ValueError, match="lacks prompt 'p1', sample 1"):
        measure(items, items.iloc[:3])


def test_lacking_cosine_is_missing(make_items):
    items = cosines(make_items, [0.1, np.nan, 0.3, 0.8])
    assert measure(items)["AS"].missing == "no cosine for 1 of 4 retain images"
    whole = cosines(make_items, [0.1, 0.2, 0.3, 0.8])
    assert measure(whole, items)["AS_delta"].value is None
    assert measure(whole, items)["AS"].value == pytest.approx(0.35)


def test_model_blind_to_its_prompt_is_at_chance(make_items):
    values = measure(cosines(make_items, [0.2] * 10, shuffled=0.2))
    assert values["AS"].value == pytest.approx(0.2)
    assert values["AS_chance"].value == pytest.approx(0)


def test_without_rows_and_with_one_prompt(make_items):
    assert measure(make_items())["AS"].value is None
    value = measure(cosines(make_items, [0.1, 0.3]))["AS"]
    assert (value.value, value.low, value.high) == (pytest.approx(0.2), None, None)


def test_order_of_rows_does_not_matter(make_items):
    items = cosines(make_items, np.random.default_rng(0).uniform(0, 1, 40))
    first, second = measure(items)["AS"], measure(items.sample(frac=1, random_state=0))["AS"]
    assert (first.value, first.low, first.high) == pytest.approx((second.value, second.low, second.high))
