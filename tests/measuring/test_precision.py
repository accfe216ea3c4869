"""Verdicts that flip between half precision and float32, counted by hand."""

from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest

from unlearnbench.bench.measuring.precision import SAMPLE, choose_sample, count_flips


def _row(prompt: str, split: str, **values: Any) -> dict[str, Any]:
    plain = {
        f"{what}_{kind}": "" for what in ("asked", "found") for kind in ("subject", "style", "background")
    }
    seen = {"prompt_id": prompt, "sample": 0, "split": split, "target_found": None, "image_sha256": "ab"}
    return {**plain, **seen, **values}


def test_a_verdict_flips_where_the_answer_to_what_was_asked_does() -> None:
    fox = {"asked_subject": "fox", "found_subject": "fox", "asked_style": "line"}
    half = [
        _row("a", "forget", target_found=True),
        _row("b", "forget", target_found=False),
        _row("c", "retain", **fox, found_style="line", found_background="red"),
        _row("d", "retain", **fox, found_style="dots"),
        _row("e", "retain", **fox, found_style="line"),
        _row("not in the sample", "retain", **fox),
    ]
    full = [
        _row("e", "retain", **fox, found_style="", image_sha256=""),  # failed: flips
        _row("a", "forget", target_found=False),  # flips
        _row("b", "forget", target_found=False, found_subject="cat"),
        _row("c", "retain", **fox, found_style="line", found_background="blue"),  # nobody asked for it
        _row("d", "retain", **fox, found_style="waves"),  # wrong in both
    ]
    found = count_flips(pd.DataFrame(half), pd.DataFrame(full))
    assert (found.images, found.flips) == (5, 2)
    with pytest.raises(KeyError):
        count_flips(pd.DataFrame(half[:1]), pd.DataFrame(full))


def test_the_sample_is_the_first_images_of_each_split() -> None:
    def ask(split: str, count: int) -> list[Any]:
        return [SimpleNamespace(prompt=SimpleNamespace(split=split, id=f"{split}{i}")) for i in range(count)]

    chosen = choose_sample([*ask("retain", 3), *ask("indirect", 2), *ask("forget", SAMPLE + 4)])
    assert [r.prompt.id for r in chosen] == [f"forget{i}" for i in range(SAMPLE)] + [
        f"retain{i}" for i in range(3)
    ]
