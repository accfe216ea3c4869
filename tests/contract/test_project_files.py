"""The files that a hosting service and citing tools read agree with the project."""

import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from unlearnbench.bench.records.record import read_record
from unlearnbench.bench.records.statements import list_records

ROOT = Path(__file__).resolve().parents[2]
VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))


def _read(path: Path) -> dict[Any, Any]:
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert isinstance(content, dict), path
    return content


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_a_workflow_starts_with_read_rights_and_runs_real_steps(path: Path) -> None:
    content = _read(path)
    assert content["permissions"]["contents"] == "read"
    assert content[True]  # YAML 1.1 reads the key `on` as true
    for job in content["jobs"].values():
        assert job["steps"]
        assert all(step.get("uses") or step.get("run") for step in job["steps"])


def test_the_three_workflows_are_there() -> None:
    assert [path.stem for path in WORKFLOWS] == ["ci", "release", "site"]
    assert "bash .ci/run" in (ROOT / ".github" / "workflows" / "ci.yml").read_text()


@pytest.mark.parametrize(
    "path", sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("[!c]*.yml")), ids=lambda p: p.stem
)
def test_an_issue_template_asks_for_something(path: Path) -> None:
    content = _read(path)
    assert {"name", "description", "body"} <= content.keys()
    assert any(
        part.get("validations", {}).get("required") for part in content["body"] if "id" in part
    ) or any(
        option["required"]
        for part in content["body"]
        if part["type"] == "checkboxes"
        for option in part["attributes"]["options"]
    )


def test_the_citation_names_the_version_that_is_packaged() -> None:
    assert _read(ROOT / "CITATION.cff")["version"] == VERSION


def test_the_changelog_tells_of_the_version_that_is_packaged() -> None:
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert "## Unreleased" in text
    assert f"## {VERSION}" in text


OTHER_VERSIONS = {name: {"torch": "2.14.1", "torchvision": "0.29.1"} for name in ("attacks", "several")}
"""Folders of records that were measured with other versions; results/README.md says so."""


def test_the_constraints_pin_what_published_records_were_measured_with() -> None:
    text = (ROOT / ".constraints.txt").read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    assert all("@" not in line and "://" not in line for line in lines), "a place of a package is named"
    pins = {name.replace("-", "_"): version for name, version in (line.split("==") for line in lines)}
    for path in (path for folder in sorted((ROOT / "results").iterdir()) for path in list_records(folder)):
        environment = read_record(path).environment
        if environment["device"] == "cuda":  # a machine of its own; results/README.md names its versions
            continue
        packages = environment["packages"]
        stated = pins | OTHER_VERSIONS.get(path.parent.name, {})
        assert {name: stated.get(name) for name in packages} == packages, path.name
