"""The device script prints both of its tables on a CPU."""

import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.slow
def test_the_script_runs_at_tiny_size() -> None:
    script = Path(__file__).with_name("device.py")
    small = ["--size", "tiny", "--device", "cpu", "--rounds", "1", "--images", "2", "--steps", "2"]
    done = subprocess.run([sys.executable, str(script), *small], capture_output=True, text=True, check=True)
    for row in ("anchor_balanced", "plain pipeline, batch 2", "ours, channels last", "cpu; torch"):
        assert row in done.stdout
