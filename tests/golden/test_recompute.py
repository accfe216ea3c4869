"""The package's board against a script of pandas and numpy that knows the definitions alone."""

import ast
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from unlearnbench.bench.records.layout import find_records
from unlearnbench.bench.records.load import load
from unlearnbench.leaderboard.ranking.board import (
    RIVAL,
    collect,
    compare_with_rival,
    find_row,
    summarise,
)
from unlearnbench.leaderboard.ranking.h_score import HResult, collect_h, compare_declared, summarise_h

from .recompute import board

HERE = Path(__file__).parent
RESULTS = HERE.parents[1] / "results"
BOARDS = sorted({path.parent for path in find_records([RESULTS])} - {RESULTS / "sequence"})
"""Without the steps of a sequence, which no board ranks."""


def imported(script: str) -> set[str]:
    """Return the modules that a script of this folder imports, without Python's own."""
    tree = ast.parse((HERE / script).read_text(encoding="utf-8"))
    names = {a.name.split(".")[0] for n in ast.walk(tree) if isinstance(n, ast.Import) for a in n.names}
    names |= {str(n.module).split(".")[0] for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)}
    return names - set(sys.stdlib_module_names)


def test_the_script_imports_pandas_and_numpy_alone() -> None:
    assert imported("recompute.py") == {"pandas", "numpy"}


@pytest.mark.parametrize("folder", [pytest.param(p, id=p.name) for p in BOARDS])
def test_published_boards_are_recomputed(folder: Path) -> None:
    results = collect(load(folder))
    methods = {row.method for row in results}
    if len({row.task for row in results}) < 2 or find_row(methods, RIVAL) not in methods:
        pytest.skip("no board: tuning concepts, or no rival")
    check(folder)


def check_h(results: list[HResult], ours: pd.DataFrame) -> None:
    """H, its parts and interval, and the comparisons; the script draws the ends of means' intervals."""
    for line in summarise_h(results):
        row = ours.loc[line.method]
        stated = [line.h, line.ua, line.alignment, math.nan if line.in_prompt is None else line.in_prompt]
        names = ["H", "UA_at_H", "VA_at_H", "in_prompt_at_H"]
        assert row[names].to_list() == pytest.approx(stated, abs=1e-6, nan_ok=True)
        if line.low is not None and not math.isnan(row["H_low"]):
            assert row[["H_low", "H_high"]].to_list() == pytest.approx([line.low, line.high], abs=0.004)
    rival = find_row({row.method for row in results}, RIVAL)
    for entry in compare_declared(results, rival, "balanced", True).rows:
        row, found = ours.loc[entry.first], entry.comparison
        exact = row[["H_difference", "H_difference_low", "H_difference_high", "H_p"]].to_list()
        assert exact == pytest.approx([found.mean, found.low, found.high, found.p], abs=1e-6)
        assert row[["H_guard_low", "H_guard_high"]].to_list() == pytest.approx(entry.guard, abs=0.006)


def check(folder: Path) -> None:
    loaded = load(folder)
    results = collect(loaded)
    ours = board(folder)
    check_h(collect_h(loaded), ours)
    lines = {line.method: line for line in summarise(results)}
    assert set(ours.index) == set(lines)
    for method, line in lines.items():
        row = ours.loc[method]
        assert row["concepts"] == line.concepts
        stated = (line.ava, line.low, line.high, line.reach, line.in_prompt)
        numbers = [math.nan if number is None else number for number in stated]  # missing
        names = ["AVA", "low", "high", "reach", "in_prompt"]
        assert row[names].to_list() == pytest.approx(numbers, abs=1e-6, nan_ok=True)
    for entry in compare_with_rival(results):
        row, found = ours.loc[entry.first], entry.comparison
        stated = (found.mean, found.low, found.high, found.p)
        names = ["difference", "difference_low", "difference_high", "p"]
        assert row[names].to_list() == pytest.approx(stated, abs=1e-6)


def test_synthetic_boards_are_recomputed(tmp_path: Path) -> None:
    from unlearnbench.bench.records.record import write_record

    from ..leaderboard.synthetic import make_record

    base = make_record("none")[0].task
    for number, concept in enumerate(("ant", "bee", "cow", "dog")):
        task = base.model_copy(update={"id": f"classes/{concept}@emoji", "concept": concept})
        for method in ("none", "placebo", "gradient_sum", "balanced"):
            for seed in (0, 1):
                cell = f"{concept}-{method}-{seed}"
                record, items, sheet = make_record(method, 10 * number + seed, cell=cell, task=task)
                write_record(record.model_copy(update={"seed": seed}), items, sheet, tmp_path)
    check(tmp_path)
    done = subprocess.run(
        [sys.executable, str(HERE / "recompute.py"), str(tmp_path)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "balanced" in done.stdout
    assert np.isfinite(board(tmp_path)["AVA"]).all()
