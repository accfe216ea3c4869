"""A third-party package adds a method, a task and a metric by entry points, in an environment of its own."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from unlearnbench.bench.records.record import read_record

HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def plugin_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("plugin")
    copy = tmp_path_factory.mktemp("source") / "plugin"
    import shutil

    shutil.copytree(HERE, copy)  # building leaves files beside the source
    command = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", str(target), str(copy)]
    subprocess.run(command, check=True, capture_output=True)
    return target


def _run(plugin_path: Path, *arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(plugin_path)}
    command = [sys.executable, "-m", "unlearnbench.bench.cli", *arguments]
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)


def test_the_plugin_is_listed(plugin_path: Path, tmp_path: Path) -> None:
    listed = _run(plugin_path, "list", cwd=tmp_path).stdout
    for word in ("shrink", "animals/dog-face@tiny", "flatness"):
        assert word in listed


def test_the_plugin_runs(plugin_path: Path, tmp_path: Path) -> None:
    suite = tmp_path / "mine.toml"
    suite.write_text(
        'name = "mine"\ntasks = ["animals/dog-face@tiny"]\n'
        "[sizes]\nforget = 3\nforget_samples = 1\nretain_same = 2\nretain_other = 2\nretain_given = 2\n"
        '[[methods]]\nname = "none"\n[[methods]]\nname = "shrink"\nconfig = { factor = 0.5 }\n'
    )
    options = ("--out", str(tmp_path / "out"), "--store", str(tmp_path / "store"), "--threads", "1")
    done = _run(plugin_path, "run", "--suite", str(suite), *options, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    records = {r.method.name: r for r in map(read_record, (tmp_path / "out").glob("*.json"))}
    assert records["shrink"].method.config == {"steps": 4, "factor": 0.5}
    values = {name: r.points[0].values["flatness"].value for name, r in records.items()}
    assert values["none"] is not None
    assert values["shrink"] != values["none"]
    assert "flatness" in (tmp_path / "out" / "leaderboard" / "index.html").read_text()
