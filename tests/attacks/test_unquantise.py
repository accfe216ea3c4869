"""Rounding, pruning and merging, by hand."""

from collections.abc import Callable

import torch

from unlearnbench.bench.attacks import unquantise
from unlearnbench.bench.attacks.contract import Victim


def test_rounding_to_three_bits_by_hand() -> None:
    weight = torch.tensor([[3.0, -1.4, 0.6], [0.0, 0.0, 0.0]])
    # 7 levels from -3 to 3 in steps of 1; a row of zeros stays one
    assert torch.equal(unquantise.round_to(weight, 3), torch.tensor([[3.0, -1.0, 1.0], [0.0, 0.0, 0.0]]))


def test_pruning_by_hand() -> None:
    weight = torch.tensor([[0.1, -4.0], [0.3, 2.0]])
    assert torch.equal(unquantise.prune(weight, 0.5), torch.tensor([[0.0, -4.0], [0.0, 2.0]]))


def test_merging_moves_a_share_of_the_way_to_the_base(make_victim: Callable[..., Victim]) -> None:
    victim = make_victim()
    weight, base = (p.unet.conv_in.weight.data for p in (victim.pipeline, victim.base))
    start = base + 1
    weight.copy_(start)
    unquantise.attack(victim, unquantise.Config(change="merge", share=0.25))
    assert torch.allclose(weight, base + 0.75, atol=1e-6)
