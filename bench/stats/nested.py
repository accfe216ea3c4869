"""A simulated benchmark of known truth: concept > training run x prompt > noise sample, on logit scale."""

from dataclasses import dataclass

import numpy as np
from numpy.polynomial.hermite_e import hermegauss
from scipy.special import expit

from .frontier import LEVELS, measure_frontier

RUN, PROMPT = 0.3, 0.8  # standard deviations of a run's and of a prompt's shift, logits
RUNS, FORGET, RETAIN, NOISES = 3, 12, 36, 2  # prompts are those of one half
NODES, WEIGHTS = hermegauss(41)


@dataclass(frozen=True)
class Method:
    """Logits of UA and VA by point, for a concept at the population's middle.

    spread: of concepts around it. weak: share of the concepts on which UA stays too low to be read.
    """

    ua: tuple[float, ...]
    va: tuple[float, ...]
    spread: float = 0.3
    weak: float = 0.0

    def draw_concepts(self, n: int, generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Return true logits (n, points) of UA and of VA."""
        shift = self.spread * generator.standard_normal((2, n, 1))
        low = 6.0 * (generator.random((n, 1)) < self.weak)
        return np.array(self.ua) + shift[0] - low, np.array(self.va) + shift[1]


def true_share(logits: np.ndarray) -> np.ndarray:
    """Integrate over runs and prompts: return the share of infinitely many images."""
    shifted = logits[..., None] + np.hypot(RUN, PROMPT) * NODES
    return expit(shifted) @ WEIGHTS / WEIGHTS.sum()


def true_ava(concepts: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    """Return AVA (n,) of concepts whose shares are known exactly: both halves are the truth."""
    shares = [true_share(logits) for logits in concepts]
    return np.array([measure_frontier([u, u], [v, v]).ava for u, v in zip(*shares, strict=True)])


def observe(logits: np.ndarray, prompts: int, generator: np.random.Generator) -> np.ndarray:
    """Return observed means (concepts, 2 halves, points) of Bernoulli images."""
    n = len(logits)
    run = RUN * generator.standard_normal((n, 1, 1, RUNS, 1))  # one run gives both halves and all points
    prompt = PROMPT * generator.standard_normal((n, 2, 1, 1, prompts))
    chance = expit(logits[:, None, :, None, None] + run + prompt)
    return generator.binomial(NOISES, chance).mean(axis=(3, 4)) / NOISES


def naive_ava(ua: np.ndarray, va: np.ndarray) -> float:
    """Return the naive rule's value: choose and score on the same prompts."""
    u, v = ua.mean(0), va.mean(0)
    return float(np.mean([v[u >= level - 1e-9].max(initial=0.0) for level in LEVELS]))


def observed_ava(
    concepts: tuple[np.ndarray, np.ndarray], generator: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Return AVA and the naive rule's value (n,) of concepts, each observed once."""
    ua, va = observe(concepts[0], FORGET, generator), observe(concepts[1], RETAIN, generator)
    pairs = list(zip(ua, va, strict=True))
    return np.array([measure_frontier(u, v).ava for u, v in pairs]), np.array(
        [naive_ava(u, v) for u, v in pairs]
    )
