"""AVA by hand, and on a simulated benchmark whose truth is known."""

import numpy as np
import pytest

from unlearnbench.bench.stats.compare import t_interval
from unlearnbench.bench.stats.frontier import LEVELS, choose_points, measure_frontier

from .nested import Method, observed_ava, true_ava


def ramp(first: float, last: float) -> tuple[float, ...]:
    return tuple(np.linspace(first, last, 8))


FORGETS, FADES = ramp(-1, 5), ramp(3, 1)
GRID = {
    "the same": (Method(FORGETS, FADES), Method(FORGETS, FADES)),
    "aligned better": (Method(FORGETS, ramp(3, 1.6)), Method(FORGETS, ramp(3, 0.8))),
    "forgets later": (Method(FORGETS, FADES), Method(ramp(-2, 4), FADES)),
    "a third not reached": (Method(FORGETS, FADES), Method(FORGETS, FADES, weak=1 / 3)),
    "a third not reached by either": (Method(FORGETS, FADES, weak=1 / 3), Method(FORGETS, FADES, weak=1 / 3)),
    "near the ceiling": (Method(FORGETS, (4.0,) * 8), Method(FORGETS, (3.5,) * 8)),
    "concepts differ": (Method(FORGETS, FADES, 0.8), Method(FORGETS, ramp(3, 0.5), 0.8)),
}
CONCEPTS, SUITES = 12, 150


def test_a_frontier_by_hand() -> None:
    ua = [[0.5, 0.9, 1.0], [0.5, 0.85, 0.96]]
    va = [[0.9, 0.8, 0.4], [0.9, 0.7, 0.5]]
    # Half A picks point 1 up to .90 and point 2 above; half B picks point 1 up to .85 and point 2 above.
    assert choose_points(ua, va).tolist() == [[1, 1, 1, 1, 1, 2, 2], [1, 1, 1, 2, 2, 2, 2]]
    scored_on_b = (5 * 0.7 + 2 * 0.5) / 7
    scored_on_a = (3 * 0.8 + 4 * 0.4) / 7
    frontier = measure_frontier(ua, va, in_prompt=[[0.3, 0.2, 0.1], [0.3, 0.2, 0.1]])
    assert frontier.ava == pytest.approx((scored_on_a + scored_on_b) / 2)
    assert frontier.reach == 1
    assert frontier.in_prompt == pytest.approx((5 * 0.2 + 2 * 0.1 + 3 * 0.2 + 4 * 0.1) / 14)


def test_a_level_without_a_point_counts_zero_and_lowers_reach() -> None:
    frontier = measure_frontier([[0.9], [0.0]], [[1.0], [1.0]])
    assert frontier.reach == pytest.approx(5 / 14)  # half A reaches five of seven levels, half B none
    assert frontier.ava == pytest.approx(5 / 14)


def test_ties_go_to_the_cheaper_point_and_rounding_does_not_decide() -> None:
    assert set(choose_points([[1.0, 1.0]] * 2, [[0.7, 0.7]] * 2).ravel().tolist()) == {0}
    assert choose_points([[0.95 - 1e-12]] * 2, [[0.5]] * 2).min() == 0


@pytest.mark.parametrize("ua", [[[0.9, np.nan]] * 2, [[0.9] * 9] * 2, [[0.9]], [[]] * 2])
def test_a_missing_point_gives_no_ava(ua: list[list[float]]) -> None:
    with pytest.raises(ValueError, match="UA: "):
        measure_frontier(ua, ua)


def test_no_point_is_chosen_by_the_half_that_scores_it() -> None:
    # Half A's luck at point 1 must not be paid out on half A.
    frontier = measure_frontier([[1, 1], [1, 1]], [[0.5, 0.9], [0.5, 0.1]])
    assert frontier.ava == pytest.approx((0.1 + 0.5) / 2)


@pytest.fixture(scope="module")
def simulated() -> dict[str, dict[str, float]]:
    """For each truth: coverage of the t interval over concepts, bias of AVA and of the naive rule."""
    found = {}
    for name, (first, second) in GRID.items():
        generator = np.random.default_rng(7)
        concepts = [m.draw_concepts(CONCEPTS * SUITES, generator) for m in (first, second)]
        truths = [true_ava(m, c) for m, c in zip((first, second), concepts, strict=True)]
        seen = [observed_ava(c, generator) for c in concepts]
        truth, rows = (truths[0] - truths[1]).mean(), (seen[0][0] - seen[1][0]).reshape(SUITES, CONCEPTS)
        bounds = np.array([t_interval(row) for row in rows])
        found[name] = {
            "coverage": ((bounds[:, 0] <= truth) & (truth <= bounds[:, 1])).mean(),
            "bias": (seen[0][0] - truths[0]).mean(),
            "naive": (seen[0][1] - truths[0]).mean(),
        }
    return found


def test_the_interval_over_concepts_covers_the_truth(simulated: dict[str, dict[str, float]]) -> None:
    coverage = {name: row["coverage"] for name, row in simulated.items()}
    assert 0.93 <= np.mean(list(coverage.values())) <= 0.97, coverage
    assert min(coverage.values()) >= 0.90, coverage


def test_ava_is_nearly_unbiased(simulated: dict[str, dict[str, float]]) -> None:
    biases = {name: row["bias"] for name, row in simulated.items()}
    assert max(map(abs, biases.values())) < 0.02, biases


def test_choosing_and_scoring_on_the_same_prompts_pays_luck() -> None:
    """Eight points of one truth: the naive rule shows the luckiest, AVA the truth."""
    flat = Method((4.0,) * 8, (1.0,) * 8, spread=0.0)
    generator = np.random.default_rng(3)
    concepts = flat.draw_concepts(600, generator)
    truth = true_ava(flat, concepts).mean()
    ava, naive = observed_ava(concepts, generator)
    assert abs(ava.mean() - truth) < 0.01
    assert naive.mean() - truth > 0.02


def test_a_method_at_the_edge_of_a_level_is_flattered() -> None:
    """A known limit: UA .94 in truth passes .95 by luck, and eight equal points try it eight times."""
    edge = Method((3.2,) * 8, ramp(1, 2))
    generator = np.random.default_rng(5)
    truth = true_ava(edge, edge.draw_concepts(1_500, generator)).mean()
    seen, _ = observed_ava(edge.draw_concepts(1_200, generator), generator)
    assert 0.02 < seen.mean() - truth < 0.10
    assert len(LEVELS) == 7
