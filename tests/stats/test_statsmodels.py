"""Intervals and tests against statsmodels, which shares no code with this package."""

import numpy as np
import pytest

from unlearnbench.bench.stats.compare import detectable_difference, holm, mcnemar
from unlearnbench.bench.stats.intervals import wilson

statsmodels = pytest.importorskip("statsmodels")


@pytest.mark.parametrize("level", [0.8, 0.95, 0.99])
@pytest.mark.parametrize(("k", "n"), [(0, 5), (1, 5), (3, 7), (48, 48), (47, 48), (500, 1000)])
def test_wilsons_interval(k: int, n: int, level: float) -> None:
    from statsmodels.stats.proportion import proportion_confint

    theirs = proportion_confint(k, n, alpha=1 - level, method="wilson")
    assert wilson(k, n, level) == pytest.approx(theirs, abs=1e-12)


@pytest.mark.parametrize("seed", range(5))
def test_holms_correction(seed: int) -> None:
    from statsmodels.stats.multitest import multipletests

    p = np.random.default_rng(seed).uniform(0, 0.2, 9).round(2)  # some are equal
    assert holm(p) == pytest.approx(multipletests(p, method="holm")[1], abs=1e-12)


@pytest.mark.parametrize("seed", range(5))
def test_mcnemars_exact_test(seed: int) -> None:
    from statsmodels.stats.contingency_tables import mcnemar as theirs

    first, second = np.random.default_rng(seed).integers(0, 2, (2, 60))
    table = [[int(((first == a) & (second == b)).sum()) for b in (0, 1)] for a in (0, 1)]
    assert mcnemar(first, second) == pytest.approx(theirs(table, exact=True).pvalue, abs=1e-12)


@pytest.mark.parametrize(("concepts", "power"), [(4, 0.8), (12, 0.8), (12, 0.9), (40, 0.5)])
def test_the_detectable_difference_has_that_power(concepts: int, power: float) -> None:
    from statsmodels.stats.power import TTestPower

    found = detectable_difference(0.07, concepts, power)
    theirs = TTestPower().power(found / 0.07, concepts, 0.05, alternative="two-sided")
    assert theirs == pytest.approx(power, abs=1e-6)
