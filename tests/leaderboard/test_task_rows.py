"""The point of a row is chosen on half A and scored on half B; nothing that is missing becomes a number."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from unlearnbench.bench.errors import UserError
from unlearnbench.bench.records.load import Loaded, load
from unlearnbench.bench.records.record import items_digest, write_record
from unlearnbench.leaderboard.ranking.task_rows import TaskRow, differences, rows

from .synthetic import Chances, make_items, make_point, make_record, write, write_failed

Halves = tuple[float, float]
"""A share on half A and on half B."""


def set_shares(items: pd.DataFrame, half: str, ua: float, va: float) -> None:
    """Make exactly these shares of a half's forget images lack the target, and of its VA rows obey."""
    forget = items.index[(items["split"] == "forget") & (items["half"] == half)]
    gone = np.arange(len(forget)) < round(ua * len(forget))
    items.loc[forget, "target_found"] = ~gone
    items.loc[forget, "found_subject"] = np.where(gone, "dog face", "cat face")
    retain = items.index[(items["split"] == "retain") & (items["half"] == half) & ~items["given"]]
    obeyed = np.arange(len(retain)) < round(va * len(retain))
    for kind in ("subject", "style", "background"):
        items.loc[retain, f"found_{kind}"] = np.where(obeyed, items.loc[retain, f"asked_{kind}"], "")


def row_of(points: Sequence[tuple[int, Halves, Halves]], **changes: Any) -> TaskRow:
    """Return the row of a record with points of (step, UA on A and B, VA on A and B)."""
    frames = []
    for index, (_, ua, va) in enumerate(points):
        items = make_items(Chances(0.5, 0.0, 1.0, 1.0, 0), np.random.default_rng(index), index)
        for half, u, v in zip("AB", ua, va, strict=True):
            set_shares(items, half, u, v)
        frames.append(items)
    items = pd.concat(frames, ignore_index=True)
    made = [make_point(i, Chances(0.5, 0, 0.5, 0.5, step), False) for i, (step, _, _) in enumerate(points)]
    record, _, _ = make_record("balanced", points=made, sheet=[], items_sha256=items_digest(items), **changes)
    return rows([Loaded("a.json", record, items, None)])[0]


def test_the_best_aligned_of_the_points_that_reach_is_shown() -> None:
    row = row_of([(40, (0.9, 1), (1, 1)), (80, (1, 1), (0.5, 1)), (120, (1, 1), (0.75, 0.5))])
    assert row.point is not None
    assert row.point.step == 120
    assert row.choice is not None
    assert row.choice.reached is True


def test_shown_values_are_those_of_half_b_alone() -> None:
    row = row_of([(40, (1, 0.25), (1, 0.5))])
    assert row.value("UA").value == pytest.approx(0.25)
    assert row.value("UA").n == 24
    assert row.value("VA").value == pytest.approx(0.5)
    assert row.value("UA_other").value == pytest.approx(0.25)
    low, high = row.value("UA").low, row.value("UA").high
    assert low is not None
    assert high is not None
    assert 0 < low < 0.25 < high < 1


def test_other_columns_are_the_points_own() -> None:
    row = row_of([(40, (1, 0.25), (1, 0.5))])
    assert row.point is not None
    for name in ("UA_indirect", "IRA", "KID", "AS_delta"):
        assert row.value(name) == row.point.values[name]
    assert row.value("seconds").value == pytest.approx(0.42 * 40)


def test_ties_go_to_fewer_steps() -> None:
    row = row_of([(120, (1, 1), (1, 1)), (40, (1, 1), (1, 1)), (80, (1, 1), (1, 1))])
    assert row.point is not None
    assert row.point.step == 40


def test_without_a_point_that_reaches_the_highest_ua_is_shown_and_marked() -> None:
    row = row_of([(40, (0.5, 1), (1, 1)), (80, (0.75, 1), (0.25, 1)), (120, (0.25, 1), (1, 1))])
    assert row.point is not None
    assert row.point.step == 80
    assert row.choice is not None
    assert row.choice.reached is False


def test_a_judge_that_failed_makes_a_value_missing() -> None:
    items = make_items(Chances(1, 0, 1, 1, 40), np.random.default_rng(0))
    spoilt = items.index[(items["split"] == "forget") & (items["half"] == "B")][0]
    items.loc[spoilt, "target_found"] = None
    record, _, _ = make_record(
        "balanced", points=[make_point(0, Chances(1, 0, 1, 1, 40), False)], sheet=[],
        items_sha256=items_digest(items),
    )  # fmt: skip
    value = rows([Loaded("a.json", record, items, None)])[0].value("UA")
    assert value.value is None
    assert "judge failed" in str(value.missing)


def test_a_record_without_items_shows_its_own_values() -> None:
    record, _, _ = make_record("balanced", items_sha256=None, sheet=[], source="reported")
    row = rows([Loaded("a.json", record, None, None)])[0]
    assert row.choice is not None
    assert row.choice.reached is None
    assert row.value("UA") == record.points[-1].values["UA"]


def test_order_is_reference_noise_floor_methods_failures(tmp_path: Path) -> None:
    for method in ("gradient_sum", "balanced", "none", "placebo", "finetune"):
        write(tmp_path, method)
    write_failed(tmp_path, "out of memory")
    found = rows(load(tmp_path))
    assert [row.label for row in found] == [
        "none", "placebo", "balanced · seed 0", "finetune", "gradient_sum", "balanced · seed 1",
    ]  # fmt: skip
    failed = found[-1]
    assert failed.failed
    assert failed.point is None
    assert failed.value("UA").missing == "the run failed: out of memory"


def test_rows_of_a_sweep_are_named_by_the_settings_that_differ(tmp_path: Path) -> None:
    method = make_record("balanced")[0].method
    for number, (rate, part, seed) in enumerate(((1e-5, "full", 0), (2e-5, "full", 0), (2e-5, "full", 1))):
        config = {**method.config, "rate": rate, "part": part}
        own = method.model_copy(update={"config": config})
        write(tmp_path, "balanced", seed, method=own, cell=f"cell-{number}")
    assert sorted(row.label for row in rows(load(tmp_path))) == [
        "balanced · rate 1e-05", "balanced · rate 2e-05 · seed 0", "balanced · rate 2e-05 · seed 1",
    ]  # fmt: skip


def test_the_reference_has_nothing_to_reach(tmp_path: Path) -> None:
    write(tmp_path, "none")
    row = rows(load(tmp_path))[0]
    assert row.role == "reference"
    assert row.choice is not None
    assert row.choice.reached is None


def test_one_row_does_not_change_anothers_numbers(tmp_path: Path) -> None:
    write(tmp_path, "balanced")
    alone = rows(load(tmp_path))[0]
    write(tmp_path, "gradient_sum")
    assert rows(load(tmp_path))[0].values == alone.values


def test_rows_that_were_not_measured_alike_are_told(tmp_path: Path) -> None:
    write(tmp_path, "none")
    write(tmp_path, "balanced")
    assert differences(rows(load(tmp_path))) == []
    write(tmp_path, "finetune", prompts_sha256="77" * 32)
    assert differences(rows(load(tmp_path))) == ["evaluation prompts (777777777777; 9f9f9f9f9f9f)"]


def test_items_that_metrics_refuse_are_named_with_their_file(tmp_path: Path) -> None:
    record, items, _ = make_record("balanced", sheet=[])
    items.loc[3, "split"] = "other"
    record = record.model_copy(update={"items_sha256": items_digest(items)})
    write_record(record, items, None, tmp_path)
    with pytest.raises(UserError, match=rf"{record.cell}.json: item rows: .*split"):
        rows(load(tmp_path))


def test_the_base_drawn_again_from_other_noise_is_no_difference(tmp_path: Path) -> None:
    write(tmp_path, "none")
    write(tmp_path, "balanced")
    sampling = make_record("none")[0].sampling | {"noise": 1}
    write(tmp_path, "none", cell="again", sampling=sampling, prompts_sha256="77" * 32)
    found = rows(load(tmp_path))
    assert [row.label for row in found] == ["none · noise 0", "none · noise 1", "balanced"]
    assert differences(found) == []
