"""Tasks of third parties: they change neither the prompts of a shipped task nor what a seed draws."""

from pathlib import Path

import pytest

from unlearnbench.bench.errors import UserError
from unlearnbench.bench.planning.tasks import TaskFile, build_tasks, read_task_file
from unlearnbench.bench.running import catalog

SHIPPED = Path(__file__).resolve().parents[2] / "tasks" / "classes" / "emoji.toml"


def _theirs() -> TaskFile:
    """Return a third party's file of another subject of the same world and kind."""
    file = read_task_file(SHIPPED)
    concept = file.concepts[0].model_copy(update={"name": "fox", "targets": ["fox"], "anchor": "dog face"})
    return file.model_copy(update={"family": "animals", "concepts": [concept]})


def test_their_targets_leave_the_retain_prompts_of_their_own_tasks_only() -> None:
    shipped = read_task_file(SHIPPED)
    plain, both = build_tasks([shipped]), build_tasks([shipped], [_theirs()])
    for name in plain:
        assert both[name].suite_targets == plain[name].suite_targets
        assert "fox" not in both[name].suite_targets
    own = both["animals/fox@emoji"]
    assert own.suite_targets == plain["classes/cat-face@emoji"].suite_targets | {"fox"}
    with pytest.raises(UserError, match="registered twice"):
        build_tasks([shipped], [_theirs(), _theirs()])


def test_what_a_seed_draws_depends_on_no_plugin(monkeypatch: pytest.MonkeyPatch) -> None:
    before = catalog.task_registry().draw("classes", "7")
    taken = before[0].concept
    file = _theirs()
    mine = file.concepts[0].model_copy(update={"targets": taken.targets, "anchor": taken.anchor})
    files = [file.model_copy(update={"concepts": [mine]})]
    monkeypatch.setattr(catalog, "read_plugin_tasks", lambda shipped: (files, {}))
    registry = catalog.task_registry()
    assert "animals/fox@emoji" in registry
    assert [task.id for task in registry.draw("classes", "7")] == [task.id for task in before]


def test_a_seed_is_drawn_once_and_nobody_changes_what_it_drew(monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    tasks = catalog.task_registry()

    def open_world(name: str) -> object:
        opened.append(name)
        return catalog.open_world(name)

    monkeypatch.setattr(tasks, "_open_world", open_world)
    first = tasks.draw("classes", "7")
    named = [task.id for task in first]
    first.clear()
    assert [task.id for task in tasks.draw("classes", "7")] == named
    assert tasks[named[0]].id == named[0]
    assert opened == ["emoji"]
    tasks.draw("classes", "8")
    assert opened == ["emoji", "emoji"]
