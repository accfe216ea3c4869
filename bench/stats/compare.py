"""Compare methods: differences per concept, tests, and the smallest detectable difference."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
MOST_EXACT = 40
"""Maximum number of concepts for which all 2^n sign patterns are counted, as pairs of half patterns."""
PATTERNS = 100_000
"""Number of random sign patterns where there are more concepts."""
TOLERANCE = 1e-12


@dataclass(frozen=True)
class Comparison:
    """A mean difference over concepts. low, high: t interval; p: sign-flip test, two-sided."""

    mean: float
    low: float
    high: float
    p: float
    n: int


def t_interval(values: ArrayLike, level: float = 0.95) -> tuple[float, float]:
    """Return the t interval of a mean. values: (n,), one a concept. Raises ValueError on fewer than two."""
    numbers = _finite(values, 2)
    n = numbers.size
    half = float(_t_bound(level, n - 1) * numbers.std(ddof=1) / np.sqrt(n))
    return float(numbers.mean()) - half, float(numbers.mean()) + half


@lru_cache(maxsize=256)
def _t_bound(level: float, df: int) -> float:
    """Return the t quantile of a two-sided level; a board asks for a few of them, thousands of times."""
    from scipy import stats  # its import takes half a second, and `validate` needs no test

    return float(stats.t.ppf(0.5 + level / 2, df))


def sign_flip(differences: ArrayLike) -> float:
    """Return the two-sided p of a mean of zero when each difference's sign is as likely as the other.

    differences: (n,). The share of sign patterns whose |sum| is at least the observed one (Fisher 1935): of
    all 2^n up to n = 40, so that the least p is 2^(1-n); beyond, of patterns drawn with a fixed seed, the
    observed one among them.
    """
    numbers = _finite(differences, 1)
    # by symmetry as many patterns lie below the negative of the bound as above the bound
    bound = abs(numbers.sum()) - TOLERANCE * max(1.0, float(np.abs(numbers).sum()))
    if bound <= 0:
        return 1.0
    if numbers.size > MOST_EXACT:
        signs = np.random.default_rng(0).choice((-1.0, 1.0), size=(PATTERNS, numbers.size))
        return float((1 + (np.abs(signs @ numbers) >= bound).sum()) / (1 + PATTERNS))
    left, right = (_signed_sums(half) for half in np.array_split(numbers, 2))
    beyond = right.size - np.searchsorted(np.sort(right), bound - left)
    return float(2 * beyond.sum() / (left.size * right.size))


def _signed_sums(values: Floats) -> Floats:
    """Return the sums (2^n,) of values (n,) under all patterns of signs."""
    sums = np.zeros(1)
    for value in values:
        sums = np.concatenate([sums + value, sums - value])
    return sums


def compare(first: ArrayLike, second: ArrayLike, level: float = 0.95) -> Comparison:
    """Compare two methods by first - second. first, second: (n,), entry i of both about the same concept."""
    left, right = np.asarray(first, dtype=float), np.asarray(second, dtype=float)
    if left.shape != right.shape:
        raise ValueError(f"pairs of unequal length: {left.shape} and {right.shape}")
    differences = _finite(left - right, 2)
    low, high = t_interval(differences, level)
    return Comparison(float(differences.mean()), low, high, sign_flip(differences), differences.size)


def holm(p: ArrayLike) -> Floats:
    """Return Holm's adjusted p-values, in the order given (Holm 1979); p: (n,) in [0, 1]."""
    values = _finite(p, 1)
    order = np.argsort(values, kind="stable")
    steps = values[order] * (values.size - np.arange(values.size))
    adjusted = np.empty_like(values)
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(steps))
    return adjusted


def mcnemar(first: ArrayLike, second: ArrayLike) -> float:
    """Return the exact two-sided p of McNemar's test. first, second: (n,) of 0 and 1, pairs of one image.

    Binomial test of the discordant pairs (McNemar 1947, exact form); 1 where no pair is discordant. Pairs
    must be independent: between two fixed models, one image a prompt.
    """
    left, right = _finite(first, 1), _finite(second, 1)
    if left.shape != right.shape or not np.isin(np.concatenate([left, right]), (0, 1)).all():
        raise ValueError("McNemar compares pairs of 0 and 1")
    only_first, only_second = int((left > right).sum()), int((right > left).sum())
    discordant = only_first + only_second
    from scipy import stats

    return float(stats.binomtest(only_first, discordant).pvalue) if discordant else 1.0


def crossed_bootstrap(
    differences: ArrayLike, resamples: int = 10_000, level: float = 0.95, seed: int = 0
) -> tuple[float, float]:
    """Return the percentile interval of a mean when training runs and prompts are both drawn again.

    differences: (runs, prompts) of paired differences, each a mean over its noise samples. Rows and columns
    are resampled independently (the pigeonhole bootstrap, Owen 2007), which errs on the wide side.
    """
    table = np.asarray(differences, dtype=float)
    if table.ndim != 2 or table.size == 0 or not np.isfinite(table).all():
        raise ValueError(f"a table (runs, prompts) of finite differences, got shape {table.shape}")
    runs, prompts = table.shape
    by_run, by_prompt = _draw_weights(runs, prompts, resamples, seed)
    means = np.einsum("br,br->b", by_run, by_prompt @ table.T)
    low, high = np.quantile(means, [0.5 - level / 2, 0.5 + level / 2])
    return float(low), float(high)


@lru_cache(maxsize=4)  # a board's tables have few shapes
def _draw_weights(runs: int, prompts: int, resamples: int, seed: int) -> tuple[Floats, Floats]:
    """Return the weights (resamples, runs) and (resamples, prompts) of rows and columns drawn again."""
    generator = np.random.default_rng(seed)
    by_run = generator.multinomial(runs, np.full(runs, 1 / runs), size=resamples) / runs
    by_prompt = generator.multinomial(prompts, np.full(prompts, 1 / prompts), size=resamples) / prompts
    return by_run, by_prompt


def detectable_difference(deviation: float, concepts: int, power: float = 0.8, level: float = 0.95) -> float:
    """Return the least mean difference that a two-sided paired t test finds with the given power.

    deviation: standard deviation of a concept's difference. Solved with the noncentral t distribution.
    """
    if concepts < 2 or deviation < 0 or not 0 < level < 1 or not 1 - level < power < 1:
        raise ValueError(f"detectable_difference: {deviation=}, {concepts=}, {power=}, {level=}")
    if deviation == 0:
        return 0.0
    from scipy import optimize, stats

    df, bound = concepts - 1, _t_bound(level, concepts - 1)

    def excess(shift: float) -> float:
        # scipy gives NaN for the far tail on the other side, where nothing is left to add
        wrong_side = np.nan_to_num(stats.nct.cdf(-bound, df, shift))
        return float(stats.nct.sf(bound, df, shift) + wrong_side) - power

    shift = float(optimize.brentq(excess, 1e-6, 10 * bound))
    return shift * deviation / float(np.sqrt(concepts))


def tie_groups(means: Mapping[str, float], different: Mapping[tuple[str, str], bool]) -> dict[str, list[str]]:
    """Return, for each method from the best down, the methods that the data cannot tell from it.

    different: for each unordered pair (either order) whether it differs significantly after correction. A
    significant difference is not transitive, so a method may be in several groups.
    """
    ranked = sorted(means, key=lambda name: (-means[name], name))

    def tied(a: str, b: str) -> bool:
        return a == b or not different.get((a, b), different.get((b, a), False))

    return {name: [other for other in ranked if tied(name, other)] for name in ranked}


def _finite(values: ArrayLike, least: int) -> Floats:
    numbers = np.asarray(values, dtype=float)
    if numbers.ndim != 1 or numbers.size < least or not np.isfinite(numbers).all():
        raise ValueError(f"{least} finite value(s) or more, got shape {numbers.shape}")
    return numbers
