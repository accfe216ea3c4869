"""What an attack gives back is checked; what it is given holds no noise of the evaluation."""

from dataclasses import fields
from typing import Any

import pytest
import torch

from unlearnbench.bench.attacks.contract import Cost, Inputs, Victim, check_inputs, counted, without
from unlearnbench.bench.errors import UserError

PROMPTS = {"one": "a cat"}


@pytest.mark.parametrize(
    ("given", "moves", "said"),
    [
        (None, "prompt", "gave NoneType"),
        (Inputs(texts={"one": "x"}), "noise", "gave texts"),
        (Inputs(seeds={"one": [1]}), "prompt", "gave seeds"),
        (Inputs(texts={"two": "x"}), "prompt", "no prompt of the task"),
        (Inputs(texts={"one": " "}), "prompt", "empty"),
    ],
)
def test_what_an_attack_may_not_give_is_refused_by_name(given: Any, moves: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        check_inputs(given, moves, PROMPTS, "mine")


def test_a_victim_holds_no_seed() -> None:
    assert not [field.name for field in fields(Victim) if "seed" in field.name or "noise" in field.name]


def test_passes_are_counted_by_image() -> None:
    cost, module = Cost(), torch.nn.Linear(2, 2)
    with counted(module, cost):
        module(torch.zeros(3, 2))
        module(torch.zeros(5, 2))
    module(torch.zeros(7, 2))
    assert cost.passes == 8


def test_a_text_without_its_target() -> None:
    assert without("a cat face with cat faces", ("cat", "cat face")) == "a with s"
    assert without("a cat face on red", ("cat face",), "thing") == "a thing on red"
