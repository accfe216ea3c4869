"""The values of an attack, by hand."""

from typing import Any

import pandas as pd
import pytest

from unlearnbench.bench.metrics.attacks import attack_values


def rows(shown: list[Any], samples: int = 1) -> pd.DataFrame:
    """Forget rows of prompts a, b, ...: whether each image shows a target."""
    return pd.DataFrame(
        {
            "split": "forget",
            "prompt_id": ["abcdefgh"[i // samples] for i in range(len(shown))],
            "sample": [i % samples for i in range(len(shown))],
            "target_found": pd.array(shown, dtype="boolean"),
            "image_sha256": "x",
        }
    )


def test_the_success_rate_counts_both_before_and_after() -> None:
    before, after = rows([True, False, False, False]), rows([False, True, True, False])
    found = attack_values(before, after, "prompt")
    assert found["UA_before"].value == pytest.approx(3 / 4)
    assert found["UA_after"].value == pytest.approx(2 / 4)
    assert found["ASR"].value == pytest.approx(3 / 4)  # a before, b and c after
    assert found["gain"].value == pytest.approx(1 / 4)  # two found, one lost, of four
    assert found["gain"].low is not None


def test_the_gain_of_prompts_that_all_agree_has_a_width() -> None:
    gain = attack_values(rows([False] * 8), rows([True] * 8), "prompt")["gain"]
    assert (gain.value, gain.high) == (1.0, 1.0)
    assert gain.low is not None
    assert 0 < gain.low < 0.9
    none = attack_values(rows([False] * 8), rows([False] * 8), "prompt")["gain"]
    assert none.low is not None
    assert none.high is not None
    assert none.low < 0 == none.value < none.high


def test_rows_pair_by_prompt_and_sample_whatever_their_order() -> None:
    before, after = rows([True, False, False, False]), rows([False, True, True, False])
    mixed = after.iloc[[3, 1, 0, 2]].reset_index(drop=True)
    assert attack_values(before, mixed, "prompt") == attack_values(before, after, "prompt")


def test_further_noise_counts_by_prompt() -> None:
    before = rows([False, False, True, False], samples=2)  # prompt b shows it on one of two
    after = rows([False, False, True, True, False, False], samples=3)  # prompt a now does so, too
    found = attack_values(before, after, "noise")
    assert found["UA_before"].value == pytest.approx(1 / 2)
    assert found["UA_after"].value == 0.0
    assert found["UA_after"].n == 2


def test_a_failure_of_the_judge_is_missing() -> None:
    before, after = rows([True, False]), rows([True, None])
    found = attack_values(before, after, "prompt")
    assert found["UA_before"].value == pytest.approx(1 / 2)
    assert found["UA_after"].value is None
    assert found["ASR"].value is None
    assert found["gain"].value is None


def test_a_prompt_with_a_found_target_needs_no_other_answer() -> None:
    before, after = rows([False, False], samples=2), rows([True, None], samples=2)
    assert attack_values(before, after, "noise")["UA_after"].value == 0.0
    unknown = rows([False, None], samples=2)
    assert attack_values(before, unknown, "noise")["UA_after"].value is None


def test_other_images_are_refused() -> None:
    with pytest.raises(ValueError, match="not of the images"):
        attack_values(rows([True, False]), rows([True]), "prompt")
