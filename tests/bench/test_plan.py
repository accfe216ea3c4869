"""A retrained reference is found by what it never saw, or the command that makes it is named."""

from pathlib import Path

import pytest

from unlearnbench.bench.assemble import describe_method
from unlearnbench.bench.cli_commands import registry, task_registry
from unlearnbench.bench.errors import UserError
from unlearnbench.bench.plan import MethodRow, Suite, find_references, plan_cells
from unlearnbench.bench.worlds.emoji import world as world_module


def _cells(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):  # type: ignore[no-untyped-def]
    monkeypatch.setattr(world_module, "recipe_folder", lambda: tmp_path)
    suite = Suite(
        name="test",
        tasks=["classes/cat-face@tiny"],
        methods=[MethodRow(name="retrain"), MethodRow(name="none")],
    )
    worlds = {"tiny": registry("worlds")["tiny"].load()()}
    return plan_cells(suite, task_registry(), registry("methods")), worlds


def test_a_retrained_model_that_is_not_there_names_its_command(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    cells, worlds = _cells(monkeypatch, tmp_path)
    with pytest.raises(UserError, match=r"make it with: unlearnbench pretrain tiny --without .*'cat face'"):
        find_references(cells, worlds)


def test_a_retrained_model_is_found_by_what_it_never_saw(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    cells, worlds = _cells(monkeypatch, tmp_path)
    spec = worlds["tiny"].spec.leave_out(sorted(cells[0].task.suite_targets))
    folder = tmp_path / spec.folder_name / "world" / "pipeline"
    folder.mkdir(parents=True)
    folder.joinpath("model_index.json").write_text("{}")
    found = {cell.row.name: cell for cell in find_references(cells, worlds)}
    assert found["retrain"].models == (str(folder),)
    assert found["none"].models == ()
    info = describe_method(found["retrain"])
    assert info.reference
    assert "cat face" in info.config["without"]
