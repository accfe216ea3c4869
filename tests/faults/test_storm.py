"""Workers that are killed, stopped and ended at random, over a store that is torn: nothing is lost."""

from pathlib import Path

import pytest

from .storm import run_storm


@pytest.mark.slow
def test_a_storm_of_faults_loses_nothing(tmp_path: Path) -> None:
    tried, lost = run_storm(tmp_path, faults=12, seed=0)
    assert tried.total() >= 12
    assert lost == []
