"""Memory of training alone: what ran before, and what was freed before, does not count."""

import time
from collections.abc import Callable
from typing import Any

import pytest
import torch

from unlearnbench.bench.models.memory import PERIOD, MemoryMeter
from unlearnbench.bench.records.record import Cost, read_record, record_digest
from unlearnbench.bench.running.runner import Runner

MIB = 2**20


def _use(mebibytes: int) -> torch.Tensor:
    return torch.ones(mebibytes * MIB // 4)


def test_what_was_in_use_or_freed_before_does_not_count() -> None:
    kept, freed = _use(300), _use(600)
    del freed
    with MemoryMeter("cpu") as meter:
        small = _use(64)
        assert meter.peak() == pytest.approx(64 * MIB, abs=24 * MIB)
        del small
        large = _use(256)
        meter.peak()  # reads: a peak shorter than the time between two readings may be missed
        del large
        _use(1)
    # the peak stays though it is given back, and the rest of the process is left out
    assert meter.peak() == pytest.approx(256 * MIB, abs=32 * MIB)
    assert kept.numel()


def test_a_peak_between_two_readings_of_its_user_is_seen() -> None:
    with MemoryMeter("cpu") as meter:
        large = _use(400)
        end = time.monotonic() + 60
        while meter._peak - meter._start < 300 * MIB and time.monotonic() < end:
            time.sleep(PERIOD)  # the thread that reads may wait for a core
        del large
    assert meter.peak() > 300 * MIB


def test_paused_parts_do_not_count() -> None:
    with MemoryMeter("cpu") as meter:
        with meter.paused():
            kept = _use(300)
            gone = _use(500)
            del gone
        before = meter.peak()
        small = _use(50)
        assert before < 32 * MIB
        assert meter.peak() < 90 * MIB
    assert kept.numel() + small.numel()


def test_a_second_training_of_a_process_is_measured_like_the_first(
    make_runner: Callable[..., Runner], make_cell: Any, tmp_path: Any
) -> None:
    config = {"steps": 2, "checkpoints": [1, 2], "batch": 4}
    ballast, found = _use(700), []
    del ballast
    for seed in (0, 1):
        [outcome] = make_runner(store=tmp_path / "s").run([make_cell(method="finetune", seed=seed, **config)])
        record = read_record(outcome.path)
        assert all(point.cost.memory_of == "training" for point in record.points)
        found.append(record.points[-1].cost.read("memory_bytes"))
    assert all(0 <= number < 400 * MIB for number in found), found  # the process alone takes more


def test_the_memory_of_a_whole_process_is_no_cost_of_training(
    make_runner: Callable[..., Runner], make_cell: Any
) -> None:
    old = Cost(seconds=1.0, memory_bytes=10**9, parameters=1, delta_bytes=1)
    assert old.read("memory_bytes") is None
    assert old.read("seconds") == 1.0
    [outcome] = make_runner().run([make_cell(method="placebo", steps=1)])
    record = read_record(outcome.path)
    point = record.points[0]
    cost = point.cost.model_copy(update={"memory_of": "process", "memory_bytes": 1})
    same = record.model_copy(update={"points": [point.model_copy(update={"cost": cost})]})
    assert record_digest(same) == record_digest(record)
