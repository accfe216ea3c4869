"""Dependencies point one way, and packaging names every folder."""

import ast
import tomllib
from pathlib import Path

import pytest

from unlearnbench.bench.source import _imported

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("bench", "methods", "tasks", "leaderboard", "results")
FILES = [p for package in PACKAGES for p in (ROOT / package).rglob("*.py")]


def _module(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    parts = parts[:-1] if parts[-1] == "__init__" else parts
    parts = parts[2:] if parts[:2] == ("bench", "api") else parts  # it is the top of the package
    return ".".join(("unlearnbench", *parts))


def _project_imports(path: Path) -> set[str]:
    names = {n.split(".")[1] for n in _imported(_module(path), path) if n.startswith("unlearnbench.")}
    return names & set(PACKAGES)


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_dependencies_point_one_way(path: Path) -> None:
    package = path.relative_to(ROOT).parts[0]
    joins = path.relative_to(ROOT).parts[:2] in (("bench", "cli"), ("bench", "api"))
    allowed = set(PACKAGES) if joins else {package, "bench"}
    assert _project_imports(path) <= allowed


def test_pyproject_lists_every_package() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    found = {_module(p) for p in FILES if p.name == "__init__.py"}
    assert set(settings["packages"]) == found
    for name in found:
        folder = ROOT.joinpath(*(name.split(".")[1:] or ("bench", "api")))
        assert (folder / "py.typed").is_file(), folder


def test_the_type_checker_sees_every_module_of_the_api() -> None:
    """It checks .typing, where each module of the API stands at the top of the package."""
    files = {path.name for path in (ROOT / "bench" / "api").glob("*.py")} | {"py.typed"}
    links = {path.name: path.resolve() for path in (ROOT / ".typing" / "unlearnbench").iterdir()}
    assert {name for name in links if "." in name} == files
    assert all(links[name] == ROOT / "bench" / "api" / name for name in files)


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_house_style_in_numbers(path: Path) -> None:
    text = path.read_text()
    assert len(text.splitlines()) <= 300, "files have at most 300 lines"
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert node.end_lineno is not None
            length = node.end_lineno - node.lineno + 1
            assert length <= 50, f"{node.name} has {length} lines"
    if text.strip() and path.name != "__init__.py":
        assert ast.get_docstring(ast.parse(text)), "a module says in a sentence what it is"


def test_options_stay_in_the_command_line() -> None:
    """Below it functions take named arguments: none knows what the command line is."""
    found = [
        path.relative_to(ROOT).as_posix() for path in FILES if "argparse" in _imported(_module(path), path)
    ]
    assert found
    assert all(name.startswith("bench/cli/") for name in found)
