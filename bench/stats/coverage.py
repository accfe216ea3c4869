"""Coverage of the board's intervals: coverage and bias on simulated suites of known truth."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from .compare import t_interval
from .nested import Method, observed_ava, true_ava


def _ramp(first: float, last: float) -> tuple[float, ...]:
    return tuple(np.linspace(first, last, 8))


_FORGETS, _FADES = _ramp(-1, 5), _ramp(3, 1)
TRUTHS: dict[str, tuple[Method, Method]] = {
    "the same": (Method(_FORGETS, _FADES), Method(_FORGETS, _FADES)),
    "aligned better": (Method(_FORGETS, _ramp(3, 1.6)), Method(_FORGETS, _ramp(3, 0.8))),
    "forgets later": (Method(_FORGETS, _FADES), Method(_ramp(-2, 4), _FADES)),
    "a third not reached": (Method(_FORGETS, _FADES), Method(_FORGETS, _FADES, weak=1 / 3)),
    "a third not reached by either": (
        Method(_FORGETS, _FADES, weak=1 / 3),
        Method(_FORGETS, _FADES, weak=1 / 3),
    ),
    "near the ceiling": (Method(_FORGETS, (4.0,) * 8), Method(_FORGETS, (3.5,) * 8)),
    "concepts differ": (Method(_FORGETS, _FADES, 0.8), Method(_FORGETS, _ramp(3, 0.5), 0.8)),
}
"""Pairs of methods, listed before anything was simulated."""
EDGE = Method((3.2,) * 8, _ramp(1, 2))
"""A known limit, outside the list: UA .94 in truth, at eight points, passes the level .95 by luck."""


@dataclass(frozen=True)
class Coverage:
    """Of one pair. bias: of the first method's AVA; naive: the same, chosen and scored on all prompts."""

    truth: float
    coverage: float
    bias: float
    naive: float
    suites: int


def measure_coverage(
    first: Method, second: Method, concepts: int = 12, suites: int = 150, seed: int = 7
) -> Coverage:
    """Simulate suites and return how often the t interval over concepts holds the true mean difference."""
    generator = np.random.default_rng(seed)
    drawn = [method.draw_concepts(concepts * suites, generator) for method in (first, second)]
    truths = [true_ava(values) for values in drawn]
    seen = [observed_ava(values, generator) for values in drawn]
    truth = float((truths[0] - truths[1]).mean())
    bounds = np.array([t_interval(row) for row in (seen[0][0] - seen[1][0]).reshape(suites, concepts)])
    covered = (bounds[:, 0] <= truth) & (truth <= bounds[:, 1])
    bias, naive = (float((values - truths[0]).mean()) for values in seen[0])
    return Coverage(truth, float(covered.mean()), bias, naive, suites)


def measure_all(suites: int, say: Callable[[str], None] = lambda name: None) -> dict[str, Coverage]:
    """Measure every listed truth; `say` gets each one's name before it is simulated."""
    found = {}
    for name, pair in TRUTHS.items():
        say(name)
        found[name] = measure_coverage(*pair, suites=suites)
    return found
