"""The public names: what is importable, what importing costs, and what each says of itself."""

import inspect
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import unlearnbench

ROOT = Path(__file__).resolve().parents[2]
HEAVY = ("torch", "numpy", "pandas", "pydantic", "diffusers", "rich", "argparse")


def _run(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_importing_it_imports_nothing_heavy() -> None:
    """Under 0.1 s; what decides that is which modules are imported."""
    code = (
        "import sys; start = set(sys.modules); import unlearnbench; print(*sorted(set(sys.modules) - start))"
    )
    imported = set(_run(code).split())
    assert "unlearnbench" in imported
    assert not {name.partition(".")[0] for name in imported} & set(HEAVY)
    assert not {name for name in imported if name.startswith("unlearnbench.")}


def test_listing_imports_no_torch() -> None:
    code = "import sys, unlearnbench as u; u.list_methods(), u.list_tasks('emoji'), u.list_suites(); "
    assert _run(code + "print('torch' in sys.modules)") == "False"


def test_the_version_is_that_of_the_project() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert unlearnbench.__version__ == project["version"]
    for program in ("unlearnbench", "unlearnbench.bench.cli"):
        command = [sys.executable, "-m", program, "--version"]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        assert done.stdout.strip() == f"unlearnbench {project['version']}"


@pytest.mark.parametrize("name", sorted(set(unlearnbench.__all__) - {"__version__"}))
def test_every_public_name_is_there_and_explains_itself(name: str) -> None:
    found = getattr(unlearnbench, name)
    assert name in dir(unlearnbench)
    assert (inspect.getdoc(found) or "").strip()
    if inspect.isfunction(found):
        signature = inspect.signature(found)
        assert signature.return_annotation is not inspect.Parameter.empty
        assert all(p.annotation is not inspect.Parameter.empty for p in signature.parameters.values())


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="nothing_such"):
        _ = unlearnbench.nothing_such


def test_lists_are_what_the_command_line_lists() -> None:
    assert {task.file.world for task in unlearnbench.list_tasks("emoji")} == {"emoji"}
    assert len(unlearnbench.list_tasks("emoji")) < len(unlearnbench.list_tasks())
    assert "balanced" in [method.name for method in unlearnbench.list_methods()]
    assert "VA" in [metric.name for metric in unlearnbench.list_metrics()]
    assert "emoji" in [world.name for world in unlearnbench.list_worlds()]
    assert "demo" in [suite.name for suite in unlearnbench.list_suites()]
    assert unlearnbench.list_judges()
