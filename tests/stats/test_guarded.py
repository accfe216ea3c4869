"""The guard's interval against draws of its definition."""

import numpy as np
import pytest

from unlearnbench.bench.stats.compare import t_interval
from unlearnbench.bench.stats.guarded import guarded_interval
from unlearnbench.bench.stats.mean_intervals import half_gaffke, mover
from unlearnbench.bench.stats.monotone import mean_interval


def _values(seed: int) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    common = generator.random(12)
    return 0.3 + 0.6 * common, 0.2 + 0.5 * common + 0.2 * generator.random(12)


@pytest.mark.parametrize("weight", [0.5, 1.0])
def test_bounds_of_a_mean_against_drawn_weights(weight: float) -> None:
    values = _values(1)[0]
    drawn = np.random.default_rng(2).dirichlet([*np.ones(12), weight], size=200_000)
    low, high = (np.quantile(drawn @ np.append(values, end), q) for end, q in ((0, 0.025), (1, 0.975)))
    assert mean_interval(values, 0, 1, weight=weight) == pytest.approx((low, high), abs=0.003)


def test_the_interval_is_what_the_simulation_simulates() -> None:
    first, second = _values(3)
    shipped = guarded_interval(first, second)
    simulated = mover(first[None], second[None], half_gaffke, np.zeros(12, dtype=int))[0]
    assert shipped == pytest.approx(simulated, abs=0.01)  # 999 draws


def test_it_is_wider_than_t_and_holds_an_unseen_loss() -> None:
    first, second = np.full(12, 0.9) + 0.01 * np.arange(12) / 12, np.full(12, 0.87)
    assert t_interval(first - second)[0] > 0
    low, high = guarded_interval(first, second)
    assert low < 0 < high
    assert guarded_interval(second, first) == pytest.approx((-high, -low))


def test_few_or_unlike_pairs_are_refused() -> None:
    for left, right in (([0.5], [0.5]), ([0.5, 0.6], [0.5])):
        with pytest.raises(ValueError, match="two pairs"):
            guarded_interval(left, right)
