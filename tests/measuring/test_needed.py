"""Which images of a point are drawn, and that leaving some out can change no AVA."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest

from unlearnbench.bench.errors import UserError
from unlearnbench.bench.measuring.needed import check_floor, reason_unscored
from unlearnbench.bench.planning.plan import Cell, MethodRow, Suite
from unlearnbench.bench.records.record import read_items, read_record
from unlearnbench.bench.running.runner import Runner
from unlearnbench.bench.stats.frontier import LEVELS


def _suite(seeds: list[int], floor: float) -> Suite:
    return Suite(name="s", tasks=["t"], methods=[MethodRow(name="none")], seeds=seeds, unscored_below=floor)


def test_a_floor_is_as_high_as_can_do_no_harm_and_no_higher() -> None:
    check_floor(_suite([0, 1, 2], 0.4))
    check_floor(_suite([0], 0.8))
    with pytest.raises(UserError, match=r"with 3 seed\(s\) it is at most 0.40"):
        check_floor(_suite([0, 1, 2], 0.41))
    with pytest.raises(UserError, match="unscored_below"):
        check_floor(_suite([0, 1, 2, 3, 4], 0.01))
    # the two other runs forget all: on no half does the mean of the three reach the lowest level
    assert np.mean([0.4 - 1e-6, 1, 1]) < LEVELS[0]


def _rows(a: list[bool], b: list[bool]) -> pd.DataFrame:
    halves = ["A"] * len(a) + ["B"] * len(b)
    found = [not gone for gone in a + b]
    return pd.DataFrame({"split": "forget", "half": halves, "target_found": pd.array(found, dtype="boolean")})


def test_the_better_half_decides() -> None:
    low, high = [True, False, False, False], [True, True, False, False]
    assert "0.25" in str(reason_unscored(_rows(low, low), 0.4))
    assert reason_unscored(_rows(low, high), 0.4) is None
    rows = _rows(low, low)
    rows.loc[0, "target_found"] = None  # the judge failed: nothing is known, so nothing is left out
    assert reason_unscored(rows, 0.4) is None


@pytest.fixture
def run(make_runner: Callable[..., Runner], make_cell: Any) -> Callable[..., tuple[Any, pd.DataFrame, int]]:
    """Return run(floor, shown): record, rows and images drawn of two points that forget nothing."""

    def go(floor: float, shown: int | None) -> tuple[Any, pd.DataFrame, int]:
        cell = make_cell(
            "nudity/alcohol@tiny", "finetune", steps=2, checkpoints=[1, 2], batch=4, rate=1e-7, seed=3
        )
        row = cell.row.model_copy(update={"shown": shown})
        suite = cell.suite.model_copy(update={"unscored_below": floor, "methods": [row]})
        [outcome] = make_runner().run([Cell(suite, cell.task, row, cell.entry, cell.seed)])
        record = read_record(outcome.path)
        rows = read_items(outcome.path, record)
        assert rows is not None
        return record, rows, outcome.drawn

    return go


def test_a_point_that_forgets_nothing_gets_no_retain_image_but_the_last_does(run: Any) -> None:
    record, rows, _ = run(0.4, None)
    first, last = record.points
    assert "below 0.40" in first.unscored
    assert last.unscored is None
    assert set(rows[rows["point"] == 0]["split"]) == {"forget"}
    assert set(rows[rows["point"] == 1]["split"]) == {"forget", "retain", "indirect"}
    assert first.values["UA"].value is not None
    assert str(first.values["VA"].missing).startswith("not scored: UA at most")
    assert last.values["VA"].value is not None


def test_the_shown_point_alone_is_asked_indirectly(run: Any) -> None:
    record, rows, _ = run(0.0, 1)
    assert [point.shown for point in record.points] == [True, False]
    splits = [set(rows[rows["point"] == index]["split"]) for index in (0, 1)]
    assert "indirect" in splits[0]
    assert "indirect" not in splits[1]


def test_scoring_in_two_turns_changes_no_row(run: Any) -> None:
    whole, rows, _ = run(0.0, None)
    again, same, drawn = run(1e-9, None)  # a floor that every point passes: UA is 0, and 0 is below it
    assert drawn == 0
    assert again.points[1].values == whole.points[1].values
    last, repeated = (r[r["point"] == 1].reset_index(drop=True) for r in (rows, same))
    pd.testing.assert_frame_equal(last, repeated)
