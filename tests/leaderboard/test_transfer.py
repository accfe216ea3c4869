"""Rank correlation with published tables: by hand, against scipy, and what the shipped tables name."""

from math import factorial
from pathlib import Path

import pytest
from scipy.stats import spearmanr

from unlearnbench.bench.cli.main import main
from unlearnbench.bench.running.catalog import registry
from unlearnbench.leaderboard.ranking.reported import shipped
from unlearnbench.leaderboard.studies.transfer import (
    PublishedRow,
    PublishedTable,
    measure_transfers,
    published_tables,
)

RESULTS = Path(__file__).resolve().parents[2] / "results"


def _table(direction: str, **rows: float) -> PublishedTable:
    listed = [PublishedRow(name=name.upper(), ours=[name], numbers=[value]) for name, value in rows.items()]
    return PublishedTable.model_validate(
        {"name": "T", "number": "n", "direction": direction, "url": "https://x", "read": "r", "rows": listed}
    )


def test_by_hand() -> None:
    """Ranks 1 2 3 4 against 1 2 4 3: rho = 1 - 6 * 2 / (4 * 15) = .8; 8 of 24 orders are as far from 0."""
    ours = {"a": 0.9, "b": 0.8, "c": 0.2, "d": 0.3, "unshared": 1.0}
    (found,) = measure_transfers(ours, [_table("up", a=4, b=3, c=2, d=1, e=9)])
    assert found.rho == pytest.approx(0.8)
    orders = [-1.0, *[-0.8] * 3, *[0.8] * 3, 1.0]
    assert found.p == pytest.approx(len(orders) / factorial(4))
    assert (found.methods, found.lacking) == (("A", "B", "C", "D"), ("E",))


def test_direction_turns_the_sign_and_variants_are_averaged() -> None:
    ours = {"a": 0.9, "b": 0.5, "c": 0.1, "x": 0.2, "y": 0.4}
    down = measure_transfers(ours, [_table("down", a=4, b=3, c=2)])[0]
    assert down.rho == pytest.approx(-1.0)
    table = _table("up", a=4, b=3, c=1)
    both = PublishedRow(name="XY", ours=["x", "y"], numbers=[1.5, 2.5])
    mixed = table.model_copy(update={"rows": [*table.rows, both]})
    found = measure_transfers(ours, [mixed])[0]
    assert found.rho == pytest.approx(float(spearmanr([4, 3, 1, 2], [0.9, 0.5, 0.1, 0.3]).statistic))


@pytest.mark.parametrize("ours", [{"a": 1.0, "b": 0.5}, {"a": 0.5, "b": 0.5, "c": 0.5}, {}])
def test_too_few_or_equal_methods_give_no_number(ours: dict[str, float]) -> None:
    (found,) = measure_transfers(ours, [_table("up", a=4, b=3, c=1)])
    assert found.rho is None
    assert found.p is None
    assert found.missing


def test_the_shipped_tables_name_methods_that_exist_and_numbers_that_are_reported() -> None:
    names = set(registry("methods"))
    tables = {table.name: table for table in published_tables()}
    assert set(tables) == {"UnlearnCanvas", "HUB", "UnlearnDiffAtk"}
    for table in tables.values():
        assert {name for row in table.rows for name in row.ours} <= names
        assert len({row.name for row in table.rows}) == len(table.rows)
    (canvas,) = [table for table in shipped() if table.title == "UnlearnCanvas"]
    assert {row.name: row.numbers for row in tables["UnlearnCanvas"].rows} == {
        name: [float(number) for number in numbers[:6]] for name, numbers in canvas.rows.items()
    }


def test_a_board_without_shared_methods_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["transfer", str(RESULTS / "emoji-cuda")]) == 0
    assert "0 shared methods, 3 needed" in capsys.readouterr().out
