"""H from records: against a plain recomputation, what makes it missing, and who is compared."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from unlearnbench.bench.cli.main import main
from unlearnbench.bench.errors import UserError
from unlearnbench.bench.records.load import Loaded
from unlearnbench.bench.records.record import TaskInfo
from unlearnbench.bench.stats.compare import compare, holm
from unlearnbench.bench.stats.harmonic import measure_harmonic
from unlearnbench.leaderboard.ranking.h_score import (
    UNSCORED,
    HResult,
    collect_h,
    compare_h,
    find_complete,
    summarise_h,
    tied_by_h,
)

from .synthetic import make_record, write

KINDS = ("subject", "style", "background")


def _task(concept: str) -> TaskInfo:
    return TaskInfo(
        id=f"classes/{concept}@emoji", family="classes", concept=concept, anchor=None, world="emoji@1",
        judge="emoji@1", role="evaluated", version=1, targets=[concept],
    )  # fmt: skip


def _loaded(method: str, seed: int = 0, concept: str = "fox", **changes: object) -> Loaded:
    record, items, _ = make_record(method, seed, task=_task(concept))
    points = changes.pop("points", record.points)
    record = record.model_copy(update={"points": points})
    change = changes.pop("change", lambda items: items)
    assert callable(change)
    return Loaded(f"{concept}-{method}-{seed}.json", record, change(items), None)


def _by_hand(items: pd.DataFrame, parts: int = 3) -> float:
    """H of one run from its item rows, in plain loops."""

    def mean(rows: pd.DataFrame, part: int) -> float:
        forget, kept = rows[rows.split == "forget"], rows[(rows.split == "retain") & ~rows.given]
        if part == 0:
            return 1 - float(forget.target_found.astype(float).mean())
        asked, kinds = (kept, KINDS) if part == 1 else (forget, KINDS[1:])
        return float(np.mean([asked[f"found_{k}"] == asked[f"asked_{k}"] for k in kinds]))

    def h(point: int, half: str) -> float:
        rows = items[(items.point == point) & (items.half == half)]
        values = [mean(rows, part) for part in range(parts)]
        return parts / sum(1 / value for value in values) if min(values) > 0 else 0.0

    points = sorted(set(items.point))
    return sum(h(max(points, key=lambda p: (h(p, a), -p)), b) for a, b in ("AB", "BA")) / 2


def test_h_equals_a_plain_recomputation_over_seeds() -> None:
    loaded = [_loaded("balanced", seed) for seed in (0, 1, 2)]
    (row,) = collect_h(loaded)
    assert (row.method, row.task, row.seeds, row.parts) == ("balanced", "classes/fox@emoji", (0, 1, 2), 3)
    assert row.harmonic is not None
    expected = np.mean([_by_hand(entry.items) for entry in loaded if entry.items is not None])
    assert row.harmonic.h == pytest.approx(expected, abs=1e-12)
    assert 0.7 < row.harmonic.h < 0.95


def test_prompts_that_ask_for_nothing_else_leave_two_parts_and_no_board_mixes_them() -> None:
    def bare(items: pd.DataFrame) -> pd.DataFrame:
        return items.assign(asked_style="", asked_background="")

    (row,) = collect_h([_loaded("balanced", change=bare)])
    assert row.parts == 2
    assert row.harmonic is not None
    assert row.harmonic.in_prompt is None
    with pytest.raises(UserError, match="H is of 2 parts on classes/owl@emoji and of 3 parts on classes/fox"):
        collect_h([_loaded("balanced", concept="owl", change=bare), _loaded("balanced")])


def _without_retain(point: int) -> dict[str, object]:
    """Return a record's changes by which one point has no retain image."""
    record, _, _ = make_record("balanced")
    points = [
        info.model_copy(update={"unscored": "too weak"}) if k == point else info
        for k, info in enumerate(record.points)
    ]
    return {
        "points": points,
        "change": lambda items: items[(items.point != point) | (items.split != "retain")],
    }


def test_a_point_without_retain_images_costs_h_only_where_it_could_be_chosen() -> None:
    (whole,), (weak,), (strong,) = (
        collect_h([_loaded("balanced", **changes)])
        for changes in ({}, _without_retain(0), _without_retain(2))
    )
    assert whole.harmonic is not None
    assert weak.harmonic is not None
    assert weak.harmonic.h == whole.harmonic.h  # UA .35: no alignment could make it the best
    assert strong.harmonic is None
    assert strong.missing == UNSCORED


def _unverified(items: pd.DataFrame) -> pd.DataFrame:
    blank = {f"asked_{kind}": "" for kind in KINDS}
    return items.assign(**blank)


def test_where_nothing_is_verified_alignment_is_relative_to_the_base() -> None:
    method, base = _loaded("balanced", change=_unverified), _loaded("none", change=_unverified)
    (row,) = collect_h([method, base])
    assert row.harmonic is not None
    assert method.items is not None
    assert base.items is not None

    def above(items: pd.DataFrame, point: int, half: str) -> float:
        rows = items[(items.point == point) & (items.half == half) & (items.split == "retain") & ~items.given]
        return float((rows.alignment - rows.alignment_shuffled).mean())

    forget = method.items[method.items.split == "forget"]
    gone = 1 - forget.target_found.astype(float).groupby([forget.half, forget.point]).mean().unstack()
    relative = [[min(1, above(method.items, p, h) / above(base.items, 0, h)) for p in range(4)] for h in "AB"]
    assert row.harmonic.h == pytest.approx(measure_harmonic(gone.to_numpy()[None], [relative]).h)
    assert row.parts == 2
    (lone,) = collect_h([method])
    assert "there is no record of `none`" in str(lone.missing)


def _result(method: str, task: str, h: float | None, **changes: object) -> HResult:
    found = None if h is None else measure_harmonic([[[h]] * 2], [[[h]] * 2])
    row = HResult(method, task, (0,), found, None if found else "it failed", 2 if found else 0)
    return replace(row, **changes)  # type: ignore[arg-type]


def _board() -> list[HResult]:
    shift = {"a": 0.2, "b": 0.15, "rival": 0.0}
    rows = [
        _result(method, f"t{i}", 0.5 + by + 0.01 * i + 0.01 * (i % 2) * by)
        for method, by in shift.items()
        for i in range(8)
    ]
    rows += [_result("finetune", f"t{i}", 0.01 * i, is_control=True) for i in range(8)]
    rows += [_result("part", f"t{i}", 0.9 if i else None) for i in range(8)]
    return sorted(rows, key=lambda row: (row.method, row.task))


def test_complete_methods_stand_first_and_nothing_is_dropped() -> None:
    rows = _board()
    assert find_complete(rows) == {"a", "b", "rival"}
    lines = summarise_h(rows)
    assert [line.method for line in lines] == ["a", "b", "rival", "part", "finetune"]
    assert lines[3].concepts == 7
    assert lines[3].lacking == ("t0: it failed",)
    assert all(line.low < line.h < line.high for line in lines)


def test_only_declared_pairs_of_complete_methods_are_tested() -> None:
    rows = _board()
    pairs = [("a", "rival"), ("b", "rival"), ("finetune", "rival"), ("part", "rival")]
    found = compare_h(rows, pairs)
    assert [(row.first, row.second) for row in found] == pairs[:2]
    values = {
        name: [row.harmonic.h for row in rows if row.method == name and row.harmonic]
        for name in ("a", "b", "rival")
    }
    expected = [compare(values[name], values["rival"]) for name in ("a", "b")]
    assert [row.comparison for row in found] == expected
    assert [row.adjusted for row in found] == holm([one.p for one in expected]).tolist()
    assert all(row.guard[0] < row.comparison.low for row in found)
    assert all(row.adjusted < 0.05 for row in found)
    assert all(row.stands for row in found)
    assert tied_by_h(rows)["a"] == ["a", "b"]


def test_the_test_alone_is_not_enough_where_a_loss_may_be_unseen() -> None:
    noise = (0.01, -0.01, 0.02, 0.0, -0.02, 0.01, 0.0, -0.01)
    rows = [_result("a", f"t{i}", 0.9 + x) for i, x in enumerate(noise)]
    rows += [_result("b", f"t{i}", 0.85 + 0.005 * (i % 3)) for i in range(8)]
    (found,) = compare_h(rows, [("a", "b")])
    assert found.adjusted < 0.05
    assert found.guard[0] < 0 < found.guard[1]
    assert not found.stands
    assert tied_by_h(rows)["a"] == ["a", "b"]


def test_a_large_difference_over_many_concepts_stands() -> None:
    rows = [_result(m, f"t{i:02}", h + 0.002 * i) for m, h in (("a", 0.9), ("b", 0.5)) for i in range(24)]
    (found,) = compare_h(rows, [("a", "b")])
    assert found.stands
    assert tied_by_h(rows) == {"a": ["a"], "b": ["b"]}


def test_a_row_from_elsewhere_changes_no_other_row() -> None:
    rows = _board()
    more = [*rows, _result("visitor", "t99", 0.99, is_home=False)]
    assert find_complete(more) == find_complete(rows)
    assert [line for line in summarise_h(more) if line.method != "visitor"] == summarise_h(rows)


def test_the_command_compares_by_h(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for concept in ("fox", "owl"):
        for method in ("balanced", "gradient_sum"):
            write(tmp_path, method, cell=f"{concept}-{method}", task=_task(concept))
    assert main(["compare", str(tmp_path), "--by", "H"]) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "H: harmonic mean of UA, alignment and in-prompt alignment" in out
    assert "balanced - gradient_sum 2 +" in out
    assert main(["compare", str(tmp_path)]) == 0
    assert "AVA: alignment along the frontier" in capsys.readouterr().out
