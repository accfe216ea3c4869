"""The command line as a whole: terminals of other encodings, names of any length, records withdrawn twice."""

import io
import sys
from pathlib import Path

import pytest

from unlearnbench.bench.cli.main import main, read_options
from unlearnbench.bench.records.chosen import copy_record
from unlearnbench.bench.records.layout import find_records, find_strays
from unlearnbench.bench.records.statements import MANIFEST, list_records

PUBLISHED = Path(__file__).resolve().parents[2] / "results" / "emoji"


@pytest.fixture
def record(tmp_path: Path) -> Path:
    path = next(p for p in list_records(PUBLISHED) if p.match("classes-cat-face-emoji.balanced.*.s0.json"))
    copy_record(path, tmp_path)
    return tmp_path / path.name


def test_an_encoding_without_a_sign_does_not_end_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    content = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(content, encoding="cp1252", write_through=True))
    assert main(["list", "metrics"]) == 0
    print("\u03bb and \u2265")
    assert b"? and ?" in content.getvalue()


def test_a_suite_of_any_name_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "--dry-run", "--suite", "x" * 300]) == 2
    assert "no suite named" in capsys.readouterr().err


def test_a_record_is_withdrawn_once(record: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["retract", str(record), "--reason", "wrong seed", "--by", "Ada"]
    assert main(command) == 0
    capsys.readouterr()
    assert main(command) == 2
    assert "is retracted already, by Ada" in capsys.readouterr().err


def test_list_shows_the_kinds_first_and_a_word_narrows_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) < 40
    assert {"tasks", "methods", "suites"} <= {line.split(" ")[0] for line in lines}
    assert main(["list", "tasks", "van-gogh"]) == 0
    names = [line.split(" ")[0] for line in capsys.readouterr().out.splitlines()[2:]]
    assert names
    assert all(name.startswith("styles/van-gogh@") for name in names)
    assert main(["list", "methods", "no-such-word"]) == 2
    assert "list methods: no entry holds 'no-such-word'" in capsys.readouterr().err


def test_base_model_has_one_name_and_recorded_commands_still_work(capsys: pytest.CaptureFixture[str]) -> None:
    for option in ("--base-model", "--model"):
        assert read_options(["run", option, "here"]).base_model == "here"
    assert read_options(["run"]).base_model is None
    with pytest.raises(SystemExit):
        main(["run", "--help"])
    said = capsys.readouterr().out
    assert "--base-model" in said
    assert "--model " not in said
    assert "family/concept[@world]" in said  # a help text holds no markup


def test_a_dry_run_resumes_from_a_folder_that_is_there(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["run", "--dry-run", "--resume", str(tmp_path / "nowhere")]
    assert main(command) == 2
    assert f"--resume {tmp_path / 'nowhere'}: no such folder of records" in capsys.readouterr().err


def test_an_unpacked_submission_is_a_folder_of_records(record: Path) -> None:
    (record.parent / MANIFEST).write_text("{}")
    assert find_records([record.parent]) == [record]
    assert find_strays([record.parent], [record]) == []
