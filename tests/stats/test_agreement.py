"""Cohen's kappa and Rogan-Gladen against hand-worked cases; their intervals on observers of known error."""

import numpy as np
import pytest

from unlearnbench.bench.stats.agreement import Errors, cohen_kappa, count_errors, rogan_gladen
from unlearnbench.bench.stats.monotone import exact_interval


def _pairs(both: int, first: int, second: int, neither: int) -> tuple[list[int], list[int], list[int]]:
    left = [1] * (both + first) + [0] * (second + neither)
    right = [1] * both + [0] * first + [1] * second + [0] * neither
    return left, right, list(range(len(left)))


def test_kappa_is_the_hand_worked_one() -> None:
    # 20 yes-yes, 5 yes-no, 10 no-yes, 15 no-no: agreement .7; chance .5 * .6 + .5 * .4 = .5; kappa .4
    found = cohen_kappa(*_pairs(20, 5, 10, 15))
    assert found is not None
    assert (found.kappa, found.share, found.n) == (pytest.approx(0.4), pytest.approx(0.7), 50)
    low, high = exact_interval(35, 50)
    assert (found.low, found.high) == (pytest.approx(2 * low - 1), pytest.approx(2 * high - 1))


def test_full_agreement_keeps_a_width_and_one_answer_alone_has_no_kappa() -> None:
    found = cohen_kappa(*_pairs(6, 0, 0, 4))
    assert found is not None
    assert found.kappa == found.high == 1
    assert found.low < 0.5
    assert cohen_kappa(*_pairs(10, 0, 0, 0)) is None
    worst = cohen_kappa(*_pairs(0, 5, 5, 0))
    assert worst is not None
    assert worst.kappa == -1


def test_images_of_one_prompt_count_as_fewer() -> None:
    left, right, prompts = _pairs(20, 5, 10, 15)
    alone = cohen_kappa(left, right, prompts)
    together = cohen_kappa(left, right, [p // 5 for p in prompts])
    assert alone is not None
    assert together is not None
    assert together.kappa == alone.kappa
    assert together.high - together.low > 1.3 * (alone.high - alone.low)


def test_errors_are_counted_where_the_truth_is_known() -> None:
    judge, truth, prompts = _pairs(18, 3, 2, 27)
    errors = count_errors(judge, truth, prompts)
    assert errors.sensitivity == pytest.approx(18 / 20)
    assert errors.specificity == pytest.approx(27 / 30)
    assert count_errors([1, 0], [0, 0], [0, 1]).shown == 0


def test_rogan_gladen_is_the_hand_worked_one() -> None:
    # q = .3, Se = .9, Sp = .8: (.3 + .8 - 1) / (.9 + .8 - 1) = 1/7
    found = rogan_gladen(30, 100, Errors(45, 50, 80, 100))
    assert found is not None
    share, (low, high) = found
    assert share == pytest.approx(1 / 7)
    assert low is not None
    assert high is not None
    assert 0 <= low < 1 / 7 < high < 0.4
    perfect = rogan_gladen(0, 100, Errors(50, 50, 50, 50))
    assert perfect is not None
    assert perfect[0] == 0
    assert perfect[1][1] > 0.02


@pytest.mark.parametrize("errors", [Errors(5, 10, 5, 10), Errors(2, 10, 5, 10), Errors(0, 0, 5, 5)])
def test_a_judge_no_better_than_a_coin_corrects_nothing(errors: Errors) -> None:
    assert rogan_gladen(30, 100, errors) is None


@pytest.mark.parametrize("share", [0.0, 0.05, 0.5, 0.95])
def test_the_corrected_interval_holds_the_truth(share: float) -> None:
    """400 studies of 48 images, with errors read from 40 and 60 labelled ones: .95 wanted, .92 allowed."""
    rng, sensitivity, specificity = np.random.default_rng(0), 0.85, 0.93
    held = 0
    for _ in range(400):
        found = rng.binomial(48, share * sensitivity + (1 - share) * (1 - specificity))
        errors = Errors(rng.binomial(40, sensitivity), 40, rng.binomial(60, specificity), 60)
        result = rogan_gladen(found, 48, errors)
        assert result is not None
        low, high = result[1]
        assert low is not None
        assert high is not None
        held += low <= share <= high
    assert held >= 0.92 * 400
