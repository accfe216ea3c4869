"""One cell's fault is one failed record: others go on, a good record stays, the time is bounded."""

import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from unlearnbench.bench.cli.main import main
from unlearnbench.bench.errors import UserError
from unlearnbench.bench.records.record import read_record, record_digest
from unlearnbench.bench.running.runner import Runner

from ..forked import run_cli

SMALL = {"steps": 1, "batch": 4}
BALANCED = "unlearnbench.methods.balanced.unlearn"


def _raise(error: BaseException) -> Callable[..., None]:
    def unlearn(*arguments: Any) -> None:
        raise error

    return unlearn


@pytest.mark.parametrize("error", [SystemExit(0), SystemExit("bye"), GeneratorExit(), BaseException("odd")])
def test_a_method_that_ends_the_process_is_one_failed_record(
    make_runner: Callable[..., Runner], make_cell: Any, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    monkeypatch.setattr(BALANCED, _raise(error))
    cells = [make_cell(method="balanced", seed=11, **SMALL), make_cell()]
    outcomes = make_runner().run(cells)
    assert [o.state for o in outcomes] == ["failed", "measured"]
    assert type(error).__name__ in str(read_record(outcomes[0].path).error)


def test_an_interrupt_still_ends_the_run(
    make_runner: Callable[..., Runner], make_cell: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(BALANCED, _raise(KeyboardInterrupt()))
    with pytest.raises(KeyboardInterrupt):
        make_runner().run([make_cell(method="balanced", seed=11, **SMALL)])


def test_a_failed_repeat_keeps_the_good_record(
    make_runner: Callable[..., Runner], make_cell: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    cell, said = make_cell(method="balanced", seed=12, **SMALL), []
    [first] = make_runner().run([cell])
    files = {p.name: p.read_bytes() for p in first.path.parent.glob(f"{cell.stem}.*")}
    assert len(files) >= 2
    runner = make_runner(say=said.append)
    runner.threads += 1  # another key: it is measured again
    monkeypatch.setattr(BALANCED, _raise(ValueError("boom")))
    [again] = runner.run([cell])
    assert again.state == "failed"
    assert {p.name: p.read_bytes() for p in first.path.parent.glob(f"{cell.stem}.*")} == files
    assert "boom" in (first.path.parent / "failures" / f"{cell.stem}.txt").read_text()
    assert any("stays" in line for line in said)


def test_a_failed_record_is_replaced_and_its_trace_goes_once_it_is_measured(
    make_runner: Callable[..., Runner], make_cell: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    cell = make_cell(method="balanced", seed=13, **SMALL)
    with monkeypatch.context() as patch:
        patch.setattr(BALANCED, _raise(ValueError("boom")))
        [first] = make_runner().run([cell])
    assert read_record(first.path).status == "failed"
    [again] = make_runner().run([cell])
    assert (again.state, read_record(again.path).status) == ("measured", "ok")
    assert not list((first.path.parent / "failures").iterdir())


def test_a_record_that_cannot_be_written_is_one_failed_cell(
    make_runner: Callable[..., Runner], make_cell: Any, tmp_path: Path
) -> None:
    cells, said = [make_cell(method="finetune", **SMALL), make_cell()], []
    blocked = tmp_path / "records" / f"{cells[0].stem}.json"
    blocked.mkdir(parents=True)
    (blocked / "mine").write_text("kept")
    outcomes = make_runner(say=said.append).run(cells)
    assert [o.state for o in outcomes] == ["failed", "measured"]
    assert (blocked / "mine").read_text() == "kept"
    assert any("cannot be written" in line for line in said)


def test_a_store_that_cannot_keep_weights_is_found_before_training(
    make_runner: Callable[..., Runner], make_cell: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(BALANCED, _raise(AssertionError("it was trained")))
    runner = make_runner(store=tmp_path / "store")

    def refuse(folder: Path) -> None:
        raise UserError(f"{folder}: cannot be written: the disk is read-only")

    monkeypatch.setattr("unlearnbench.bench.store.check_writable", refuse)
    [outcome] = runner.run([make_cell(method="balanced", **SMALL)])
    assert str(read_record(outcome.path).error).endswith("cannot be written: the disk is read-only")


def _hang(*arguments: Any) -> None:
    while True:
        time.sleep(0.05)


def _hang_hard(*arguments: Any) -> None:
    end = time.monotonic() + 30
    while time.monotonic() < end:
        try:
            time.sleep(0.05)
        except Exception:
            continue


def _hang_and_catch(*arguments: Any) -> None:
    for _ in range(2):
        try:
            _hang()
        except BaseException:
            continue
    _hang()


@pytest.mark.parametrize("hang", [_hang, _hang_hard, _hang_and_catch])
def test_a_method_that_hangs_is_one_failed_record(
    make_runner: Callable[..., Runner], make_cell: Any, monkeypatch: pytest.MonkeyPatch, hang: Any
) -> None:
    monkeypatch.setattr(BALANCED, hang)
    runner = make_runner()
    runner.cell_timeout = 3.0
    started = time.monotonic()
    [outcome] = runner.run([make_cell(method="balanced", seed=14, **SMALL)])
    assert time.monotonic() - started < 25
    assert "took longer than 3 s" in str(read_record(outcome.path).error)
    runner.cell_timeout = 600.0
    assert [o.state for o in runner.run([make_cell()])] == ["measured"]


def test_a_limit_changes_no_record(
    make_runner: Callable[..., Runner], make_cell: Any, tmp_path: Path
) -> None:
    cell, digests = make_cell(method="finetune", **SMALL), []
    for limit in (None, 600.0):
        runner = make_runner(folder=tmp_path / str(limit))
        runner.cell_timeout = limit
        digests.append(record_digest(read_record(runner.run([cell])[0].path)))
    assert digests[0] == digests[1]


@pytest.mark.parametrize("limit", ["0", "-1", "nan", "inf", "1e12"])
@pytest.mark.parametrize(
    "command", [["run"], ["evaluate", "--model", "x:y", "--task", "classes/cat-face@tiny"]]
)
def test_a_limit_that_is_none_is_refused(
    command: list[str], limit: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert main([*command, f"--cell-timeout={limit}", "--out", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert f"--cell-timeout {float(limit):g}" in error
    assert error.count("\n") == 1
    assert not (tmp_path / "out").exists()
    assert math.isnan(float(limit)) or float(limit) != 1


STUBBORN = '''"""Never ends, whatever is raised in it."""
import time
from pydantic import BaseModel

REGISTER = {"summary": "never ends", "function": "unlearn", "config": "Config"}


class Config(BaseModel):
    steps: int = 1


def unlearn(pipeline, problem, config, save):
    while True:
        try:
            time.sleep(0.05)
        except BaseException:
            pass
'''


@pytest.mark.slow
def test_a_cell_that_cannot_be_stopped_is_left_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "plug" / "stubborn-0.1.dist-info").mkdir(parents=True)
    (tmp_path / "plug" / "stubborn.py").write_text(STUBBORN)
    info = tmp_path / "plug" / "stubborn-0.1.dist-info"
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: stubborn\nVersion: 0.1\n")
    (info / "entry_points.txt").write_text("[unlearnbench.methods]\nstubborn = stubborn\n")
    suite = tmp_path / "s.toml"
    suite.write_text(
        'name = "s"\ntasks = ["classes/cat-face@tiny"]\n'
        "[sizes]\nforget = 2\nforget_samples = 1\nretain_same = 2\nretain_other = 2\nretain_given = 2\n"
        'indirect = 0\n[[methods]]\nname = "none"\n[[methods]]\nname = "stubborn"\n'
        '[[methods]]\nname = "placebo"\nconfig = { steps = 1 }\n'
    )
    import os

    path = os.pathsep.join([str(tmp_path / "plug"), os.environ.get("PYTHONPATH", "")])
    options = ["--out", str(tmp_path / "out"), "--store", str(tmp_path / "store"), "--threads", "1"]
    limit = "40" if "CI" in os.environ else "20"
    words = ("run", "--suite", str(suite), *options, "--cell-timeout", limit)
    done = run_cli(*words, env={**os.environ, "PYTHONPATH": path})
    assert done.returncode == 1, done.stderr
    records = {r.method.name: r for r in map(read_record, (tmp_path / "out").glob("*.json"))}
    assert {name: r.status for name, r in records.items()} == {
        "none": "ok",
        "stubborn": "failed",
        "placebo": "ok",
    }
    assert "could not be stopped" in str(records["stubborn"].error)
    assert "--abandoned" not in records["placebo"].command
