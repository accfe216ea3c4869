"""Coverage of the intervals of shares: coverage and width on simulated prompts of several noise samples."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

from .intervals import proportion_interval

SHARES = (0.5, 0.8, 0.9, 0.95, 0.98, 0.995)
"""True shares, by symmetry only those from one half on; listed, like the others, before anything was
simulated."""
CORRELATIONS = (0.0, 0.2, 0.5, 0.8, 1.0)
SAMPLES = (1, 2, 3, 4)
PROMPTS = (6, 12, 24, 72)


@dataclass(frozen=True)
class Truth:
    """A share of hits over prompts; correlation: of the answers of one prompt (intra-cluster)."""

    share: float
    correlation: float
    samples: int
    prompts: int

    def draw(self, tables: int, generator: np.random.Generator) -> NDArray[np.int64]:
        """Return (tables, prompts) hits of each prompt, a prompt's own share being of a beta distribution."""
        shape = (tables, self.prompts)
        if self.correlation == 0:
            return generator.binomial(self.samples, self.share, shape)
        if self.correlation == 1:
            return self.samples * generator.binomial(1, self.share, shape)
        spread = (1 - self.correlation) / self.correlation
        own = generator.beta(self.share * spread, (1 - self.share) * spread, shape)
        return generator.binomial(self.samples, own)


@dataclass(frozen=True)
class ShareCoverage:
    """How often an interval holds a truth; below, above: how often all of it lies on one side of it."""

    coverage: float
    below: float
    above: float
    width: float


def list_truths(
    shares: Iterable[float] = SHARES,
    correlations: Iterable[float] = CORRELATIONS,
    samples: Iterable[int] = SAMPLES,
    prompts: Iterable[int] = PROMPTS,
) -> Iterator[Truth]:
    """Yield every combination; with one sample a prompt there is no correlation."""
    for share, correlation, number, clusters in product(shares, correlations, samples, prompts):
        if number > 1 or correlation == 0:
            yield Truth(share, correlation, number, clusters)


def measure_share(truth: Truth, version: int, tables: int = 300, seed: int = 7) -> ShareCoverage:
    """Simulate tables of one truth; the same seed gives both versions the same tables."""
    drawn = np.sort(truth.draw(tables, np.random.default_rng(seed)), axis=1)  # prompts have no order
    states, counts = np.unique(drawn, axis=0, return_counts=True)
    labels = np.repeat(np.arange(truth.prompts), truth.samples)
    ends = np.array([_interval(state, truth.samples, labels, version) for state in states])
    below, above = ends[:, 1] < truth.share - 1e-9, ends[:, 0] > truth.share + 1e-9
    weights = counts / tables
    return ShareCoverage(
        float(weights @ ~(below | above)),
        float(weights @ below),
        float(weights @ above),
        float(weights @ (ends[:, 1] - ends[:, 0])),
    )


def _interval(
    hits: NDArray[np.int64], samples: int, labels: NDArray[np.int64], version: int
) -> tuple[float, float]:
    rows = (np.arange(samples) < hits[:, None]).ravel().astype(float)
    return proportion_interval(rows, labels, version=version)


def measure_shares(
    truths: Iterable[Truth], tables: int = 300, seed: int = 7
) -> dict[Truth, tuple[ShareCoverage, ShareCoverage]]:
    """Return the coverage of versions 1 and 2 of each truth."""
    return {
        truth: (measure_share(truth, 1, tables, seed), measure_share(truth, 2, tables, seed))
        for truth in truths
    }
