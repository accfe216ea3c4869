"""VA, in-prompt alignment, IRA and CRA, on rows whose answer is known."""

import numpy as np
import pytest

from unlearnbench.bench.metrics import cra, in_prompt, ira, va
from unlearnbench.bench.types import View

FAMILY = {"relation": "same"}
ALL = (va, in_prompt, ira, cra)


def measure(module, items):
    return module.METRIC.reduce(module.METRIC.per_item(items), View(items))


def test_va_pools_attributes(make_items):
    # 3 asked, 2 found; 1 asked, 0 found: pooled 2/4, while the mean of the rows' shares is 1/3.
    one = {"asked_style": "", "asked_background": "", "found_subject": "dog"}
    items = make_items({"found_background": "blue"}, one)
    value = measure(va, items)["VA"]
    assert value.value == pytest.approx(0.5)
    assert value.n == 2
    np.testing.assert_allclose(va.METRIC.per_item(items), [2 / 3, 0])


def test_va_is_the_mean_over_all_rows(make_items):
    # Another benchmark wrote the last image's score where the mean belonged.
    items = make_items({}, {}, {}, {"found_subject": "", "found_style": "", "found_background": ""})
    assert measure(va, items)["VA"].value == pytest.approx(0.75)


def test_va_by_loops(make_items):
    rng = np.random.default_rng(0)
    words = ["fox", "dog", ""]
    rows = [
        {
            "asked_subject": str(rng.choice(words)),
            "found_subject": str(rng.choice(words)),
            "given": bool(i % 3),
        }
        for i in range(60)
    ]
    items = make_items(*rows)
    hits = asked = 0
    for _, row in items[~items["given"]].iterrows():
        for kind in ("subject", "style", "background"):
            if row[f"asked_{kind}"]:
                asked += 1
                hits += row[f"asked_{kind}"] == row[f"found_{kind}"]
    assert measure(va, items)["VA"].value == pytest.approx(hits / asked)


def test_unasked_attributes_do_not_count(make_items):
    items = make_items({"asked_background": "", "found_background": ""})
    assert measure(va, items)["VA"].value == 1
    items = make_items({"asked_subject": "", "asked_style": "", "asked_background": ""})
    assert measure(va, items)["VA"].value is None
    assert np.isnan(va.METRIC.per_item(items)).all()


def test_given_concepts_are_apart(make_items):
    values = measure(va, make_items({"given": True}, {"found_subject": "dog"}))
    assert values["VA_given"].value == 1
    assert values["VA"].value == pytest.approx(2 / 3)


def test_va_counts_retain_rows_alone(make_items, forget_row):
    items = make_items({"found_subject": "dog"}, forget_row("cat"), forget_row("cat", split="indirect"))
    assert measure(va, items)["VA"].value == pytest.approx(2 / 3)
    assert measure(va, items)["VA"].n == 1


def test_in_prompt_counts_other_kinds_of_forget_rows(make_items, forget_row):
    items = make_items(forget_row("cat", found_style="flat"), forget_row("dog"), {"found_style": ""})
    value = measure(in_prompt, items)["in_prompt"]
    assert value.value == pytest.approx(3 / 4)
    assert value.n == 2
    np.testing.assert_array_equal(in_prompt.METRIC.per_item(items), [0.5, 1, np.nan])


def test_in_prompt_of_a_style(make_items, forget_row):
    items = make_items(forget_row("cat", target_kind="style", found_style=""))
    assert measure(in_prompt, items)["in_prompt"].value == 1


def test_in_prompt_leaves_indirect_out(make_items, forget_row):
    items = make_items(forget_row("dog", split="indirect"))
    assert measure(in_prompt, items)["in_prompt"].value is None


def test_ira_and_cra_of_a_subject(make_items):
    items = make_items(FAMILY, {**FAMILY, "found_subject": "dog"}, {}, {}, {"found_subject": ""})
    assert measure(ira, items)["IRA"].value == pytest.approx(1 / 2)
    assert measure(cra, items)["CRA"].value == pytest.approx(2 / 3)
    np.testing.assert_array_equal(ira.METRIC.per_item(items), [1, 0, np.nan, np.nan, np.nan])
    np.testing.assert_array_equal(cra.METRIC.per_item(items), [np.nan, np.nan, 1, 1, 0])


def test_ira_and_cra_of_a_style(make_items):
    rows = [{"found_style": "flat"}, {}, {"found_subject": ""}, {"found_subject": ""}]
    items = make_items(*({**row, "target_kind": "style"} for row in rows))
    assert measure(ira, items)["IRA"].value == pytest.approx(3 / 4)
    assert measure(cra, items)["CRA"].value == pytest.approx(1 / 2)


def test_ira_and_cra_given(make_items):
    items = make_items({**FAMILY, "given": True}, {"given": True, "found_subject": ""})
    values = measure(ira, items) | measure(cra, items)
    assert (values["IRA_given"].value, values["CRA_given"].value) == (1, 0)
    assert values["IRA"].missing == "no in-domain retain images of concepts not given"
    assert values["CRA"].value is None


def test_every_retained_concept_counts(make_items):
    # Another benchmark skipped label 0: every concept in turn fails, and each failure shows.
    concepts = ["ant", "bee", "cow", "dog"]
    for wrong in concepts:
        rows = [{**FAMILY, "asked_subject": c, "found_subject": "" if c == wrong else c} for c in concepts]
        assert measure(ira, make_items(*rows))["IRA"].value == pytest.approx(3 / 4)


@pytest.mark.parametrize("module", ALL)
@pytest.mark.parametrize("failure", [None, np.nan])
def test_failed_judge_is_missing(make_items, forget_row, module, failure):
    # The subject's judge fails on retain rows, the style's on forget rows: no value is a guess.
    bad = {"found_subject": failure, "found_style": failure}
    items = make_items({}, bad, {**FAMILY, **bad}, forget_row("cat", found_style=failure))
    value = next(iter(measure(module, items).values()))
    assert value.value is None
    assert "the judge failed on" in value.missing


@pytest.mark.parametrize("module", ALL)
def test_without_rows(make_items, module):
    assert all(v.value is None and v.missing for v in measure(module, make_items()).values())


@pytest.mark.parametrize("module", ALL)
@pytest.mark.parametrize("seen", ["", "confetti"])
def test_garbage_does_not_look_good(make_items, forget_row, module, seen):
    # Nothing known, or always the same wrong thing: perfect UA must cost everything else.
    drawn = {"found_subject": seen, "found_style": seen, "found_background": seen}
    rows = [{**drawn, **extra} for extra in ({}, FAMILY) for _ in range(20)]
    items = make_items(*rows, *(forget_row(seen, **drawn) for _ in range(20)))
    value = next(iter(measure(module, items).values()))
    assert value.value == 0
    assert value.high < 0.2


@pytest.mark.parametrize("module", ALL)
def test_order_of_rows_does_not_matter(make_items, forget_row, module):
    rng = np.random.default_rng(2)
    rows = []
    for i in range(60):
        base = (forget_row("dog"), FAMILY, {})[(i // 3) % 3]
        rows.append(
            {**base, "prompt_id": f"p{i // 3}", "sample": i % 3, "found_style": str(rng.choice(["line", ""]))}
        )
    items = make_items(*rows)
    assert measure(module, items) == measure(module, items.sample(frac=1, random_state=0))


def test_samples_of_one_prompt_widen_the_interval(make_items):
    def width(samples_agree):
        rows = []
        for i in range(80):
            wrong = (i // 4) % 2 if samples_agree else i % 2
            rows.append(
                {**FAMILY, "prompt_id": f"p{i // 4}", "sample": i % 4, "found_subject": ["fox", ""][wrong]}
            )
        value = measure(ira, make_items(*rows))["IRA"]
        return value.high - value.low

    assert width(True) > 1.8 * width(False)
