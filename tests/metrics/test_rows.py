"""What item rows must be, and how they pair with the base model's."""

import numpy as np
import pytest

from unlearnbench.bench.metrics.rows import Columns, check_items, in_split, is_given, pair_with_base, texts
from unlearnbench.bench.types import View


def grid(make_items, prompts=3, samples=2, **change):
    rows = [{"prompt_id": f"p{i}", "sample": s, **change} for i in range(prompts) for s in range(samples)]
    return make_items(*rows)


def test_base_in_another_order_is_aligned(make_items):
    items = grid(make_items)
    order = [4, 0, 5, 2, 1, 3]
    base = items.iloc[order].reset_index(drop=True)
    found = pair_with_base(View(items, base=View(base)))
    np.testing.assert_array_equal(np.array(order)[found], np.arange(6))


def test_base_may_hold_more(make_items):
    items = grid(make_items)
    assert len(pair_with_base(View(items.iloc[:2], base=View(items)))) == 2


def test_missing_base_row_is_named(make_items):
    items = grid(make_items)
    with pytest.raises(ValueError, match="base lacks prompt 'p1', sample 1"):
        pair_with_base(View(items, base=View(items.drop(index=3))))


@pytest.mark.parametrize(("column", "value"), [("prompt", "another text"), ("seed", 7)])
def test_base_of_other_noise_or_words_is_refused(make_items, column, value):
    items = grid(make_items, samples=1)
    base = items.copy()
    base.loc[2, column] = value
    with pytest.raises(ValueError, match=f"base's {column} differs at prompt 'p2'"):
        pair_with_base(View(items, base=View(base)))


def test_prompts_not_repeated_for_their_samples(make_items):
    # Images enumerated, prompts not repeated: sample 1 of a prompt carries the next prompt's words.
    items = grid(make_items)
    texts = [f"text {i}" for i in range(6)]
    with pytest.raises(ValueError, match="prompt 'p0' differs between its own rows"):
        check_items(items.assign(prompt=texts))
    with pytest.raises(ValueError, match="differs between its own rows"):
        check_items(items.assign(asked_subject=["fox", "dog", "fox", "fox", "fox", "fox"]))


def test_a_row_counts_once(make_items):
    items = grid(make_items)
    with pytest.raises(ValueError, match="prompt 'p2', sample 1 is there twice"):
        check_items(items.iloc[[0, 1, 5, 5]])
    with pytest.raises(ValueError, match="prompt 'p2', sample 1 is there twice"):
        check_items(Columns(items.iloc[[0, 1, 5, 5]]))


def test_columns_say_what_the_frame_says_and_take_each_once(make_items):
    items = grid(make_items)
    columns = Columns(items)
    check_items(columns)
    assert columns["prompt_id"] is columns["prompt_id"]
    assert len(columns) == len(items)
    for read in (is_given, lambda rows: in_split(rows, "retain"), lambda rows: texts(rows, "asked_style")):
        np.testing.assert_array_equal(read(columns), read(items))


@pytest.mark.parametrize("column", ["prompt_id", "split", "given", "asked_style", "target_kind"])
def test_truth_of_a_prompt_is_never_empty(make_items, column):
    items = grid(make_items).astype({column: object})
    items.loc[1, column] = None
    with pytest.raises(ValueError, match=f"{column} is empty in 1 rows"):
        check_items(items)


def test_unknown_split_kind_and_lacking_column(make_items):
    items = grid(make_items)
    with pytest.raises(ValueError, match="split is 'forgett'"):
        check_items(items.assign(split="forgett"))
    with pytest.raises(ValueError, match="target_kind is 'person'"):
        check_items(items.assign(target_kind="person"))
    with pytest.raises(ValueError, match="lack the columns seed"):
        check_items(items.drop(columns="seed"))
