"""Several processes share a suite, and the records are those of one process."""

from pathlib import Path

import pytest

from unlearnbench.bench.cli.main import main
from unlearnbench.bench.errors import UserError
from unlearnbench.bench.places import quote_places
from unlearnbench.bench.records.record import read_record, record_digest
from unlearnbench.bench.running.jobs import find_part, without_option

from .suites import TWO_TASKS


def test_a_part_is_named_by_the_option_or_by_slurm(monkeypatch: pytest.MonkeyPatch) -> None:
    assert find_part("1/3") == (1, 3)
    for wrong in ("2/2", "-1/2", "half"):
        with pytest.raises(UserError, match="--part"):
            find_part(wrong)
    assert find_part(None) is None
    for name, number in {"ID": 7, "MIN": 5, "COUNT": 4}.items():
        monkeypatch.setenv(f"SLURM_ARRAY_TASK_{name}", str(number))
    assert find_part(None) == (2, 4)
    monkeypatch.setenv("SLURM_ARRAY_TASK_COUNT", "1")
    assert find_part(None) is None


def test_an_option_goes_with_its_value() -> None:
    line = ["run", "--jobs", "2", "--suite", "emoji", "--jobs=3"]
    assert without_option(line, "--jobs") == ["run", "--suite", "emoji"]


def test_more_processes_than_tasks_write_the_records_of_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    suite = tmp_path / "two.toml"
    suite.write_text(TWO_TASKS)

    def run(name: str, *more: str) -> dict[str, str]:
        arguments = [
            "run",
            "--suite",
            str(suite),
            "--out",
            str(tmp_path / name),
            "--store",
            str(tmp_path / "store-" / name),
        ]
        monkeypatch.setattr("sys.argv", ["unlearnbench", *arguments, *more])
        assert main([*arguments, *more]) == 0
        return {p.name: record_digest(read_record(p)) for p in sorted((tmp_path / name).glob("*.json"))}

    alone = run("one", "--threads", "1")
    together = run("two", "--jobs", "3", "--threads", "1")
    assert len(alone) == 4
    assert together == alone
    assert (
        f"4 cells, 0 unchanged, 0 failed, images drawn: see {tmp_path / 'two' / 'parts'}"
        in capsys.readouterr().out
    )
    drawn = [
        path.read_text().rpartition(" images drawn")[0] for path in (tmp_path / "two" / "parts").glob("*.log")
    ]
    assert sum(int(text.rpartition("\n")[2]) for text in drawn) > 0
    commands = {read_record(p).command for p in (tmp_path / "two").glob("*.json")}
    assert len(commands) == 1
    assert "--part" not in commands.pop()


def test_a_recorded_command_can_be_repeated_and_does_not_name_the_home_folder() -> None:
    home = Path.home()
    line = ["run", "--out", str(home / "my runs"), "--method", "a b"]
    assert quote_places(line) == ["run", "--out", "~/'my runs'", "--method", "'a b'"]
