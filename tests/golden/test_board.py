"""The board's configurations and shown points are those of the highest mean H on the tuning concepts."""

import json
import tomllib
from pathlib import Path

import pandas as pd
import pytest

from .recompute import harmonic, read

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "results"
CHOICE = json.loads((ROOT / "tasks" / "suites" / "board-choice.json").read_text(encoding="utf-8"))
SUITE = tomllib.loads((ROOT / "tasks" / "suites" / "board.toml").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def searched() -> pd.DataFrame:
    return read(RESULTS / "search", role="tuning")


def _mean_h(points: pd.DataFrame, by: str) -> pd.Series:
    groups = points.groupby([by, "task"])
    table = pd.Series({key: harmonic(group) for key, group in groups}).unstack()
    assert table.shape[1] == 4
    return table.mean(axis=1, skipna=False)


def test_each_method_has_the_configuration_of_the_highest_h(searched: pd.DataFrame) -> None:
    methods = sorted(set(searched["method"]))
    assert sorted(CHOICE["methods"]) == sorted([*methods, "placebo"])
    for method in methods:
        h = _mean_h(searched[searched["method"] == method], "config")
        assert len(h) == 4
        (row,) = CHOICE["methods"][method]["rows"]
        chosen = h[json.dumps(row["config"], sort_keys=True)]
        assert chosen == pytest.approx(h.max(), abs=1e-9)
        assert CHOICE["methods"][method]["h"] == pytest.approx(chosen, abs=1e-6)


def test_each_shown_point_has_the_highest_h_by_itself(searched: pd.DataFrame) -> None:
    shown = {method: CHOICE["methods"][method]["rows"][0] for method in set(searched["method"])}
    for method, row in shown.items():
        of_method = searched[searched["method"] == method]
        own = of_method[of_method["config"] == json.dumps(row["config"], sort_keys=True)]
        h = _mean_h(own, "step")
        assert h[row["shown"]] == pytest.approx(h.max(), abs=1e-9)


def test_the_trials_methods_show_the_point_of_the_highest_h_by_itself() -> None:
    arms = read(RESULTS / "trial-arms", role="tuning")
    used = read(RESULTS / "trial").groupby("method")["config"].first()
    shown = {row["name"]: row["shown"] for row in SUITE["methods"] if "shown" in row}
    assert set(shown) == set(used.index)
    for method, step in shown.items():
        own = arms[(arms["method"] == method) & (arms["config"] == used[method])]
        assert _mean_h(own, "step").idxmax() == step
