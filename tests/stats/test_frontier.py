"""AVA by hand; `test_coverage.py` has it on simulated boards whose truth is known."""

import numpy as np
import pytest

from unlearnbench.bench.stats.frontier import choose_points, measure_frontier


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
