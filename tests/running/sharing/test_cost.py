"""Seconds of a plan from rates: worked by hand, kept on this machine, measured on the tiny world."""

from pathlib import Path
from typing import Any

import pytest

from unlearnbench.bench.cli.plan import show_cost
from unlearnbench.bench.errors import UserError
from unlearnbench.bench.running.catalog import registry, task_registry
from unlearnbench.bench.running.dry_run import estimate_work
from unlearnbench.bench.running.sharing import cost
from unlearnbench.bench.running.sharing.cost import (
    Rates,
    Work,
    describe_cost,
    describe_seconds,
    find_rates,
    keep_rates,
    measure_rates,
    passes_of,
    seconds_of,
)

RATES = Rates("tiny@1", "cpu", "a processor", 1, 2.0, 0.5, 0.25, 10.0, 3 * 2**29, "2026-01-02")


def test_time_is_shared_but_for_the_longest_part() -> None:
    work = Work(images=100, passes=40, longest=60)  # 100 * 2.5 + 40 * 0.25 = 260
    assert seconds_of(work, RATES) == 270
    assert seconds_of(work, RATES, 4) == 65 + 10
    assert seconds_of(work, RATES, 64) == 60 + 10
    lines = describe_cost(work, RATES, [1, 4])
    assert lines[:2] == ["1 worker: about 4.5 min", "4 workers: about 75 s"]
    assert "1.5 GiB" in lines[2]


@pytest.mark.parametrize(
    ("seconds", "said"), [(30, "30 s"), (150, "2.5 min"), (9000, "2.5 h"), (216000, "2.5 days")]
)
def test_a_time_is_in_the_unit_that_fits(seconds: float, said: str) -> None:
    assert describe_seconds(seconds) == said


def test_a_plan_is_its_images_and_the_batches_of_its_trainings(make_cell: Any) -> None:
    """finetune trains on one set: 6 steps of 4 images; its two points and the base draw as many images."""
    cells = [make_cell(), make_cell(method="finetune", steps=6, checkpoints=[3, 6], batch=4)]
    assert [passes_of(cell) for cell in cells] == [0, 24]
    assert passes_of(make_cell(method="balanced", steps=6, batch=4)) == 48  # two sets
    world = registry("worlds")["tiny"].load()()
    [base] = [estimate_work(cells[:1], {"tiny": world}, RATES)]
    work = estimate_work(cells, {"tiny": world}, RATES)
    assert (work.images, work.passes) == (3 * base.images, 24)
    assert work.longest == pytest.approx(max(24 * 0.25, 2 * base.images * 0.5))


def test_rates_are_kept_until_measured_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cost, "rates_file", lambda: tmp_path / "rates.json")
    assert find_rates("tiny@1", "cpu") is None
    keep_rates(RATES)
    again = Rates(**{**vars(RATES), "drawing": 1.0})
    keep_rates(again)
    keep_rates(Rates(**{**vars(RATES), "world": "other@1"}))
    assert find_rates("tiny@1", "cpu") == again
    assert find_rates("tiny@1", "cuda") is None
    (tmp_path / "rates.json").write_text("[{}]")
    assert find_rates("tiny@1", "cpu") is None


def test_the_tiny_world_is_measured(make_runner: Any, tmp_path: Path) -> None:
    runner = make_runner(store=tmp_path / "store")
    task, method = task_registry()["classes/cat-face@tiny"], registry("methods")["finetune"]
    rates = measure_rates(runner, task, method, 0.3)
    assert rates.world == runner.worlds["tiny"].id
    assert min(rates.drawing, rates.judging, rates.step, rates.opening, rates.memory) > 0
    assert not list((tmp_path / "store").rglob("?" * 64))  # nothing of it is kept for runs
    with pytest.raises(UserError, match="--seconds"):
        measure_rates(runner, task, method, 0)


def test_a_plan_is_printed_with_its_time(
    make_cell: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(cost, "rates_file", lambda: tmp_path / "rates.json")
    monkeypatch.setattr("unlearnbench.bench.running.session.choose_device", lambda wanted: "cpu")
    worlds = {"tiny": registry("worlds")["tiny"].load()()}
    show_cost([make_cell()], worlds, 3)
    assert "unlearnbench calibrate --task classes/cat-face@tiny" in capsys.readouterr().out
    keep_rates(Rates(**{**vars(RATES), "world": worlds["tiny"].id}))
    show_cost([make_cell()], worlds, 3)
    said = capsys.readouterr().out
    assert [f"{n} worker" in said for n in (1, 3, 8, 64)] == [True] * 4
