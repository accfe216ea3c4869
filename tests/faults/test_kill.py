"""kill -9 at a seeded random moment, then the same command: the records equal those of an unbroken run.

One moment of training and one of generation are ordinary tests; the others run with `-m slow`.
"""

import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from unlearnbench.bench.records.record import read_record, record_digest

SUITE = """
name = "kill"
tasks = ["classes/cat-face@tiny"]
[sizes]
forget = 6
forget_samples = 8
retain_same = 9
retain_other = 9
retain_given = 6
[[methods]]
name = "none"
[[methods]]
name = "balanced"
config = { steps = 9, checkpoints = [3, 6, 9], batch = 8 }
"""
MOMENTS = [pytest.param(0), *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(1, 5))]


def _command(folder: Path) -> list[str]:
    suite = folder.parent / "kill.toml"
    suite.write_text(SUITE)
    options = ["--out", str(folder / "records"), "--store", str(folder / "store"), "--threads", "1"]
    return [sys.executable, "-m", "unlearnbench.bench.cli", "run", "--suite", str(suite), *options]


def _digests(folder: Path) -> dict[str, str]:
    return {p.name: record_digest(read_record(p)) for p in (folder / "records").glob("*.json")}


def _count(folder: Path, kind: str) -> int:
    return sum(p.is_file() and p.suffix != ".tmp" for p in (folder / "store" / kind).rglob("*"))


def _kill_when(folder: Path, ready: Callable[[], bool], delay: float) -> int:
    """Start the run, kill it `delay` seconds after `ready` holds; return its exit status."""
    command = _command(folder)
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        while process.poll() is None and not ready():
            time.sleep(0.005)
        time.sleep(delay)
        process.kill()
        return process.wait()


def _resume(folder: Path) -> None:
    subprocess.run(_command(folder), check=True, capture_output=True)


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("kill") / "unbroken"
    folder.mkdir()
    _resume(folder)
    digests = _digests(folder)
    assert len(digests) == 2
    return digests


@pytest.mark.parametrize("seed", MOMENTS)
def test_killed_while_training(unbroken: dict[str, str], tmp_path: Path, seed: int) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    draw = random.Random(f"training {seed}")
    points, delay = draw.randrange(3), draw.uniform(0, 0.3)
    # the base's images are there: what follows is the method's training, up to its last point
    status = _kill_when(
        folder, lambda: _count(folder, "images") >= 72 and _count(folder, "deltas") >= points, delay
    )
    assert status == -signal.SIGKILL
    assert len(_digests(folder)) < 2
    _resume(folder)
    assert _digests(folder) == unbroken


@pytest.mark.parametrize("seed", MOMENTS)
def test_killed_while_drawing(unbroken: dict[str, str], tmp_path: Path, seed: int) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    images = random.Random(f"drawing {seed}").randrange(1, 250)
    status = _kill_when(folder, lambda: _count(folder, "images") >= images, 0)
    assert status == -signal.SIGKILL
    before = _count(folder, "images")
    _resume(folder)
    assert _count(folder, "images") >= before
    assert _digests(folder) == unbroken
