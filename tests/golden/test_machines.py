"""What results/README.md says of the cells that were measured on two processors."""

from pathlib import Path

import pytest

from .machines import cells, h

RESULTS = Path(__file__).resolve().parents[2] / "results"


def test_another_processor_gives_other_weights_and_the_same_verdicts() -> None:
    found = cells(RESULTS / "board", RESULTS / "board-attacks")
    sums = found.drop(columns="method").sum()
    assert len(found) == 90
    assert sums.to_dict() == {
        "points": 240,
        "same weights": 10,
        "images": 34_992,
        "same pixels": 22_827,
        "other verdict": 1,
    }
    changed = found[~found["method"].isin(["none", "retrain"])]
    assert changed["same weights"].sum() == 0


def test_h_is_the_same_on_both() -> None:
    table = h(RESULTS / "board", RESULTS / "board-attacks")
    assert len(table) == 80
    assert table["H second"].to_list() == pytest.approx(table["H first"].to_list(), abs=1e-12)
