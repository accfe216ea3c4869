"""`unlearnbench attack` and `list attacks`."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from unlearnbench.bench.cli.main import main
from unlearnbench.bench.planning.plan import Cell
from unlearnbench.bench.records.record import read_record
from unlearnbench.bench.running.runner import Runner
from unlearnbench.bench.worlds.emoji.world import DATA


@pytest.fixture
def record(make_runner: Callable[..., Runner], make_cell: Callable[..., Cell], tmp_path: Path) -> Path:
    """A record of the tiny world's own model."""
    [outcome] = make_runner(folder=tmp_path / "records").run([make_cell()])
    return outcome.path


def test_a_record_is_attacked_and_validates(
    record: Path, session_store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["attack", str(record), "--attack", "best-of-n", "--set", "budget=2"]
    places = ["--store", str(session_store), "--threads", "1", "--device", "cpu"]
    assert main([*words, *places]) == 0
    said = capsys.readouterr().out
    assert "2 noises a prompt" in said
    assert "measured: " in said
    [attacked] = (record.parent / "attacked").glob("*.json")
    assert attacked.name.startswith(record.stem)
    assert main(["validate", str(record.parent)]) == 0
    assert "2 records, 0 failed" in capsys.readouterr().out
    assert main([*words, *places]) == 0
    assert "unchanged: " in capsys.readouterr().out
    assert main(["attack", str(attacked), "--attack", "best-of-n", *places]) == 2
    assert "is an attacked record" in capsys.readouterr().err


def test_a_folder_is_attacked_without_a_record(
    session_store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(DATA / "tiny" / "pipeline", tmp_path / "mine")
    words = ["attack", "--model", str(tmp_path / "mine"), "--task", "classes/cat-face@tiny"]
    words += ["--attack", "best-of-n", "--set", "budget=1", "--out", str(tmp_path / "out")]
    assert main([*words, "--store", str(session_store), "--threads", "1", "--device", "cpu"]) == 0
    assert "classes/cat-face@tiny mine: best-of-n" in capsys.readouterr().err
    [path] = (tmp_path / "out" / "attacked").glob("*.json")
    record = read_record(path)
    assert (record.method.name, record.attack is not None) == ("mine", True)
    assert record.points[0].values["UA"].value == 0.0, "the untouched model draws cat faces"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["x.json", "--ua", "0.5", "--images", "8", "--attack", "Probe 1"], "report-attack"),
        (["x.json", "--attack", "best-off-n"], "did you mean best-of-n"),
        (["x.json"], "--attack: name one"),
        (["--attack", "best-of-n"], "either a record"),
        (["--model", "nowhere", "--attack", "best-of-n"], "--task"),
        (["x.json", "--attack", "best-of-n", "--set", "budget=-1"], "budget"),
        (["x.json", "--attack", "best-of-n", "paraphrase", "--set", "budget=1"], "--set"),
    ],
)
def test_a_mistake_is_one_line(words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["attack", *words]) == 2
    error = capsys.readouterr().err.strip()
    assert said in error
    assert "\n" not in error


def test_attacks_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "attacks"]) == 0
    assert "adversarial-prefix" in capsys.readouterr().out


def test_another_model_than_the_record_is_refused(
    record: Path, session_store: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from unlearnbench.bench.records import load

    real = load.load_one

    def other(path: Path) -> Any:
        entry = real(path)
        point = entry.record.points[0].model_copy(update={"fingerprint": "0" * 64})
        environment = entry.record.environment | {"device_name": "another processor"}
        changed = entry.record.model_copy(update={"points": [point], "environment": environment})
        return load.Loaded(entry.name, changed, entry.items, entry.sheet)

    monkeypatch.setattr(load, "load_one", other)
    places = ["--store", str(session_store), "--threads", "1", "--device", "cpu"]
    assert main(["attack", str(record), "--attack", "best-of-n", *places]) == 2
    said = capsys.readouterr().err
    assert "another model" in said
    assert "device_name is 'another processor' there and " in said
    assert "threads" not in said
