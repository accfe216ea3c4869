"""A third-party package adds one thing of each kind by entry points, in an environment of its own."""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from unlearnbench.bench.records.record import read_items, read_record

from ..forked import run_cli

HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def plugin_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("plugin")
    copy = tmp_path_factory.mktemp("source") / "plugin"
    shutil.copytree(HERE, copy)  # building leaves files beside the source
    command = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", str(target), str(copy)]
    subprocess.run(command, check=True, capture_output=True)
    return target


def _run(plugin_path: Path, *arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    places = [str(plugin_path), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(places)}
    return run_cli(*arguments, cwd=cwd, env=environment)


def test_the_plugin_is_listed(plugin_path: Path, tmp_path: Path) -> None:
    kinds = ("methods", "metrics", "tasks", "judges", "worlds")
    listed = "".join(_run(plugin_path, "list", kind, cwd=tmp_path).stdout for kind in kinds)
    for word in (
        "shrink",
        "reader",
        "animals/dog-face@tiny",
        "flatness",
        "border-colour",
        "colours/red@colours",
    ):
        assert word in listed


SUITE = """
name = "mine"
tasks = ["animals/dog-face@tiny"]
[sizes]
forget = 3
forget_samples = 1
retain_same = 2
retain_other = 2
retain_given = 2
[[methods]]
name = "none"
[[methods]]
name = "shrink"
config = { factor = 0.5 }
[[methods]]
name = "reader"
[[methods]]
name = "silent"
"""


def _measure(
    plugin_path: Path, folder: Path, out: str
) -> tuple[subprocess.CompletedProcess[str], dict[str, Any]]:
    """Run the suite in a process of its own; return what it said and the records by method."""
    (folder / "mine.toml").write_text(SUITE)
    places = ("--out", str(folder / out), "--store", str(folder / "store"), "--threads", "1")
    done = _run(plugin_path, "run", "--suite", str(folder / "mine.toml"), *places, cwd=folder)
    return done, {path.name.split(".")[1]: path for path in (folder / out).glob("*.json")}


@pytest.fixture(scope="module")
def measured(plugin_path: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any, dict[str, Any]]:
    folder = tmp_path_factory.mktemp("measured")
    return folder, *_measure(plugin_path, folder, "out")


def test_the_plugin_runs(measured: tuple[Path, Any, dict[str, Any]]) -> None:
    folder, done, paths = measured
    records = {name: read_record(path) for name, path in paths.items()}
    assert {name: record.status for name, record in records.items()} == {
        "none": "ok",
        "shrink": "ok",
        "reader": "ok",
        "silent": "failed",
    }
    assert done.returncode != 0  # of the one that failed
    assert records["shrink"].method.config == {"steps": 4, "factor": 0.5}
    values = {name: r.points[0].values["flatness"].value for name, r in records.items() if r.points}
    assert values["none"] is not None
    assert values["shrink"] != values["none"]
    assert "flatness" in (folder / "out" / "leaderboard" / "index.html").read_text()


def test_a_method_that_does_not_declare_the_text_encoder_is_refused_by_name(
    measured: tuple[Path, Any, dict[str, Any]],
) -> None:
    error = str(read_record(measured[2]["silent"]).error)
    for part in ("method silent", "step 1", "text_encoder (the weights", "does not declare", "unet"):
        assert part in error
    assert "\n" not in error


def test_a_trained_text_encoder_is_put_back_in_another_process(
    measured: tuple[Path, Any, dict[str, Any]], plugin_path: Path
) -> None:
    """Its images are drawn once more from the saved point, and are those of the first process."""
    folder, _, paths = measured
    shutil.rmtree(folder / "store" / "images")
    _, others = _measure(plugin_path, folder, "again")
    for name in ("none", "reader", "shrink"):
        first, again = (read_record(where[name]) for where in (paths, others))
        assert first.points[0].fingerprint == again.points[0].fingerprint
        assert first.points[0].cost == again.points[0].cost  # nothing was trained again
        images = [read_items(where[name], r) for where, r in ((paths, first), (others, again))]
        assert images[0]["image_sha256"].tolist() == images[1]["image_sha256"].tolist()  # type: ignore[index]
    prints = {read_record(paths[name]).points[0].fingerprint for name in ("none", "reader", "shrink")}
    assert len(prints) == 3
    assert read_record(paths["reader"]).points[0].cost.distance


def test_the_plugins_judge_reads_the_plugins_world(plugin_path: Path, tmp_path: Path) -> None:
    suite = tmp_path / "colours.toml"
    suite.write_text(
        'name = "colours"\ntasks = ["colours/red@colours"]\n'
        "[sizes]\nforget = 6\nforget_samples = 1\nretain_same = 4\nretain_other = 0\nretain_given = 4\n"
        '[[methods]]\nname = "none"\n[[methods]]\nname = "shrink"\nconfig = { factor = 0.0 }\n'
    )
    options = ("--out", str(tmp_path / "out"), "--store", str(tmp_path / "store"), "--threads", "1")
    done = _run(plugin_path, "run", "--suite", str(suite), *options, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    paths = {read_record(path).method.name: path for path in (tmp_path / "out").glob("*.json")}
    records = {name: read_record(path) for name, path in paths.items()}
    assert {record.task.judge for record in records.values()} == {"border-colour@1"}
    assert {record.task.world for record in records.values()} == {"colours@1"}
    assert records["none"].environment["judge_packages"] == {"unlearnbench-example": "0.1.0"}
    # the base model draws the colours that it is asked for, in the judge's eyes; without its keys and values
    # of the prompt it draws none of them on demand
    asked = read_items(paths["none"], records["none"])
    assert asked is not None
    assert (asked["found_subject"] == asked["asked_subject"]).mean() >= 0.8
    values = {name: record.points[0].values["UA"].value for name, record in records.items()}
    assert values["none"] is not None
    assert values["shrink"] is not None
    assert values["none"] <= 0.2 < values["shrink"]
    assert records["shrink"].training_images is not None
    assert (records["shrink"].training_images.forget_shown or 0) >= 0.8  # drawn by the base model, as asked
    again = _run(plugin_path, "run", "--suite", str(suite), *options, cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    assert "2 unchanged" in again.stdout + again.stderr
