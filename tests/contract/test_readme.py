"""The README's example is the plug-in that the tests run, and CI runs its test command word for word."""

import re
import shlex
import subprocess
from pathlib import Path

import pytest

from unlearnbench.bench.cli.main import build_parser

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text()


def _block(name: str) -> str:
    found = re.search(rf"<!-- {name} -->\n```\w+\n(.*?)```", README, re.DOTALL)
    assert found, name
    return found.group(1)


def test_the_example_is_what_the_plugin_test_runs() -> None:
    plugin = ROOT / "tests" / "plugin" / "src" / "unlearnbench_example" / "shrink.py"
    assert _block("example") == plugin.read_text()


def test_each_command_is_one_line_and_works_on_its_own() -> None:
    for name in ("run", "test"):
        lines = _block(name).strip().splitlines()
        assert len(lines) == 1
        assert lines[0].startswith("python3 -m venv .venv && .venv/bin/pip install -q uv")


def test_ci_finds_the_test_command() -> None:
    script = "sed -n '/^<!-- test -->$/,/^```$/p' README.md | grep -v -e '^<!--' -e '^```'"
    assert script in (ROOT / ".ci" / "run").read_text()
    found = subprocess.run(["bash", "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert found.stdout == _block("test")


def test_every_documented_command_parses() -> None:
    commands = re.findall(r"^unlearnbench (.+?)(?:\s+#.*)?$", README, re.MULTILINE)
    assert len(commands) >= 6
    for command in commands:
        try:
            build_parser().parse_args(shlex.split(command))
        except SystemExit:
            pytest.fail(f"README: unlearnbench {command}: does not parse")


def test_every_linked_file_exists() -> None:
    for text in re.findall(r"\]\(([^)#:]+)\)", README):
        assert (ROOT / text).exists(), text
