"""The training loop resumes bit-exactly, whatever step it was broken at."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from unlearnbench.bench.worlds.recipe import loop
from unlearnbench.bench.worlds.recipe.loop import Stage, train
from unlearnbench.bench.worlds.seeds import derive_seed, seeded


class _KilledError(Exception):
    pass


def _stage(kill_at: int | None = None) -> Stage:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(16, 1))
    network = network.to(memory_format=torch.channels_last)

    def loss(step: int, generator: torch.Generator) -> Tensor:
        if step == kill_at:
            raise _KilledError
        return network(torch.randn(8, 1, 4, 4, generator=generator)).square().mean()

    return Stage("toy", {"network": network}, loss, steps=12, rate=1e-2, seed=0, ema=0.9)


@pytest.mark.parametrize("kill_at", [0, 1, 5, 11])
def test_a_broken_run_ends_as_an_unbroken_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kill_at: int
) -> None:
    monkeypatch.setattr(loop, "CHECKPOINT_SECONDS", 0.0)
    whole, broken = _stage(), _stage(kill_at)
    train(whole, tmp_path / "whole")
    with pytest.raises(_KilledError):
        train(broken, tmp_path / "broken")
    resumed = _stage()
    train(resumed, tmp_path / "broken")
    expected, found = whole.modules["network"].state_dict(), resumed.modules["network"].state_dict()
    assert all(torch.equal(expected[name], found[name]) for name in expected)
    assert not list((tmp_path / "broken").glob("*checkpoint*"))


def test_a_finished_stage_is_read_back(tmp_path: Path) -> None:
    train(_stage(), tmp_path)
    again = _stage(kill_at=0)  # would raise if it took a step
    train(again, tmp_path)
    assert not any(p.requires_grad for p in again.modules["network"].parameters())


def test_rate_warms_up_and_ends_at_zero() -> None:
    stage = Stage("x", {}, lambda s, g: torch.zeros(()), steps=1000, rate=1.0, seed=0, decay_from=0.5)
    assert stage.rate_at(0) == pytest.approx(0.01)
    assert stage.rate_at(500) == pytest.approx(1.0)
    assert stage.rate_at(750) == pytest.approx(0.5)
    assert stage.rate_at(999) < 1e-4


def test_seeds_differ_by_every_part() -> None:
    assert (
        len({derive_seed(0, "a", 1), derive_seed(1, "a", 1), derive_seed(0, "b", 1), derive_seed(0, "a", 2)})
        == 4
    )
    assert torch.equal(torch.rand(3, generator=seeded(1, "x")), torch.rand(3, generator=seeded(1, "x")))
