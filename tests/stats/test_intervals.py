"""Intervals against scipy, closed forms and simulated coverage."""

import numpy as np
import pytest
from scipy.stats import binomtest, bootstrap, ttest_1samp

from unlearnbench.bench.stats.intervals import (
    cluster_bootstrap,
    effective_size,
    jackknife_interval,
    paired_difference,
    proportion_interval,
    wilson,
)


@pytest.mark.parametrize(("k", "n"), [(0, 10), (3, 10), (10, 10), (1, 1), (37, 400)])
@pytest.mark.parametrize("level", [0.9, 0.95, 0.99])
def test_wilson_equals_scipy(k, n, level):
    theirs = binomtest(k, n).proportion_ci(confidence_level=level, method="wilson")
    assert wilson(k, n, level) == pytest.approx((theirs.low, theirs.high), abs=1e-12)


@pytest.mark.parametrize(("k", "n", "level"), [(1, 0, 0.95), (-1, 5, 0.95), (6, 5, 0.95), (1, 5, 1.0)])
def test_wilson_refuses(k, n, level):
    with pytest.raises(ValueError, match="wilson"):
        wilson(k, n, level)


def test_effective_size_at_its_ends():
    clusters = np.repeat(np.arange(20), 5)
    same = np.repeat(np.arange(20) % 2, 5)  # the samples of a prompt always agree
    assert effective_size(same, clusters) == pytest.approx(20)
    mixed = np.tile([0, 1, 0, 1, 1], 20)  # prompts do not differ at all
    assert effective_size(mixed, clusters) == pytest.approx(100)
    assert effective_size(mixed, np.arange(100)) == 100


def test_effective_size_by_hand():
    # Prompts (1,1), (1,0), (0,0): between mean square .5, within .5/3, ICC .5, design effect 1.5.
    hits, clusters = [1, 1, 1, 0, 0, 0], [0, 0, 1, 1, 2, 2]
    assert effective_size(hits, clusters) == pytest.approx(6 / 1.5)
    assert proportion_interval(hits, clusters, version=1) == pytest.approx(wilson(2, 4))


def test_effective_size_of_unequal_clusters_is_bounded():
    rng = np.random.default_rng(0)
    for _ in range(50):
        clusters = rng.integers(0, 8, 40)
        size = effective_size(rng.integers(0, 2, 40), clusters)
        assert len(set(clusters)) <= size <= 40


def test_each_cluster_counts_at_least_once():
    # One large prompt among small ones that all agree within: Kish's formula alone would give 1.6 rows.
    assert effective_size([1] * 10 + [0, 1, 0], [0] * 10 + [1, 2, 3]) == 4


@pytest.mark.parametrize("hit", [0, 1])
def test_never_degenerate(hit):
    # No ICC can be estimated where all agree: as many rows as prompts, and never a width of 0.
    low, high = proportion_interval(np.full(40, hit), np.repeat(np.arange(10), 4), version=1)
    assert (low, high) == pytest.approx(wilson(10 * hit, 10))
    assert high - low > 0.2
    assert proportion_interval([hit], ["p"], version=1) == pytest.approx(wilson(hit, 1))


def test_independent_rows_give_plain_wilson():
    hits = np.arange(30) % 3 == 0
    assert proportion_interval(hits, np.arange(30), version=1) == pytest.approx(wilson(10, 30))


def test_coverage_where_plain_wilson_fails():
    rng = np.random.default_rng(0)
    clusters = np.repeat(np.arange(30), 6)
    ours = plain = 0
    for _ in range(600):
        hits = (rng.random((30, 6)) < rng.beta(2, 1, (30, 1))).ravel()
        low, high = proportion_interval(hits, clusters, version=1)
        ours += low <= 2 / 3 <= high
        low, high = wilson(hits.sum(), hits.size)
        plain += low <= 2 / 3 <= high
    assert 0.92 < ours / 600 < 0.98
    assert plain / 600 < 0.88


def test_bootstrap_coverage():
    rng = np.random.default_rng(1)
    clusters = np.repeat(np.arange(30), 4)
    inside = 0
    for _ in range(300):
        values = (rng.normal(size=(30, 1)) + rng.normal(size=(30, 4))).ravel()
        low, high = cluster_bootstrap(values, clusters, resamples=400)
        inside += low <= 0 <= high
    assert 0.90 < inside / 300 < 0.98


def test_bootstrap_of_single_rows_equals_scipys():
    values = np.random.default_rng(0).exponential(size=80)
    rng = np.random.default_rng(1)
    theirs = bootstrap((values,), np.mean, n_resamples=9000, method="percentile", rng=rng).confidence_interval
    ours = cluster_bootstrap(values, np.arange(80), resamples=9000)
    assert ours == pytest.approx((theirs.low, theirs.high), abs=0.015)


def test_bootstrap_draws_whole_clusters():
    # Two clusters, constant inside: a resample has mean 0, 1/2 or 1 and nothing else.
    values, clusters = np.repeat([0.0, 1.0], 50), np.repeat([0, 1], 50)
    seen = []
    cluster_bootstrap(values, clusters, lambda v, w: seen.append((w @ v) / w.sum(1)) or seen[-1])
    assert set(np.concatenate(seen)) == {0.0, 0.5, 1.0}


def test_bootstrap_takes_another_statistic():
    values = np.arange(40.0)
    weighted_max = lambda v, w: np.where(w > 0, v, -np.inf).max(axis=1)  # noqa: E731
    _, high = cluster_bootstrap(values, np.arange(40), weighted_max)
    assert high == 39


def test_bootstrap_is_seeded_and_blind_to_order_and_chunks(monkeypatch):
    rng = np.random.default_rng(0)
    values, clusters = rng.normal(size=60), np.repeat([f"p{i}" for i in range(15)], 4)
    first = cluster_bootstrap(values, clusters)
    assert cluster_bootstrap(values, clusters) == first
    assert cluster_bootstrap(values, clusters, seed=1) != first
    order = rng.permutation(60)
    assert cluster_bootstrap(values[order], clusters[order]) == pytest.approx(first)
    monkeypatch.setattr("unlearnbench.bench.stats.intervals.CHUNK", 1000)
    assert cluster_bootstrap(values, clusters) == pytest.approx(first)


def test_one_cluster_has_no_interval():
    assert cluster_bootstrap([1.0, 2.0], ["p", "p"]) == (None, None)


def test_paired_difference():
    rng = np.random.default_rng(0)
    shared = rng.normal(size=200)
    low, high = paired_difference(shared + 0.1 + 0.01 * rng.normal(size=200), shared, np.arange(200))
    assert 0.09 < low < 0.1 < high < 0.11  # the spread that both share drops out
    with pytest.raises(ValueError, match="unequal length"):
        paired_difference([1.0], [1.0, 2.0], [0, 1])


def test_jackknife_of_a_mean_is_the_t_interval():
    values = np.random.default_rng(0).normal(size=12)
    left_out = [np.delete(values, i).mean() for i in range(12)]
    theirs = ttest_1samp(values, 0).confidence_interval()
    assert jackknife_interval(values.mean(), left_out) == pytest.approx((theirs.low, theirs.high))
    with pytest.raises(ValueError, match="jackknife"):
        jackknife_interval(0.0, [1.0])


@pytest.mark.parametrize("values", [[], [np.nan, 1.0], [1.0]])
def test_rows_must_be_there_finite_and_paired(values):
    clusters = ["a", "b"][: len(values)] if len(values) != 1 else ["a", "b"]
    for interval in (proportion_interval, cluster_bootstrap):
        with pytest.raises(ValueError, match="values"):
            interval(values, clusters)
    with pytest.raises(ValueError, match="0 or 1"):
        proportion_interval([0.5], ["a"])
