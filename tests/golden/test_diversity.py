"""The arms of two, six and twelve retained subjects: what results/README.md prints of them."""

from pathlib import Path

import pandas as pd
import pytest

from . import diversity
from .recompute import read_items, read_records

RESULTS = Path(__file__).parents[2] / "results"
ARMS = ("diversity-two", "diversity-six", "diversity-twelve")


@pytest.fixture(scope="module")
def rows() -> pd.DataFrame:
    return diversity.arms(*(RESULTS / name for name in ARMS))


def test_the_arms_have_the_same_cells_and_prompts(rows: pd.DataFrame) -> None:
    assert rows.groupby(["method", "arm"])["task"].nunique().eq(8).all()
    assert rows.groupby("arm")["method"].nunique().eq(2).all()
    records = [read_records(RESULTS / name) for name in ARMS]
    assert {r["data"] for r in records[0].values()} == {"retain-2"}
    prompts = [{r["task"]["id"]: r["prompts_sha256"] for r in arm.values()} for arm in records]
    assert prompts[0] == prompts[1] == prompts[2]


def test_no_retained_prompt_of_h_shows_one_of_the_twelve() -> None:
    for folder in (RESULTS / name for name in ARMS):
        for items in read_items(folder, read_records(folder)).values():
            retain = items[items["split"] == "retain"]
            given = retain["given"].astype(bool)
            shown = set(retain[given]["asked_subject"])
            assert len(shown) == 12
            assert not shown & set(retain[~given]["asked_subject"])


def test_h_does_not_decide_and_va_at_the_last_step_does(rows: pd.DataFrame) -> None:
    h = diversity.compare(rows, "diversity-twelve", "diversity-two").round(3)
    assert h.loc["balanced"].to_list() == [0.741, 0.733, 0.008, -0.097, 0.113, 0.797]
    assert h.loc["gradient_sum"].to_list() == [0.776, 0.747, 0.030, -0.055, 0.114, 0.445]
    va = diversity.compare(rows, "diversity-twelve", "diversity-two", "VA").round(3)
    assert va.loc["balanced"].to_list() == [0.916, 0.693, 0.223, 0.067, 0.380, 0.008]
    assert va.loc["gradient_sum"].to_list() == [0.976, 0.893, 0.083, 0.010, 0.156, 0.008]
    gap = va.loc["balanced - gradient_sum", "difference":"p"]
    assert gap.to_list() == [0.141, 0.041, 0.240, 0.016]
    last = rows[(rows["step"] == 80) & (rows["method"] == "balanced")]
    assert last["UA"].eq(1).all()
