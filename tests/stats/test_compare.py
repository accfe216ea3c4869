"""Tests between methods against scipy, hand-worked cases and simulation."""

import itertools

import numpy as np
import pytest
from scipy import stats

from unlearnbench.bench.stats.compare import (
    compare,
    crossed_bootstrap,
    detectable_difference,
    holm,
    mcnemar,
    sign_flip,
    t_interval,
    tie_groups,
)


def test_t_interval_equals_scipy() -> None:
    values = np.random.default_rng(0).normal(0.03, 0.05, 12)
    theirs = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    assert t_interval(values) == pytest.approx((theirs.low, theirs.high), abs=1e-12)


@pytest.mark.parametrize("n", [3, 6, 12])
def test_sign_flip_equals_scipys_exact_permutation_test(n: int) -> None:
    values = np.random.default_rng(n).normal(0.4, 1.0, n)
    theirs = stats.permutation_test(
        (values,), np.mean, permutation_type="samples", n_resamples=np.inf, vectorized=False
    )
    assert sign_flip(values) == pytest.approx(theirs.pvalue, abs=1e-12)


def test_sign_flip_by_enumeration_with_ties_and_zeros() -> None:
    values = np.array([0.1, 0.1, 0.0, 0.2])
    sums = [abs(np.dot(signs, values)) for signs in itertools.product((1, -1), repeat=4)]
    assert sign_flip(values) == pytest.approx(np.mean([s >= 0.4 - 1e-12 for s in sums]))
    assert sign_flip([0.3] * 12) == pytest.approx(2 / 2**12)
    assert sign_flip([0.0, 0.0]) == 1
    assert sign_flip([0.3] * 40) == 2 / 2**40


def test_sign_flip_of_more_than_can_be_counted_is_near_the_normal_tail() -> None:
    values = np.random.default_rng(1).normal(0.2, 1, 60)
    z = abs(values.sum()) / np.sqrt((values**2).sum())
    assert sign_flip(values) == pytest.approx(2 * stats.norm.sf(z), abs=0.01)


def test_holm_by_hand() -> None:
    # Sorted .01, .02, .04, .30 times 4, 3, 2, 1: .04, .06, .08, .30.
    assert holm([0.04, 0.01, 0.30, 0.02]) == pytest.approx([0.08, 0.04, 0.30, 0.06])
    assert holm([0.6, 0.7]).tolist() == [1.0, 1.0]
    assert holm([0.02, 0.021]) == pytest.approx([0.04, 0.04])  # never below a smaller p's


def test_mcnemar_is_the_binomial_test_of_discordant_pairs() -> None:
    first = np.array([1] * 9 + [0] * 2 + [1] * 5 + [0] * 4)
    second = np.array([0] * 9 + [1] * 2 + [1] * 5 + [0] * 4)
    by_hand = 2 * sum(stats.binom.pmf(k, 11, 0.5) for k in range(3))
    assert mcnemar(first, second) == pytest.approx(by_hand)
    assert mcnemar([1, 0], [1, 0]) == 1


def test_detectable_difference_has_the_power_it_promises() -> None:
    shift, generator = detectable_difference(0.04, 12), np.random.default_rng(0)
    samples = generator.normal(shift, 0.04, (20_000, 12))
    found = (stats.ttest_1samp(samples, 0, axis=1).pvalue < 0.05).mean()
    assert found == pytest.approx(0.8, abs=0.01)
    assert detectable_difference(0.0, 12) == 0
    assert detectable_difference(0.04, 24) < shift


def test_the_crossed_bootstrap_covers_under_runs_and_prompts() -> None:
    generator, hits = np.random.default_rng(1), 0
    for i in range(200):
        table = (
            0.1 * generator.standard_normal((8, 1))
            + 0.2 * generator.standard_normal((1, 60))
            + 0.2 * generator.standard_normal((8, 60))
        )
        low, high = crossed_bootstrap(table, resamples=1_000, seed=i)
        hits += low <= 0 <= high
    assert 0.88 <= hits / 200 <= 0.99


def test_the_crossed_bootstrap_is_seeded_and_exact_on_constants() -> None:
    table = np.random.default_rng(2).normal(size=(3, 40))
    assert crossed_bootstrap(table) == crossed_bootstrap(table)
    assert crossed_bootstrap(np.full((3, 5), 0.25)) == pytest.approx((0.25, 0.25))


def test_ties_are_no_classes() -> None:
    means = {"a": 0.9, "b": 0.85, "c": 0.8}
    groups = tie_groups(means, {("a", "b"): False, ("c", "a"): True, ("b", "c"): False})
    assert groups == {"a": ["a", "b"], "b": ["a", "b", "c"], "c": ["b", "c"]}


def test_compare_pairs_by_concept() -> None:
    found = compare([0.9, 0.8, 0.7], [0.8, 0.8, 0.5])
    assert found.mean == pytest.approx(0.1)
    assert (found.low, found.high) == pytest.approx(t_interval([0.1, 0.0, 0.2]))
    assert found.n == 3
    assert found.p == pytest.approx(0.5)


@pytest.mark.parametrize(
    "call",
    [
        lambda: t_interval([0.1]),
        lambda: sign_flip([np.nan]),
        lambda: compare([1, 2], [1]),
        lambda: mcnemar([0.5], [1]),
        lambda: crossed_bootstrap([1.0, 2.0]),
        lambda: detectable_difference(0.1, 1),
    ],
)
def test_nonsense_is_refused(call) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ValueError, match=r".+"):
        call()
