"""The constants of the simulated board are those of the published one."""

from pathlib import Path

import pytest

from unlearnbench.bench.stats.simulation import ANCHORED, ASCENT, PROMPT, SHARED, SHARED_LOST

from . import spread

RESULTS = Path(__file__).resolve().parents[2] / "results" / "emoji"


@pytest.mark.slow
def test_the_simulation_has_the_boards_own_spread() -> None:
    rows = spread.read(RESULTS)
    table = spread.probits(rows)
    for part, factor in zip(spread.PARTS, PROMPT, strict=True):
        icc = spread.prompt_correlation(rows, part)
        assert spread.np.sin(icc * spread.np.pi / 2) == pytest.approx(factor, abs=0.02)
    # what is measured holds the images' own noise, which the simulation adds
    for methods, constants in ((spread.ASCENT, ASCENT), (spread.ANCHORED, ANCHORED)):
        measured = spread.run_deviation(table, methods).to_list()
        assert all(0 <= more - own < 0.1 for more, own in zip(measured, constants, strict=True))
    shared = spread.concept_correlation(table, *spread.ASCENT)
    assert SHARED < (shared["UA"] + shared["VA"]) / 2 < SHARED_LOST
