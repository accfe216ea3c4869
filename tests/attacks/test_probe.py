"""The probe: what it reads where there is something to read, and where there is nothing."""

from collections.abc import Callable

import pytest
import torch

from unlearnbench.bench.attacks import probe
from unlearnbench.bench.attacks.contract import Victim


def test_kinds_that_differ_in_one_feature_are_told_apart() -> None:
    noise = torch.randn(2, 200, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    assert probe.probe_accuracy(noise[0] + torch.tensor([8.0, 0, 0, 0, 0, 0]), noise[1]) == 1.0
    assert probe.probe_accuracy(noise[0], noise[1]) == pytest.approx(0.5, abs=0.12)


def test_it_moves_nothing_and_reads_a_share(make_victim: Callable[..., Victim]) -> None:
    victim = make_victim()
    inputs = probe.attack(victim, probe.Config(budget=16))
    assert not inputs.texts
    assert 0 <= inputs.readings["accuracy"] <= 1
    assert not victim.pipeline.unet.mid_block._forward_hooks
