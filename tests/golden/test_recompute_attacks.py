"""The package's values of attacks against a script of pandas and numpy that knows the definitions alone."""

from pathlib import Path

import pytest

from unlearnbench.bench.records.layout import find_attacked
from unlearnbench.bench.records.load import load
from unlearnbench.leaderboard.ranking.attacked import read_attacked

from .recompute_attacks import summary
from .test_recompute import RESULTS, imported

FOLDERS = sorted({path.parents[1] for path in find_attacked(sorted(RESULTS.iterdir()))})


def test_the_script_imports_pandas_and_numpy_alone() -> None:
    assert imported("recompute_attacks.py") == {"pandas", "numpy", "recompute"}


@pytest.mark.parametrize("folder", [pytest.param(p, id=p.name) for p in FOLDERS])
def test_published_attacks_are_recomputed(folder: Path) -> None:
    digests = [entry.digest for entry in load(folder)]
    rows = {row.row: row.values for row in read_attacked([folder], digests).summarise()}
    ours = summary(folder)
    assert set(ours.index) == set(rows)
    for name, values in rows.items():
        row = ours.loc[name]
        assert row["before"] == pytest.approx(values["UA_before"].value, abs=1e-9)
        assert row["after"] == pytest.approx(values["UA_strongest"].value, abs=1e-9)
        found = values["hidden"]
        assert row["hidden"] == pytest.approx(found.value, abs=1e-9)
        if found.low is not None:
            assert row[["hidden_low", "hidden_high"]].to_list() == pytest.approx(
                [found.low, found.high], abs=1e-6
            )
        ends = [values["UA_strongest"].low, values["UA_strongest"].high]
        assert row[["after_low", "after_high"]].to_list() == pytest.approx(ends, abs=0.004)
