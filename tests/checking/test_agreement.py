"""A repeated record agrees where its numbers are equal, or the paired interval allows for no difference."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from unlearnbench.bench.checking.agreement import compare_records
from unlearnbench.bench.checking.recomputed import recompute
from unlearnbench.bench.errors import UserError
from unlearnbench.bench.records.load import Loaded, load_one

from ..leaderboard.synthetic import write


@pytest.fixture
def first(tmp_path: Path) -> Loaded:
    return restate(load_one(write(tmp_path, "balanced")))


def restate(entry: Loaded) -> Loaded:
    """Return a record whose headline values are those of its item rows."""
    assert entry.items is not None
    points = []
    for point in entry.record.points:
        own = entry.items[entry.items["point"] == point.index].reset_index(drop=True)
        points.append(point.model_copy(update={"values": recompute(own, None)}))
    return replace(entry, record=entry.record.model_copy(update={"points": points}))


def flip(entry: Loaded, share: float) -> Loaded:
    """Return a re-run in which so many of the gone targets are there again."""
    assert entry.items is not None
    items = entry.items.copy()
    gone = (items["split"] == "forget") & (items["target_found"] == False)  # noqa: E712
    chosen = np.random.default_rng(0).random(len(items)) < share
    items.loc[gone & chosen, "target_found"] = True
    items.loc[gone & chosen, "found_subject"] = "cat face"
    return restate(replace(entry, items=items))


def test_the_same_record_agrees_to_the_last_digit(first: Loaded) -> None:
    found = compare_records(first, first, 0.0)
    assert (found.verdict, found.same_versions, found.same_images) == ("agrees", True, 1.0)
    assert {number.state for number in found.numbers} == {"equal"}
    assert len(found.numbers) == 4 * 7


def test_a_few_flips_are_noise_and_many_are_not(first: Loaded) -> None:
    few = compare_records(first, flip(first, 0.02), 0.02)
    assert few.verdict == "agrees"
    assert "agrees" in {number.state for number in few.numbers}
    many = compare_records(first, flip(first, 0.5), 0.02)
    assert many.verdict == "differs"
    bad = {(number.metric) for number in many.numbers if number.state == "differs"}
    assert bad == {"UA"}
    worst = next(n for n in many.numbers if n.state == "differs")
    assert worst.high is not None
    assert worst.high < -0.02
    assert compare_records(first, flip(first, 0.5), 1.0).verdict == "agrees"


def test_what_is_missing_on_one_side_cannot_be_told(first: Loaded) -> None:
    record = first.record
    without: Any = {name: v for name, v in record.points[0].values.items() if name != "VA"}
    points = [record.points[0].model_copy(update={"values": without}), *record.points[1:]]
    second = replace(first, record=record.model_copy(update={"points": points}))
    assert compare_records(first, second, 0.02).verdict == "unclear"
    fewer = replace(first, record=record.model_copy(update={"points": record.points[1:]}))
    assert compare_records(first, fewer, 0.02).verdict == "unclear"


def test_other_prompts_or_another_task_are_no_repetition(first: Loaded) -> None:
    assert first.items is not None
    other = replace(flip(first, 0.5), items=flip(first, 0.5).items.assign(seed=1))  # type: ignore[union-attr]
    with pytest.raises(UserError, match="not asked for the same images"):
        compare_records(first, other, 0.02)
    task = first.record.task.model_copy(update={"id": "classes/fox@emoji"})
    with pytest.raises(UserError, match="is of classes/fox@emoji"):
        compare_records(first, replace(first, record=first.record.model_copy(update={"task": task})), 0.02)
