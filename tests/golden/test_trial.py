"""The trial's configurations are those of the highest mean H in the records of the tuning concepts."""

import json
from pathlib import Path

import pandas as pd
import pytest

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
