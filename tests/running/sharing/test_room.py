"""How many workers a machine takes: one for each GPU, else what cores and memory allow."""

import os
from types import SimpleNamespace

import psutil
import pytest

from unlearnbench.bench.errors import UserError
from unlearnbench.bench.running.session import Program, Session
from unlearnbench.bench.running.sharing import room
from unlearnbench.bench.running.sharing.room import find_gpus, fit_session

LINE = ("run",)


def _fit(program: Program, threads: int | None = None) -> tuple[int, list[str]]:
    session, gpus = fit_session(Session(program=program, threads=threads), None, ["emoji"])
    return session.jobs, gpus


@pytest.fixture
def big(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine of 16 cores and 20 GiB of free memory, without a GPU."""
    monkeypatch.setattr(room, "choose_device", lambda wanted: "cpu")
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(16)), raising=False)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=20 * 2**30))


@pytest.mark.usefixtures("big")
def test_one_process_unless_more_are_asked_for() -> None:
    assert _fit(Program(LINE, jobs=None)) == (1, [])
    assert _fit(Program(LINE, jobs=5)) == (5, [])
    assert _fit(Program(LINE, jobs=None, executor="local")) == (10, [])  # 2 GiB each
    assert _fit(Program(LINE, jobs=None, executor="local"), threads=4) == (4, [])
    assert _fit(Program(LINE, jobs=3, executor="local")) == (3, [])
    with pytest.raises(UserError, match="--jobs 0"):
        _fit(Program(LINE, jobs=0))


@pytest.mark.usefixtures("big")
def test_a_worker_and_a_call_from_python_start_nobody() -> None:
    assert _fit(Program(LINE, jobs=None, executor="local", part="0/2"))[0] == 1
    assert _fit(Program((), jobs=None, executor="local"))[0] == 1


def test_every_gpu_gets_a_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "choose_device", lambda wanted: "cuda")
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,5")
    assert find_gpus() == ["3", "5"]
    assert _fit(Program(LINE, jobs=None)) == (2, ["3", "5"])
    assert _fit(Program(LINE, jobs=1)) == (1, [])
    assert _fit(Program(LINE, jobs=4)) == (4, ["3", "5"])
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    assert find_gpus() == ["0", "1"]
