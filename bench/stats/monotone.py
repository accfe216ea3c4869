"""Intervals, version 2, that never fall when a value rises: of shares in clusters, of means of bounded
scores."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import brentq
from scipy.special import betaincinv

Floats = NDArray[np.float64]
DOUBT = 1.0
"""Within-cluster sum of squares by which independence is overstated: where few answers differ, nothing
determines the intra-cluster correlation, and the estimate goes to 1 (each cluster counts once)."""
NODES = 24
"""Nodes of Gauss-Legendre quadrature a panel of an inversion."""
NEGLIGIBLE = 1e-13


def cautious_size(hits: ArrayLike, clusters: ArrayLike) -> float:
    """Return how many independent rows the clustered rows are worth.

    It is Kish's effective size of the clusters where nothing determines the intra-cluster correlation: where
    all rows agree, or there is one cluster. It is more elsewhere.

    hits: (n,) of 0 and 1; clusters: (n,) labels. Design effect 1 + (m - 1) ICC, m = sum(m_i^2) / n (Kish
    1965).
    """
    counts = _Counts(*_count(hits, clusters))
    return float(counts.worth(np.array([counts.hits]), np.array([counts.within]))[0])


def share_interval(hits: ArrayLike, clusters: ArrayLike, level: float = 0.95) -> tuple[float, float]:
    """Return an interval of the share of hits among rows that come in clusters; it is monotone in every row.

    hits: (n,) of 0 and 1; clusters: (n,) labels. Clopper & Pearson's bound at an effective size (Korn &
    Graubard 1998). The size depends on the answers, so a bound is the least over all tables that more hits
    can lead to: a row that turns from miss to hit lowers neither end. Raises ValueError on no rows, NaN,
    other values.
    """
    right, sizes = _count(hits, clusters)
    tail = (1 - level) / 2
    low, high = _Counts(right, sizes).low(tail), 1 - _Counts(sizes - right, sizes).low(tail)
    share = float(right.sum() / sizes.sum())
    return min(low, share), max(high, share)


def exact_interval(k: float, n: float, level: float = 0.95) -> tuple[float, float]:
    """Return Clopper & Pearson's interval (1934) of a share: k of n independent rows, which may be
    fractions."""
    if not (n > 0 and 0 <= k <= n and 0 < level < 1):
        raise ValueError(f"exact_interval: k={k}, n={n}, level={level}")
    ends = _exact_low(np.array([k, n - k]), np.array([n, n]), (1 - level) / 2)
    return float(ends[0]), float(1 - ends[1])


def _exact_low(right: Floats, worth: Floats, tail: float) -> Floats:
    found = betaincinv(np.maximum(right, 1e-12), worth - right + 1, tail)
    return np.asarray(np.where(right > 0, found, 0.0))


class _Counts:
    """Hits (g,) of clusters with sizes (g,)."""

    def __init__(self, right: Floats, sizes: Floats) -> None:
        self.right, self.sizes = right, sizes
        self.n, self.groups = float(sizes.sum()), len(sizes)
        self.hits = float(right.sum())
        self.within = float((right * (sizes - right) / sizes).sum())
        self.typical = float((sizes**2).sum() / self.n)

    def worth(self, hits: Floats, within: Floats) -> Floats:
        """Return the effective sizes (k,) of tables with so many hits and such sums of squares within
        clusters."""
        if self.groups == 1:
            return np.ones(len(hits))
        share = hits / self.n
        # under independence, in expectation; the share's own variance makes share (1 - share) too small
        alone = (self.n - self.groups) * share * (1 - share) * self.groups / (self.groups - 1) + DOUBT
        correlation = np.clip(1 - within / alone, 0.0, 1.0)
        return np.asarray(self.n / (1 + (self.typical - 1) * correlation))

    def low(self, tail: float) -> float:
        """Return the least bound over all tables with at least these hits.

        How far the sum of squares within clusters can fall with t more hits is bounded by filling clusters,
        the fullest first: a cluster's sum is concave in its hits, so it lies above the line to 0 at the full
        cluster, and the bound over such lines can only rise with a hit.
        """
        hits = np.arange(self.hits, self.n + 1)
        open_, room = (self.right > 0) & (self.right < self.sizes), self.sizes - self.right
        order = np.argsort(-(self.right / self.sizes)[open_], kind="stable")
        rooms, gains = room[open_][order], (self.right * room / self.sizes)[open_][order]
        filled = np.interp(
            hits - self.hits, np.cumsum([0.0, *rooms]), np.cumsum([0.0, *gains])
        )  # constant beyond: all are full
        worth = self.worth(hits, np.maximum(0.0, self.within - filled))
        return float(_exact_low(hits / self.n * worth, worth, tail).min())


def _count(hits: ArrayLike, clusters: ArrayLike) -> tuple[Floats, Floats]:
    values, labels = np.asarray(hits, dtype=float), np.asarray(clusters)
    if values.ndim != 1 or values.shape != labels.shape:
        raise ValueError(f"values {values.shape} and clusters {labels.shape} are not rows of one table")
    if values.size == 0 or not np.isin(values, (0, 1)).all():
        raise ValueError("values must be there, and 0 or 1")
    codes = number_labels(labels)
    return np.bincount(codes, values).astype(float), np.bincount(codes).astype(float)


def number_labels(labels: NDArray[Any]) -> NDArray[np.intp]:
    """Return (n,) the place of each label among the sorted labels.

    `np.unique` gives the same, but sorts all of them: several times slower for texts that repeat.
    """
    listed = labels.tolist()
    places = {label: place for place, label in enumerate(sorted(set(listed)))}
    return np.fromiter((places[label] for label in listed), np.intp, len(listed))


def mean_interval(
    values: ArrayLike, least: float, most: float, level: float = 0.95, weight: float = 1.0
) -> tuple[float, float]:
    """Return an interval of the mean of independent values that lie between `least` and `most`.

    values: (n,). Gaffke's bounds (Gaffke 2005; Learned-Miller & Thomas 2019, arXiv 1905.06208): the quantile
    of the values' mean under Dirichlet(1, ..., 1) weights, one more weight on `least` (on `most` for the
    upper end). For values of 0 and 1 they are Clopper & Pearson's. They assume no normality, keep a width
    where all values are equal, and a value that rises lowers neither end. Raises ValueError on values out of
    range.

    weight: of the one more value. Below 1 nothing proves the coverage (`unlearnbench coverage` simulates it).
    """
    numbers = np.asarray(values, dtype=float)
    if numbers.ndim != 1 or numbers.size == 0 or not ((least <= numbers) & (numbers <= most)).all():
        raise ValueError(f"one finite value or more between {least} and {most}, got {numbers}")
    tail = (1 - level) / 2
    return _quantile(numbers, least, tail, weight), -_quantile(-numbers, -most, tail, weight)


def _quantile(numbers: Floats, least: float, tail: float, weight: float) -> float:
    """Return the quantile of the Dirichlet(1, ..., 1, weight) mean of the values and `least`."""
    points, sizes = np.unique(np.append(numbers, least), return_counts=True)
    counts = sizes.astype(float)
    counts[0] -= 1 - weight  # `least` is the first
    if len(points) == 1:
        return float(points[0])
    if len(points) == 2:  # a beta variable
        part = float(betaincinv(counts[1], counts[0], tail))
        return float(points[0] + part * (points[1] - points[0]))
    span = float(points[-1] - points[0])

    def excess(part: float) -> float:
        return _below((points - points[0]) / span - part, counts) - tail

    return float(points[0] + span * brentq(excess, 1e-9, 1 - 1e-9, xtol=1e-10))


def _below(weights: Floats, counts: Floats) -> float:
    """Return P(sum w_j G_j <= 0) for G_j ~ Gamma(counts_j), by inverting its characteristic function.

    Gil-Pelaez 1951; Imhof 1961 for such sums. Dirichlet weights are exponentials over their sum, so their
    mean is below a bound where the sum of exponentials times (value - bound) is below 0.
    """
    scale = float(np.abs(weights).max())
    weights = weights / scale

    def size(u: float) -> float:
        return float((counts * np.log1p((weights * u) ** 2)).sum()) / 2

    end = 1.0
    while size(end) + np.log(end) < -np.log(NEGLIGIBLE):
        end *= 1.5
    # panels short enough for the phase's turns near 0, and growing with u beyond
    turns = float((counts * np.abs(weights)).sum())
    start = min(end, 2.0 / turns)
    edges = np.concatenate([np.linspace(0, start, 3)[:-1], np.geomspace(start, end, 60)])
    x, w = np.polynomial.legendre.leggauss(NODES)
    half = np.diff(edges) / 2
    u = (half[:, None] * x + (edges[:-1] + half)[:, None]).ravel()
    heights = (half[:, None] * w).ravel()
    angles = np.outer(u, weights)
    phase = np.arctan(angles) @ counts
    damping = np.exp(-np.log1p(angles**2) @ counts / 2)
    return float(0.5 - (heights * np.sin(phase) * damping / u).sum() / np.pi)
