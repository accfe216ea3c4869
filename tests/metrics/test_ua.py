"""UA and its split, on rows whose answer is known."""

import numpy as np
import pytest
from scipy.stats import binomtest

from unlearnbench.bench.metrics.ua import METRIC
from unlearnbench.bench.types import View


def measure(items):
    return METRIC.reduce(METRIC.per_item(items), View(items))


def test_hand_worked(make_items, forget_row):
    items = make_items(*(forget_row(found) for found in ("cat", "dog", "dog", "", "cat")), {})
    values = measure(items)
    assert values["UA"].value == pytest.approx(3 / 5)
    assert values["UA_other"].value == pytest.approx(2 / 5)
    assert values["UA_nothing"].value == pytest.approx(1 / 5)
    assert values["UA"].n == 5
    assert next(iter(values)) == "UA"
    exact = binomtest(3, 5).proportion_ci(method="exact")
    assert (values["UA"].low, values["UA"].high) == pytest.approx((exact.low, exact.high))
    np.testing.assert_array_equal(METRIC.per_item(items), [0, 1, 1, 1, 0, np.nan])


def test_any_of_several_targets_counts_as_found(make_items, forget_row):
    # A category (alcohol) has many targets: the judge's verdict counts, not the prompt's own word.
    values = measure(make_items(forget_row("beer", target_found=True), forget_row("tea")))
    assert (values["UA"].value, values["UA_other"].value) == (0.5, 0.5)


def test_split_adds_up_on_random_rows(make_items, forget_row):
    rng = np.random.default_rng(0)
    rows = [forget_row(str(found)) for found in rng.choice(["cat", "dog", "fox", ""], 200)]
    values = measure(make_items(*rows))
    assert values["UA_other"].value + values["UA_nothing"].value == pytest.approx(values["UA"].value)


def test_style_target_is_split_by_style(make_items, forget_row):
    row = {"target_kind": "style", "target_found": False, "found_subject": ""}
    values = measure(make_items(forget_row("", **{**row, "found_style": "flat"})))
    assert (values["UA_other"].value, values["UA_nothing"].value) == (1, 0)


@pytest.mark.parametrize("failure", [None, np.nan])
def test_failed_judge_is_missing_never_a_number(make_items, forget_row, failure):
    items = make_items(forget_row("dog"), forget_row("dog", target_found=failure, found_subject=failure))
    values = measure(items)
    for name in ("UA", "UA_other", "UA_nothing"):
        assert values[name].value is None
        assert "failed on 1 of 2" in values[name].missing
        assert values[name].n == 2


def test_all_failed(make_items, forget_row):
    assert "failed on 2 of 2" in measure(make_items(forget_row(None), forget_row(None)))["UA"].missing


def test_failed_attribute_judge_leaves_ua(make_items, forget_row):
    values = measure(make_items(forget_row("dog", found_subject=None), forget_row("cat")))
    assert values["UA"].value == 0.5
    assert values["UA_nothing"].value is None


def test_indirect_prompts_are_counted_apart(make_items, forget_row):
    rows = [forget_row("dog"), forget_row("cat", split="indirect"), forget_row("dog", split="indirect")]
    values = measure(make_items(*rows))
    assert (values["UA"].value, values["UA_indirect"].value) == (1, 0.5)
    assert values["UA_indirect"].n == 2


def test_without_rows(make_items, forget_row):
    assert measure(make_items(forget_row("dog")))["UA_indirect"].missing == "no indirect images"
    values = measure(make_items({}))
    assert {value.value for value in values.values()} == {None}
    assert measure(make_items())["UA"].missing == "no forget images"


def test_order_of_rows_does_not_matter(make_items, forget_row):
    rng = np.random.default_rng(1)
    rows = [
        forget_row(str(found), prompt_id=f"p{i // 4}", sample=i % 4)
        for i, found in enumerate(rng.choice(["cat", "dog", ""], 80))
    ]
    items = make_items(*rows)
    assert measure(items) == measure(items.sample(frac=1, random_state=0))
