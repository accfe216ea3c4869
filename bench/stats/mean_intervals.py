"""Intervals and tests of a mean over concepts, for many simulated suites at once: the candidates compared.

values: (suites, n), one number a concept. Intervals are (suites, 2) at 95 %, p-values (suites,), two-sided.
"""

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit, ndtr, ndtri, stdtr, stdtrit

Floats = NDArray[np.float64]
LEVEL = 0.95
RESAMPLES = 999
PATTERNS = 2000
SMALLEST = 1e-9


def _ends(low: Floats, high: Floats) -> Floats:
    return np.stack([low, high], axis=-1)


def _moments(values: Floats) -> tuple[Floats, Floats]:
    """Return mean and standard error, (suites,) each."""
    n = values.shape[1]
    return values.mean(axis=1), np.maximum(values.std(axis=1, ddof=1), SMALLEST) / np.sqrt(n)


def t(values: Floats, families: NDArray[np.intp]) -> Floats:
    """Student's t."""
    mean, error = _moments(values)
    half = stdtrit(values.shape[1] - 1, 0.5 + LEVEL / 2) * error
    return _ends(mean - half, mean + half)


def stratified_t(values: Floats, families: NDArray[np.intp]) -> Floats:
    """T of a stratified mean: only the spread within families counts; Satterthwaite's degrees of freedom.

    A family of one concept borrows the pooled variance.
    """
    names, counts = np.unique(families, return_counts=True)
    n = len(families)
    variances = np.stack([values[:, families == f].var(axis=1, ddof=min(1, c - 1)) for f, c in
                          zip(names, counts, strict=True)], axis=1)  # fmt: skip
    pooled = (variances * (counts - 1)).sum(axis=1) / (counts - 1).sum()
    variances = np.where(counts > 1, variances, pooled[:, None])
    parts = np.maximum(variances, SMALLEST) * counts / n**2
    error = np.sqrt(parts.sum(axis=1))
    freedom = error**4 / (parts**2 / np.maximum(counts - 1, 1)).sum(axis=1)
    half = stdtrit(freedom, 0.5 + LEVEL / 2) * error
    mean = values.mean(axis=1)
    return _ends(mean - half, mean + half)


def logit_t(values: Floats, families: NDArray[np.intp]) -> Floats:
    """T on the logit of the mean of shares, by the delta method."""
    mean, error = _moments(values)
    inside = np.clip(mean, 1e-6, 1 - 1e-6)
    half = stdtrit(values.shape[1] - 1, 0.5 + LEVEL / 2) * error / (inside * (1 - inside))
    return _ends(expit(logit(inside) - half), expit(logit(inside) + half))


def _resampled(values: Floats, seed: int = 0) -> tuple[Floats, Floats]:
    """Return means and standard deviations (suites, RESAMPLES) of concepts drawn again."""
    n = values.shape[1]
    weights = np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n), size=RESAMPLES) / n
    means = values @ weights.T
    squares = (values**2) @ weights.T
    return means, np.sqrt(np.maximum(squares - means**2, SMALLEST**2) * n / (n - 1))


def percentile(values: Floats, families: NDArray[np.intp]) -> Floats:
    """Bootstrap over concepts, percentiles (Efron & Tibshirani 1993, ch. 13)."""
    means, _ = _resampled(values)
    return np.quantile(means, [0.5 - LEVEL / 2, 0.5 + LEVEL / 2], axis=1).T


def hierarchical(runs: Floats) -> Floats:
    """Bootstrap over concepts and, within each, over its training runs. runs: (suites, n, runs)."""
    _, n, count = runs.shape
    generator = np.random.default_rng(0)
    means = np.empty((RESAMPLES, len(runs)))
    for resample in range(RESAMPLES):
        concepts, own = generator.integers(n, size=(n, 1)), generator.integers(count, size=(n, count))
        means[resample] = runs[:, concepts, own].mean(axis=(1, 2))
    return np.quantile(means, [0.5 - LEVEL / 2, 0.5 + LEVEL / 2], axis=0).T


def bca(values: Floats, families: NDArray[np.intp]) -> Floats:
    """BCa bootstrap over concepts (Efron 1987)."""
    means, _ = _resampled(values)
    centre, n = values.mean(axis=1, keepdims=True), values.shape[1]
    below = ((means < centre).mean(axis=1) + (means <= centre).mean(axis=1)) / 2
    shift = ndtri(np.clip(below, 0.5 / RESAMPLES, 1 - 0.5 / RESAMPLES))
    off = values - centre
    acceleration = (off**3).sum(axis=1) / (6 * np.maximum((off**2).sum(axis=1), SMALLEST) ** 1.5)
    ordered = np.sort(means, axis=1)
    ends = []
    for z in ndtri([0.5 - LEVEL / 2, 0.5 + LEVEL / 2]):
        place = ndtr(shift + (shift + z) / (1 - acceleration * (shift + z)))
        index = np.clip((place * (RESAMPLES + 1)).astype(int) - 1, 0, RESAMPLES - 1)
        ends.append(np.take_along_axis(ordered, index[:, None], axis=1)[:, 0])
    assert n > 1
    return _ends(*ends)


def bootstrap_t(values: Floats, families: NDArray[np.intp]) -> Floats:
    """Studentised bootstrap over concepts (Efron & Tibshirani 1993, ch. 12)."""
    mean, error = _moments(values)
    studied = _studentised(values)
    low, high = np.quantile(studied, [0.5 - LEVEL / 2, 0.5 + LEVEL / 2], axis=1)
    return _ends(mean - high * error, mean - low * error)


def _studentised(values: Floats) -> Floats:
    means, spreads = _resampled(values)
    return np.asarray((means - values.mean(axis=1, keepdims=True)) / spreads * np.sqrt(values.shape[1]))


def _skewness(values: Floats) -> Floats:
    off = values - values.mean(axis=1, keepdims=True)
    n = values.shape[1]
    third = (off**3).mean(axis=1) * n**2 / max(1, (n - 1) * (n - 2))
    return np.asarray(third / np.maximum(values.std(axis=1, ddof=1), SMALLEST) ** 3)


def hall(values: Floats, families: NDArray[np.intp]) -> Floats:
    """T corrected for skewness by Hall's monotone cubic (1992, J. R. Stat. Soc. B 54, 221)."""
    mean, error = _moments(values)
    n, quantile = values.shape[1], stdtrit(values.shape[1] - 1, 0.5 + LEVEL / 2)
    skew = _skewness(values)

    def invert(x: float) -> Floats:
        a = skew / np.sqrt(n)
        root = np.cbrt(1 + a * (x - a / 6)) - 1
        return np.where(np.abs(a) < 1e-9, x, 3 * root / np.where(np.abs(a) < 1e-9, 1.0, a))

    return _ends(mean - invert(quantile) * error, mean - invert(-quantile) * error)


def gaffke(values: Floats, families: NDArray[np.intp], weight: float = 1.0) -> Floats:
    """Gaffke's bounds of a mean of shares (`monotone.mean_interval`), by Dirichlet weights drawn once.

    weight: of the one more value, 0 for the lower end and 1 for the upper.
    """
    n = values.shape[1]
    weights = np.random.default_rng(0).dirichlet([*np.ones(n), weight], size=RESAMPLES)
    own = values @ weights[:, :n].T
    low = np.quantile(own, 0.5 - LEVEL / 2, axis=1)
    return _ends(low, np.quantile(own + weights[:, n], 0.5 + LEVEL / 2, axis=1))


def half_gaffke(values: Floats, families: NDArray[np.intp]) -> Floats:
    """Gaffke's bounds with half of his weight: for values of 0 and 1 they are Jeffreys' interval's kin."""
    return gaffke(values, families, 0.5)


Interval = Callable[[Floats, NDArray[np.intp]], Floats]
OF_DIFFERENCES: Mapping[str, Interval] = {
    "t": t, "stratified t": stratified_t, "t, skew corrected": hall, "bootstrap": percentile, "BCa": bca,
    "bootstrap-t": bootstrap_t,
}  # fmt: skip
OF_SHARES: Mapping[str, Interval] = {
    **OF_DIFFERENCES, "t of logit": logit_t, "Gaffke": gaffke, "half Gaffke": half_gaffke,
}  # fmt: skip


def mover(first: Floats, second: Floats, interval: Interval, families: NDArray[np.intp]) -> Floats:
    """Return the interval of mean(first) - mean(second) from both intervals and their correlation: MOVER
    (Zou & Donner 2008, Stat. Med. 27, 1693)."""
    (l1, u1), (l2, u2) = interval(first, families).T, interval(second, families).T
    m1, m2 = first.mean(axis=1), second.mean(axis=1)
    c1, c2 = first - m1[:, None], second - m2[:, None]
    size = np.sqrt((c1**2).sum(axis=1) * (c2**2).sum(axis=1))
    r = np.divide((c1 * c2).sum(axis=1), size, out=np.zeros(len(size)), where=size > SMALLEST)

    def reach(a: Floats, b: Floats) -> Floats:
        return np.sqrt(np.maximum(0.0, a**2 + b**2 - 2 * r * a * b))

    return _ends(m1 - m2 - reach(m1 - l1, u2 - m2), m1 - m2 + reach(u1 - m1, m2 - l2))


def sign_flip_p(values: Floats) -> Floats:
    """P of the sign-flip test (Fisher 1935), from patterns drawn once."""
    n = values.shape[1]
    signs = np.random.default_rng(0).choice((-1.0, 1.0), size=(PATTERNS, n))
    bound = np.abs(values.sum(axis=1, keepdims=True)) - 1e-12
    return np.asarray((1 + (np.abs(values @ signs.T) >= bound).sum(axis=1)) / (1 + PATTERNS))


def t_p(values: Floats) -> Floats:
    """P of the paired t test."""
    mean, error = _moments(values)
    return np.asarray(2 * stdtr(values.shape[1] - 1, -np.abs(mean / error)))


def hall_p(values: Floats) -> Floats:
    """P of the t test corrected for skewness by Hall's cubic."""
    mean, error = _moments(values)
    a, x = _skewness(values) / np.sqrt(values.shape[1]), mean / error
    moved = x + a * x**2 / 3 + a**2 * x**3 / 27 + a / 6
    return np.asarray(2 * stdtr(values.shape[1] - 1, -np.abs(moved)))


def bootstrap_t_p(values: Floats) -> Floats:
    """P of the studentised bootstrap: twice the smaller tail beyond the observed t."""
    mean, error = _moments(values)
    above = (_studentised(values) >= (mean / error)[:, None]).mean(axis=1)
    return np.asarray(np.clip(2 * np.minimum(above, 1 - above) + 1 / RESAMPLES, 0, 1))


TESTS: Mapping[str, Callable[[Floats], Floats]] = {
    "sign flip": sign_flip_p, "t": t_p, "t, skew corrected": hall_p, "bootstrap-t": bootstrap_t_p,
}  # fmt: skip
