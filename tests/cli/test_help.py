"""Every subcommand has examples that parse; one table of exit statuses; completion; `doctor`."""

import argparse
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from unlearnbench.bench.cli.main import build_parser, main
from unlearnbench.bench.cli.tools import doctor
from unlearnbench.bench.cli.tools.help import EXAMPLES, EXIT_STATUSES

README = Path(__file__).resolve().parents[2] / "README.md"


def subcommands() -> dict[str, argparse.ArgumentParser]:
    parser = build_parser()
    [found] = [a for a in parser._actions if isinstance(a, argparse._SubParsersAction)]
    return dict(found.choices)


@pytest.mark.parametrize("name", sorted(subcommands()))
def test_a_subcommand_has_examples_that_parse(name: str) -> None:
    assert EXAMPLES.get(name), f"{name} has no example"
    for line in EXAMPLES[name]:
        words = shlex.split(line.partition(" > ")[0])
        assert words[0] == name
        options = build_parser().parse_args(words)
        assert options.command == name


def test_no_example_is_left_over() -> None:
    assert EXAMPLES.keys() <= subcommands().keys()


def test_help_shows_examples_and_statuses(capsys: pytest.CaptureFixture[str]) -> None:
    for words, said in ((["run", "--help"], "unlearnbench run --limit 4"), (["--help"], "exit status:")):
        with pytest.raises(SystemExit) as end:
            main(words)
        assert end.value.code == 0
        assert said in capsys.readouterr().out


def test_the_page_has_the_same_statuses() -> None:
    rows = re.findall(r"^\| ([\d, ]+) \|", README.read_text(), re.MULTILINE)
    there = [code.strip() for row in rows for code in row.split(",")]
    assert there[: len(EXIT_STATUSES)] == [code for code, _ in EXIT_STATUSES]


@pytest.mark.skipif(shutil.which("bash") is None, reason="completes in bash")
def test_bash_completes_a_subcommand_and_its_options(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["completion", "bash"]) == 0
    script = tmp_path / "script"
    script.write_text(capsys.readouterr().out)
    ask = (
        f"source {script}; COMP_WORDS=(unlearnbench {{words}}); COMP_CWORD={{n}}; COMP_TYPE=9; "
        "_shtab_unlearnbench; printf '%s\\n' \"${{COMPREPLY[@]}}\""
    )
    for words, wanted in (("eval", "evaluate"), ("run --only-f", "--only-failures")):
        command = ask.format(words=words, n=len(words.split()))
        done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
        assert wanted in done.stdout.split(), done.stderr


def test_doctor_of_a_whole_installation(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "one").write_bytes(b"x" * 2**20)
    assert main(["doctor", "--store", str(tmp_path)]) == 0
    said = capsys.readouterr().out
    assert "the installation is complete" in said
    assert f"cache: {tmp_path}: 1 files, 0.00 GiB" in said
    assert re.search(r"^torch \d", said, re.MULTILINE)
    assert re.search(r"^emoji: \d+ tasks: ready$", said, re.MULTILINE)
    assert re.search(r"^sd14: \d+ tasks: \d+ of \d+ missing: .*Stable Diffusion 1.4", said, re.MULTILINE)


def test_doctor_names_what_is_missing_or_too_old(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = ["torch>=999", "no-such-package>=1", 'no-such-extra>=1; extra == "lora"', "numpy>=1"]
    monkeypatch.setattr(doctor, "requires", lambda name: wanted)
    assert main(["doctor", "--store", str(tmp_path)]) == 1
    said = capsys.readouterr().out
    assert re.search(r"^torch \d.*: >=999 is needed; pip install 'torch>=999'$", said, re.MULTILINE)
    assert "no-such-package: not installed; pip install 'no-such-package>=1'" in said
    assert "no-such-extra: not installed (for unlearnbench[lora])" in said
    assert "2 faults of the installation" in said


def test_a_dry_run_names_what_the_run_would_stop_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))  # no retrained model lies there
    suite = tmp_path / "mine.toml"
    suite.write_text('name = "mine"\ntasks = ["classes/cat-face@tiny"]\n[[methods]]\nname = "retrain"\n')
    assert main(["run", "--suite", str(suite), "--dry-run"]) == 1
    said = capsys.readouterr().out
    assert "MISSING; retrain: " in said
    assert "unlearnbench pretrain tiny --without" in said
    assert main(["run", "--task", "classes/cat-face", "--dry-run", "--device", "foo"]) == 2
    assert "--device foo" in capsys.readouterr().err


def test_a_name_that_is_like_no_other_is_answered_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "--task", "zzzz@qqqqqqqqqqqq"]) == 2
    said = capsys.readouterr().err
    assert "`unlearnbench list tasks` lists the " in said
    assert len(said) < 200
