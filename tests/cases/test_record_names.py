"""Case record-names: whatever a model's folder is called, its record has a name that `validate` takes."""

import json
import os
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from unlearnbench.bench.checking.known import make_known
from unlearnbench.bench.checking.validate import validate
from unlearnbench.bench.cli.main import main
from unlearnbench.bench.errors import UserError
from unlearnbench.bench.names import LONGEST, check_name, file_part, find_problems_in_name, name_model
from unlearnbench.bench.planning.plan import Suite, read_suite
from unlearnbench.bench.records.untrusted import FILE_NAME

FOLDERS = [
    "my model (1)",
    "größe",
    unicodedata.normalize("NFD", "größe"),
    "Größe",
    "🦊",
    "model.",
    "model..",
    ".hidden",
    "-model",
    "n" * 200,
    "ü" * 100,
    "a<b>",
    "模型",
    "modèle & co",
    "con",
    "a\tb",
    "MODEL",
    "model",
    "a  b",
    "a b",
    "a-b",
    "a_b",
]


@pytest.mark.skipif(os.name == "nt", reason="names that Windows does not allow")
def test_every_folder_has_a_name_of_its_own_that_a_record_may_hold(tmp_path: Path) -> None:
    parts = []
    for folder in FOLDERS:
        (tmp_path / folder).mkdir()
        name = name_model(str(tmp_path / folder))
        assert find_problems_in_name(name) is None, folder
        part = file_part(name)
        assert FILE_NAME.fullmatch(f"classes-cat-face-emoji.{part}.123456.s0.parquet"), folder
        assert ".." not in part
        assert len(part) <= LONGEST + 9
        parts.append(part)
    assert len({part.lower() for part in parts}) == len(FOLDERS)


def test_a_place_is_named_by_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "esd-x" / "unet").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "esd-x")
    assert name_model(".") == name_model("./") == name_model("unet/..") == "esd-x"
    assert name_model("lab/esd-x") == "esd-x"
    assert name_model("module:generate") == "module.generate"
    assert find_problems_in_name(name_model("/")) is None


@pytest.mark.parametrize("name", ["", "  ", "../x", "/x", "~x", "<b>", "n" * 300, "a\nb", "🦊", "a\u202eb"])
def test_a_name_that_no_record_may_hold_is_refused(name: str) -> None:
    with pytest.raises(UserError, match="--name"):
        check_name("--name", name)


def _evaluate(folder: Path, *more: str) -> int:
    options = ["--out", str(folder / "records"), "--store", str(folder / "store"), "--threads", "1"]
    return main(["evaluate", "--task", "classes/cat-face@tiny", *options, *more])


def _stub(folder: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (folder / "drawing_stub.py").write_text(
        "import numpy as np\n"
        "def generate(prompts, seeds):\n"
        "    return np.zeros((len(prompts), 32, 32, 3), np.uint8)\n"
        "generate.fingerprint = '1'\n"
    )
    monkeypatch.syspath_prepend(folder)
    return "drawing_stub:generate"


@pytest.mark.parametrize("name", ["lab/esd-x", "Größe (2)"])
def test_a_given_name_makes_records_that_pass(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _evaluate(tmp_path, "--model", _stub(tmp_path, monkeypatch), "--name", name) == 0
    paths = sorted((tmp_path / "records").glob("*.json"))
    assert len(paths) == 2
    known = make_known()
    for path in paths:
        assert not [check for check in validate(path, known) if check.state == "failed"]
    assert name in {json.loads(path.read_text())["method"]["name"] for path in paths}


def test_a_bad_name_is_one_line_before_anything_is_drawn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _evaluate(tmp_path, "--model", _stub(tmp_path, monkeypatch), "--name", "../x") == 2
    assert "--name: '../x' is a path out of its folder" in capsys.readouterr().err
    assert not (tmp_path / "records").exists()


def test_a_suite_of_300_letters_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "suite.toml"
    name = "n" * 300
    path.write_text(f'name = "{name}"\ntasks = ["classes/cat-face@tiny"]\nmethods = [{{name = "none"}}]\n')
    with pytest.raises(UserError, match=r"suite\.toml: name: .* at most 100"):
        read_suite(path)


def test_a_record_of_another_model_of_this_name_is_not_replaced(
    make_runner: Callable[..., Any], make_cell: Callable[..., Any], tmp_path: Path
) -> None:
    from dataclasses import replace

    from unlearnbench.bench.planning.plan import MethodRow
    from unlearnbench.bench.records.record import read_record, write_record
    from unlearnbench.bench.running.evaluate import refuse_another

    runner, base = make_runner(), make_cell()
    model = str(runner.worlds["tiny"].pipeline_folder)
    cell = replace(base, row=MethodRow(name="mine", config={"model": "mine"}), models=(model,))
    [outcome] = runner.run([cell])
    assert outcome.state == "measured"
    refuse_another(runner, cell)
    record = read_record(outcome.path)
    point = record.points[0].model_copy(update={"fingerprint": "0" * 64})
    write_record(record.model_copy(update={"points": [point]}), None, None, outcome.path.parent)
    with pytest.raises(UserError, match="another model of the name mine"):
        refuse_another(runner, cell)


def test_methods_keep_their_file_names(make_cell: Callable[..., Any]) -> None:
    assert isinstance(make_cell().suite, Suite)
    assert make_cell(method="balanced").stem.startswith("classes-cat-face-tiny.balanced.")
