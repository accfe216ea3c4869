"""The published comparison at equal UA: the numbers that results/README.md prints, pinned."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from unlearnbench.bench.stats import compare

from . import equal_ua as script
from . import recompute

RESULTS = Path(__file__).resolve().parents[2] / "results" / "emoji"


@pytest.fixture(scope="module")
def rows() -> pd.DataFrame:
    return script.read(RESULTS)


@pytest.fixture(scope="module")
def levels(rows: pd.DataFrame) -> pd.DataFrame:
    return script.read_levels(rows)


def _printed(found: dict[str, float]) -> list[float]:
    return [round(found[name], 3) for name in ("concepts", "mean", "low", "high", "p")]


@pytest.mark.parametrize(
    ("level", "expected"),
    [
        (0.70, [10, 0.084, 0.019, 0.150, 0.004]),
        (0.80, [9, 0.070, 0.000, 0.141, 0.008]),
        (0.90, [9, 0.057, -0.014, 0.127, 0.062]),
        (0.95, [9, 0.039, -0.000, 0.078, 0.031]),
    ],
)
def test_va_at_equal_ua(rows: pd.DataFrame, level: float, expected: list[float]) -> None:
    table = script.equal_ua(script.points(rows), level)
    assert len(table) == 12
    assert _printed(script.summarise(table["difference"])) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize(
    ("measure", "partly", "expected"),
    [
        (script.hypervolume, False, [12, 0.035, 0.008, 0.063, 0.018]),
        (script.hypervolume, True, [12, 0.026, -0.005, 0.057, 0.104]),
        (script.harmonic, False, [12, 0.032, 0.003, 0.061, 0.019]),
        (script.harmonic, True, [12, 0.032, 0.003, 0.061, 0.019]),
    ],
)
def test_summaries_without_the_zeros_of_ava(
    rows: pd.DataFrame, measure, partly: bool, expected: list[float]
) -> None:
    table = script.by_concept(script.points(rows, partly), measure)
    found = script.summarise(table["balanced"] - table["gradient_sum"])
    assert _printed(found) == pytest.approx(expected, abs=1e-9)
    whole = compare.compare(table["balanced"], table["gradient_sum"])
    assert (found["low"], found["high"], found["p"]) == pytest.approx(
        (whole.low, whole.high, whole.p), abs=1e-6
    )


def test_what_the_zeros_of_ava_decide(levels: pd.DataFrame) -> None:
    parts = {name: round(value, 3) for name, value in script.decompose(levels).items()}
    assert parts == {"AVA": -0.028, "both reach": 0.042, "one reaches": -0.070}


def test_the_levels_read_are_those_of_the_board(rows: pd.DataFrame, levels: pd.DataFrame) -> None:
    ava = levels.fillna({"VA": 0.0}).groupby(["method", "task"])["VA"].mean()
    for key, some in rows[rows["method"].isin(["balanced", "gradient_sum"])].groupby(["method", "task"]):
        assert ava[key] == pytest.approx(recompute.frontier(some)["AVA"], abs=1e-9)


def test_in_prompt_without_reach(levels: pd.DataFrame) -> None:
    found = script.in_prompt_where_read(levels).round(2).to_dict()
    assert found == {"anchor_balanced": 0.82, "anchor_sum": 0.81, "balanced": 0.52, "gradient_sum": 0.41}


def test_chosen_points_that_miss_their_level_on_the_other_half(levels: pd.DataFrame) -> None:
    assert script.missed(levels) == (566, 85)


def test_training_steps() -> None:
    steps = script.read_steps(RESULTS)
    keeps = steps["keeps"].xs(1.0, level="lam").unstack("method").agg(["min", "max"]).round(2)
    assert keeps["balanced"].to_list() == [0.83, 1.0]
    assert keeps["gradient_sum"].to_list() == [0.36, 0.62]
    clipped = steps["clipped"].groupby(["method", "lam"]).mean().round(2)
    assert clipped.to_list() == [0.53, 1.0, 0.46, 0.99]
    categories = steps[steps.index.get_level_values("task").str.startswith("nudity/")].xs(5.0, level="lam")
    assert categories["forget_first"].between(0.144, 0.19).all()
    assert categories["forget_last"].between(0.15, 0.22).all()


def test_coverage_where_few_concepts_are_lost() -> None:
    assert script.coverage(0.05) == pytest.approx(0.46, abs=0.015)
    assert script.coverage(0.10) == pytest.approx(0.72, abs=0.015)
    assert script.coverage(0.15) == pytest.approx(0.86, abs=0.015)


def test_holm_agrees_with_the_package(levels: pd.DataFrame) -> None:
    p = pd.Series(np.random.default_rng(0).random(7))
    assert script.holm(p).sort_index().to_list() == pytest.approx(list(compare.holm(p)))
    families = script.families(levels)
    assert families.loc["anchor_balanced"].round(4).to_list() == [0.0044, 0.0088, 0.0088]
