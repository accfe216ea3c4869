"""Intervals for proportions and means whose rows come in clusters (the images of one prompt)."""

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtri, stdtrit

from ..types import INTERVAL_VERSION
from .monotone import number_labels, share_interval

Floats = NDArray[np.float64]
Bounds = tuple[float | None, float | None]
Statistic = Callable[[Floats, Floats], Floats]
"""statistic(values (n,), weights (resamples, n)) -> (resamples,): one number a row of weights."""
CHUNK = 4_000_000  # weights held at once by the bootstrap: 32 MB


def wilson(k: float, n: float, level: float = 0.95) -> tuple[float, float]:
    """Return the Wilson score interval of a proportion.

    k successes of n trials; both may be fractions (an effective sample size). Raises ValueError
    unless 0 <= k <= n, n > 0 and 0 < level < 1. Wilson 1927, without continuity correction.
    """
    if not (n > 0 and 0 <= k <= n and 0 < level < 1):
        raise ValueError(f"wilson: k={k}, n={n}, level={level}")
    z = float(ndtri(0.5 + level / 2))
    p, shrink = k / n, 1 + z * z / n
    centre = (p + z * z / (2 * n)) / shrink
    half = z / shrink * np.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    # Rounding must not push the bound past the estimate at k = 0 and k = n.
    return min(max(0.0, float(centre - half)), p), max(min(1.0, float(centre + half)), p)


def effective_size(hits: ArrayLike, clusters: ArrayLike) -> float:
    """Return how many independent rows the clustered rows are worth: clusters <= size <= rows.

    hits: (n,) of 0 and 1. clusters: (n,) labels. Design effect 1 + (m - 1) ICC (Kish 1965) with
    m = sum(m_i^2) / n and the ICC of a one-way analysis of variance. Where all rows agree the ICC
    cannot be estimated: then each cluster counts once, the cautious end. Intervals of version 1 use it.
    """
    values, codes = _clustered(hits, clusters)
    if not np.isin(values, (0, 1)).all():
        raise ValueError("hits are 0 or 1")
    sizes = np.bincount(codes).astype(float)
    n, groups = float(values.size), float(sizes.size)
    if groups == n:
        return n
    if groups == 1 or np.ptp(values) == 0:
        return groups
    means = np.bincount(codes, values) / sizes
    between = float(np.sum(sizes * (means - values.mean()) ** 2)) / (groups - 1)
    within = float(np.sum((values - means[codes]) ** 2)) / (n - groups)
    typical = (n - np.sum(sizes**2) / n) / (groups - 1)
    icc = (between - within) / (between + (typical - 1) * within)
    effect = 1 + (np.sum(sizes**2) / n - 1) * min(max(icc, 0.0), 1.0)
    return float(min(max(n / effect, groups), n))


def proportion_interval(
    hits: ArrayLike, clusters: ArrayLike, level: float = 0.95, version: int = INTERVAL_VERSION
) -> tuple[float, float]:
    """Return an interval of the share of hits among rows that come in clusters.

    hits: (n,) of 0 and 1; clusters: (n,) labels, in any order. version: 2 is `monotone.share_interval`; 1, of
    older records, is Wilson's interval at `effective_size` rows. Both keep a width at shares 0 and 1. Raises
    ValueError on no rows, NaN, unequal lengths, another version.
    """
    if version == 2:
        return share_interval(hits, clusters, level)
    if version != 1:
        raise ValueError(f"intervals have the versions 1 and 2, not {version}")
    size = effective_size(hits, clusters)
    share = float(np.mean(np.asarray(hits, dtype=float)))
    return wilson(share * size, size, level)


def weighted_mean(values: Floats, weights: Floats) -> Floats:
    """Return the mean of values (n,) under each row of weights (resamples, n)."""
    return (weights @ values) / weights.sum(axis=1)


def cluster_bootstrap(
    values: ArrayLike,
    clusters: ArrayLike,
    statistic: Statistic = weighted_mean,
    resamples: int = 2000,
    level: float = 0.95,
    seed: int = 0,
) -> Bounds:
    """Return the percentile interval of a statistic when whole clusters are drawn again.

    values: (n,) finite; clusters: (n,) labels, in any order. The draw depends only on the seed and
    the number of clusters. Fewer than two clusters determine no spread: (None, None). Raises
    ValueError on no rows, NaN, unequal lengths. Efron & Tibshirani 1993, ch. 13.
    """
    numbers, codes = _clustered(values, clusters)
    groups = int(codes.max()) + 1
    if groups < 2:
        return None, None
    draws = np.random.default_rng(seed).multinomial(groups, np.full(groups, 1 / groups), size=resamples)
    step = max(1, CHUNK // numbers.size)
    parts = [statistic(numbers, draws[i : i + step, codes].astype(float)) for i in range(0, resamples, step)]
    low, high = np.quantile(np.concatenate(parts), [0.5 - level / 2, 0.5 + level / 2])
    return float(low), float(high)


def paired_difference(
    first: ArrayLike,
    second: ArrayLike,
    clusters: ArrayLike,
    resamples: int = 2000,
    level: float = 0.95,
    seed: int = 0,
) -> Bounds:
    """Return the interval of mean(first - second) over rows that are pairs, by `cluster_bootstrap`.

    first, second: (n,), row i of both about the same prompt and noise. Raises ValueError when their
    lengths differ.
    """
    left, right = np.asarray(first, dtype=float), np.asarray(second, dtype=float)
    if left.shape != right.shape:
        raise ValueError(f"pairs of unequal length: {left.shape} and {right.shape}")
    return cluster_bootstrap(left - right, clusters, resamples=resamples, level=level, seed=seed)


def jackknife_interval(estimate: float, left_out: ArrayLike, level: float = 0.95) -> tuple[float, float]:
    """Return the t interval of an estimate from its values without one cluster each.

    left_out: (clusters,). Standard error by the delete-a-group jackknife (Efron & Tibshirani 1993,
    eq. 11.5). Raises ValueError on fewer than two clusters or a value that is not finite.
    """
    values = np.asarray(left_out, dtype=float)
    groups = values.size
    if groups < 2 or not np.isfinite(values).all():
        raise ValueError(f"jackknife needs two finite values or more, got {values}")
    error = float(np.sqrt((groups - 1) / groups * np.sum((values - values.mean()) ** 2)))
    half = float(stdtrit(groups - 1, 0.5 + level / 2)) * error
    return estimate - half, estimate + half


def _clustered(values: ArrayLike, clusters: ArrayLike) -> tuple[Floats, NDArray[np.intp]]:
    """Return values as floats and clusters as codes 0..G-1; the codes follow the sorted labels."""
    numbers, labels = np.asarray(values, dtype=float), np.asarray(clusters)
    if numbers.ndim != 1 or numbers.shape != labels.shape:
        raise ValueError(f"values {numbers.shape} and clusters {labels.shape} are not rows of one table")
    if numbers.size == 0 or not np.isfinite(numbers).all():
        raise ValueError("values must be there and finite")
    return numbers, number_labels(labels)
