"""Every world answers all that the benchmark asks; one that does not is refused by name when it is opened."""

import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from unlearnbench.bench.errors import UserError
from unlearnbench.bench.planning.tasks import PromptSizes, Task
from unlearnbench.bench.registry import Entry, Registry
from unlearnbench.bench.running import catalog
from unlearnbench.bench.running.catalog import open_world, registry, task_registry
from unlearnbench.bench.running.plugins import plugin_modules
from unlearnbench.bench.worlds.protocol import MEMBERS, World, check_world


class Minimal(World):
    """What a world has to answer; the rest is inherited."""

    id = "minimal@1"
    digest = "d"
    pipeline_folder = Path("nowhere")
    steps, guidance, pixels = 2, 1.0, 8

    def prompts(self, task: Task, sizes: PromptSizes) -> list:
        return []

    def problem(self, task, data, seed):
        raise NotImplementedError


class Unfinished(World):
    """Lacks most of it."""

    id = "unfinished@1"
    steps, guidance, pixels = 2, 1.0, 8


class Duck:
    """Inherits nothing."""

    def __getattr__(self, name: str) -> str:  # answers whatever is asked, and means nothing by it
        return name

    id = "duck@1"
    digest = "d"


@pytest.mark.parametrize("name", list(registry("worlds")))
def test_every_registered_world_answers_everything(name: str) -> None:
    assert check_world(open_world(name), name) is not None


@pytest.fixture
def plug_in(monkeypatch: pytest.MonkeyPatch) -> None:
    """Register the three classes of this file as worlds of a third party."""
    module = ModuleType("their_worlds")
    known: Registry[Entry] = Registry("worlds")
    for kind in (Minimal, Unfinished, Duck):
        setattr(module, kind.__name__, kind)
        name = kind.__name__.lower()
        known.add(name, Entry(name, "their_worlds", "x", function=kind.__name__, distribution="theirs"))
    monkeypatch.setitem(sys.modules, "their_worlds", module)
    monkeypatch.setattr(catalog, "registry", lambda kind: known)


@pytest.mark.usefixtures("plug_in")
def test_a_world_that_lacks_members_is_refused_by_their_names() -> None:
    with pytest.raises(
        UserError, match=r"world unfinished \(from theirs\): does not open: .*digest.*prompts"
    ):
        open_world("unfinished")
    with pytest.raises(UserError, match=r"world duck \(from theirs\): Duck lacks .*prompts, .*steps"):
        open_world("duck")
    with pytest.raises(UserError) as refused:
        check_world(object(), "x")
    assert all(member in str(refused.value) for member in MEMBERS)
    assert "\n" not in str(refused.value)


@pytest.mark.usefixtures("plug_in")
def test_a_subclass_inherits_defaults_that_say_what_the_world_has_not() -> None:
    task = task_registry()["classes/cat-face@tiny"]
    world = open_world("minimal")
    assert (world.scheduler, world.is_placed, world.training_draws) == ("", False, 0)
    assert (world.inputs(task), world.sources(task)) == ({}, [])
    assert world.open_alignment() is world.reference_key is world.inception is None
    assert len(world.reference(task)) == 0
    assert np.asarray(world.reference_rows(task)).dtype == bool
    assert world.placed(source=None) is world
    assert world.problem_module == __name__
    assert plugin_modules([], Registry("metrics"), {"minimal": world}) == {__name__}
    asked = (
        lambda: world.draw_concepts([], "classes", 1),
        lambda: world.retrained_pipeline(task),
        lambda: world.open_judge(task),
    )
    for ask in asked:
        with pytest.raises(UserError, match="minimal@1"):
            ask()


def test_a_judge_that_the_world_does_not_have_is_refused() -> None:
    """The detector's answers were recorded under whatever name the task gave."""
    task = task_registry()["classes/cat-face@tiny"]
    task = replace(task, file=task.file.model_copy(update={"judge": "emoji-detector@7"}))
    with pytest.raises(UserError, match=r"judge: 'emoji-detector@7'; tiny@1 has emoji-detector@1"):
        open_world("tiny").open_judge(task)


def test_the_page_of_worlds_names_every_member() -> None:
    page = (Path(__file__).resolve().parents[2] / "bench" / "worlds" / "README.md").read_text()
    assert [member for member in MEMBERS if f"`{member}" not in page] == []
