"""H by hand."""

import numpy as np
import pytest

from unlearnbench.bench.stats.harmonic import harmonic_mean, measure_harmonic

UA = [[[0.5, 1.0], [0.4, 0.8]]]
VA = [[[1.0, 0.5], [1.0, 0.5]]]


def test_by_hand() -> None:
    # half A: 2/3 and 2/3, a tie, so the cheaper point; half B: .8/1.4 = 4/7 and .8/1.3 = 8/13, so the second
    found = measure_harmonic(UA, VA)
    assert found.chosen.tolist() == [[0, 1]]
    assert found.h == pytest.approx((4 / 7 + 2 / 3) / 2)  # point 0 read on B, point 1 on A
    assert (found.ua, found.alignment, found.in_prompt) == (pytest.approx(0.7), pytest.approx(0.75), None)


def test_three_parts_are_chosen_and_read_together() -> None:
    found = measure_harmonic(UA, VA, [[[1.0, 0.1], [1.0, 0.1]]])
    assert found.chosen.tolist() == [[0, 0]]
    assert found.h == pytest.approx((3 / (1 / 0.4 + 1 + 1) + 3 / (1 / 0.5 + 1 + 1)) / 2)
    assert found.in_prompt == 1


def test_every_run_counts_once_and_chooses_for_itself() -> None:
    runs = [measure_harmonic([ua], [va]).h for ua, va in zip([UA[0], VA[0]], [VA[0], UA[0]], strict=True)]
    both = measure_harmonic([UA[0], VA[0]], [VA[0], UA[0]])
    assert both.h == pytest.approx(np.mean(runs))
    failed = measure_harmonic([UA[0], [[0.0, 0.0]] * 2], [VA[0], VA[0]])
    assert failed.h == pytest.approx(runs[0] / 2)  # a run that forgets nothing is not averaged away first


def test_no_point_is_chosen_by_the_half_that_reads_it() -> None:
    lucky = measure_harmonic([[[1.0, 1.0], [1.0, 1.0]]], [[[0.5, 0.9], [0.5, 0.1]]])
    assert lucky.h == pytest.approx((2 * 0.1 / 1.1 + 2 * 0.5 / 1.5) / 2)


@pytest.mark.parametrize("parts", [(0.0, 1.0, 1.0), (1.0, 0.0, 1.0), (1.0, 1.0, 0.0)])
def test_nothing_forgotten_everything_destroyed_and_garbage_are_worth_nothing(parts: tuple) -> None:
    assert measure_harmonic(*([[[part], [part]]] for part in parts)).h == 0


def test_a_harmonic_mean_falls_without_a_jump() -> None:
    shares = np.linspace(0, 1, 1001)
    found = harmonic_mean(np.stack([shares, np.ones(1001), np.ones(1001)]))
    assert found == pytest.approx(3 * shares / (1 + 2 * shares))
    assert np.abs(np.diff(found)).max() < 0.0031  # three times the step: no level at which a rank flips


@pytest.mark.parametrize(
    ("ua", "va"),
    [([[[0.9, np.nan]] * 2], VA), (UA, [[[1.0]] * 2]), ([[0.9, 1.0]], [[0.9, 1.0]]), ([[[1.2, 1]] * 2], VA)],
)
def test_a_missing_value_gives_no_h(ua: list, va: list) -> None:
    with pytest.raises(ValueError, match="H: "):
        measure_harmonic(ua, va)
