"""The trial's configurations are those of the highest mean H in the records of the tuning concepts."""

import json
from pathlib import Path

import pandas as pd
import pytest

from . import diversity
from .recompute import harmonic, read, read_records

RESULTS = Path(__file__).parents[2] / "results"
METHODS = ("balanced", "gradient_sum")


@pytest.fixture(scope="module")
def tuned() -> pd.Series:
    """H of every method and configuration, the mean of the tuning concepts."""
    tables = [read(RESULTS / name, role="tuning") for name in ("trial-tuning", "trial-arms")]
    groups = pd.concat(tables).groupby(["method", "config", "task"])
    by_task = pd.Series({key: harmonic(points) for key, points in groups}).unstack()
    assert by_task.shape[1] == 4
    return by_task.mean(axis=1, skipna=False)


def test_the_chosen_configurations_are_those_of_the_highest_h(tuned: pd.Series) -> None:
    records = read_records(RESULTS / "trial").values()
    for method in METHODS:
        used = {
            json.dumps(r["method"]["config"], sort_keys=True)
            for r in records
            if r["method"]["name"] == method
        }
        assert used == {tuned[method].idxmax()}


def test_the_narrow_retain_set_against_the_diverse_one() -> None:
    """The numbers that results/README.md prints."""
    rows = diversity.arms(RESULTS / "trial-narrow", RESULTS / "trial")
    assert rows.groupby(["method", "arm"])["task"].nunique().eq(8).all()
    found = diversity.compare(rows, "trial-narrow", "trial").round(3)
    assert found.loc["balanced"].to_list() == [0.720, 0.765, -0.045, -0.095, 0.005, 0.086]
    assert found.loc["gradient_sum"].to_list() == [0.779, 0.781, -0.002, -0.072, 0.067, 0.953]
    assert found.loc["balanced - gradient_sum", "difference":"high"].to_list() == [-0.042, -0.099, 0.014]
    last = rows[rows["step"] == 80].groupby(["method", "arm"])["VA"].mean()
    assert last.round(2).to_list() == [0.82, 0.65, 0.94, 0.83]  # trial, trial-narrow
