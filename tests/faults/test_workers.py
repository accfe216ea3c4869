"""The workers of `run --jobs` end with the process that started them, however that one ends."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

SUITE = """
name = "endless"
tasks = ["classes/cat-face@tiny", "celebrities/santa-claus@tiny"]
[sizes]
forget = 1
forget_samples = 1
retain_same = 1
retain_other = 1
retain_given = 1
indirect = 0
[[methods]]
name = "finetune"
config = { steps = 1000000, checkpoints = [1000000] }
"""
PARENT = """
import sys
from pathlib import Path
from unlearnbench.bench.running.jobs import run_parts
run_parts(sys.argv[2:], 2, 1, [Path(sys.argv[1]) / "a.json"])
"""


def _wait(seconds: float, done: Callable[[], bool]) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if done():
            return True
        time.sleep(0.1)
    return False


@pytest.mark.skipif(os.name == "nt", reason="signals of another kind")
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_workers_end_with_their_parent(tmp_path: Path, number: int) -> None:
    suite = tmp_path / "endless.toml"
    suite.write_text(SUITE)
    records = tmp_path / "records"
    options = ["run", "--suite", str(suite), "--out", str(records), "--store", str(tmp_path / "store")]
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, str(records), *options],
        stderr=subprocess.DEVNULL,
        # a shell that started the tests in the background has SIGINT ignored, and children inherit that
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    workers: list[psutil.Process] = []
    try:
        known = psutil.Process(parent.pid)
        assert _wait(180, lambda: len(known.children()) == 2)
        workers = known.children()
        if number == signal.SIGKILL:  # in the midst of training, too
            assert _wait(180, lambda: all("finetune" in p.read_text() for p in records.glob("parts/*.log")))
        parent.send_signal(number)
        parent.wait(180)
        _, alive = psutil.wait_procs(workers, timeout=180)
        assert not alive, [(records / "parts" / f"{i}.log").read_text() for i in range(2)]
    finally:
        parent.kill()
        for worker in workers:
            if worker.is_running():
                worker.kill()
