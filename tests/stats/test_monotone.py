"""Intervals of version 2: exact where the answer is known, monotone in every row, and they cover."""

from itertools import product

import numpy as np
import pytest
from scipy import stats

from unlearnbench.bench.stats.intervals import proportion_interval
from unlearnbench.bench.stats.monotone import cautious_size, exact_interval, mean_interval, share_interval
from unlearnbench.bench.stats.share_coverage import Truth, list_truths, measure_share

SIZES = [
    (2, 2, 2), (1, 2, 3), (4, 4), (3, 1, 1, 2), (4, 2, 1), (2, 2, 2, 2, 2), (8, 1), (5, 3), (1, 1, 1, 1, 4),
    (1,), (6,), (1, 1, 1, 1, 1, 1, 1, 1), (3, 3, 3),
]  # fmt: skip


def test_48_of_48_is_no_worse_than_47_of_48() -> None:
    prompts = np.repeat(np.arange(24), 2)
    full, one = np.ones(48), np.r_[0.0, np.ones(47)]
    assert proportion_interval(full, prompts)[0] > proportion_interval(one, prompts)[0]
    # the fault that version 1 has
    assert proportion_interval(full, prompts, version=1)[0] < proportion_interval(one, prompts, version=1)[0]


@pytest.mark.parametrize("sizes", SIZES, ids=str)
def test_a_row_that_turns_to_a_hit_lowers_neither_end(sizes: tuple[int, ...]) -> None:
    """Every table of these clusters, and every step from miss to hit."""
    labels = np.repeat(np.arange(len(sizes)), sizes)
    found = {
        hits: share_interval(
            np.concatenate([np.arange(n) < k for n, k in zip(sizes, hits, strict=True)]), labels
        )
        for hits in product(*(range(n + 1) for n in sizes))
    }
    for hits, (low, high) in found.items():
        assert 0 <= low <= sum(hits) / sum(sizes) <= high <= 1
        for place in range(len(sizes)):
            more = (*hits[:place], hits[place] + 1, *hits[place + 1 :])
            if more in found:
                assert found[more][0] >= low - 1e-12, (hits, more)
                assert found[more][1] >= high - 1e-12, (hits, more)


@pytest.mark.parametrize("samples", [2, 3])
def test_a_hit_lowers_nothing_in_large_tables(samples: int) -> None:
    """Random walks from no hit to all, over as many prompts as suites have, unequal ones among them."""
    rng = np.random.default_rng(samples)
    labels = np.repeat(np.arange(40), rng.integers(1, samples + 2, 40))
    for _ in range(5):
        hits, before = np.zeros(len(labels)), (0.0, 0.0)
        for row in rng.permutation(len(labels)):
            hits[row] = 1
            now = share_interval(hits, labels)
            assert now[0] >= before[0] - 1e-12
            assert now[1] >= before[1] - 1e-12
            before = now


def test_independent_rows_give_the_exact_interval() -> None:
    hits = np.arange(30) % 3 == 0
    known = stats.binomtest(10, 30).proportion_ci(method="exact")
    assert share_interval(hits, np.arange(30)) == pytest.approx((known.low, known.high))
    assert exact_interval(10, 30) == pytest.approx((known.low, known.high))
    assert exact_interval(0, 7)[0] == 0


def test_a_cluster_counts_once_where_all_rows_agree_and_more_where_they_do_not() -> None:
    clusters = np.repeat(np.arange(20), 5)
    assert cautious_size(np.repeat(np.arange(20) % 2, 5), clusters) == pytest.approx(20)
    assert cautious_size(np.ones(100), clusters) == pytest.approx(20)
    assert cautious_size(np.tile([0, 1, 0, 1, 1], 20), clusters) > 80
    assert cautious_size([1, 0, 1], ["a"] * 3) == 1


def test_clusters_and_answers_have_two_sides() -> None:
    rng = np.random.default_rng(2)
    labels = rng.integers(0, 12, 60)
    hits = (rng.random(60) < 0.7).astype(float)
    low, high = share_interval(hits, labels)
    assert share_interval(1 - hits, labels) == pytest.approx((1 - high, 1 - low))
    order = rng.permutation(60)
    assert share_interval(hits[order], labels[order]) == pytest.approx((low, high), abs=1e-12)


GRID = list(
    list_truths(shares=(0.5, 0.9, 0.98), correlations=(0.0, 0.3, 1.0), samples=(1, 2, 4), prompts=(8, 24))
)


@pytest.mark.parametrize("truth", GRID, ids=lambda t: f"{t.share}-{t.correlation}-{t.samples}x{t.prompts}")
def test_coverage(truth: Truth) -> None:
    """400 tables a truth: 95 % and more, less three standard errors; no side misses more than its part."""
    found = measure_share(truth, 2, tables=400)
    assert found.coverage >= 0.95 - 3 * 0.011
    assert max(found.below, found.above) <= 0.025 + 3 * 0.008
    assert found.width <= 1.8 * measure_share(truth, 1, tables=400).width


@pytest.mark.parametrize(("k", "n"), [(0, 6), (1, 7), (7, 7), (12, 288)])
def test_the_mean_of_answers_has_the_exact_interval(k: int, n: int) -> None:
    answers = (np.arange(n) < k).astype(float)
    known = stats.binomtest(k, n).proportion_ci(method="exact")
    assert mean_interval(answers, 0, 1) == pytest.approx((known.low, known.high), abs=1e-9)
    shaken = answers.copy()
    shaken[0] += 1e-9 if k == 0 else -1e-9  # three values in place of two: by inversion, not in closed form
    assert mean_interval(shaken, 0, 1) == pytest.approx((known.low, known.high), abs=1e-6)


def test_the_mean_of_differences_is_that_of_simulated_weights() -> None:
    rng = np.random.default_rng(0)
    values = rng.normal(0.1, 0.2, 40).clip(-1, 1)
    weights = rng.dirichlet(np.ones(41), 200_000)
    means, rest = weights[:, 1:] @ values, weights[:, 0]
    expected = np.quantile(means - rest, 0.025), np.quantile(means + rest, 0.975)
    assert mean_interval(values, -1, 1) == pytest.approx(expected, abs=2e-3)


def test_a_better_prompt_lowers_neither_end_of_a_mean() -> None:
    rng = np.random.default_rng(1)
    for _ in range(60):
        values = rng.choice([-1, -0.5, 0, 0, 0, 0.3, 1], rng.integers(1, 12)).astype(float)
        low, high = mean_interval(values, -1, 1)
        values[rng.integers(len(values))] = 1.0
        more = mean_interval(values, -1, 1)
        assert more[0] >= low - 1e-7
        assert more[1] >= high - 1e-7


@pytest.mark.parametrize("change", [-1.0, -0.5, -0.1])
def test_coverage_of_a_mean_of_rare_losses(change: float) -> None:
    """5 % of the prompts lose: the t interval, which often sees none of them, covers far too little."""
    rng = np.random.default_rng(3)
    ours = plain = 0
    for _ in range(200):
        values = np.where(rng.random(24) < 0.05, change, 0.0)
        low, high = mean_interval(values, -1, 1)
        ours += low <= 0.05 * change <= high
        plain += bool(np.ptp(values)) and abs(stats.ttest_1samp(values, 0.05 * change).pvalue) > 0.05
    assert ours >= 190
    assert plain <= 170


@pytest.mark.parametrize("values", [[], [np.nan], [2.0]])
def test_values_out_of_range_are_refused(values: list[float]) -> None:
    with pytest.raises(ValueError, match="between -1 and 1"):
        mean_interval(values, -1, 1)
