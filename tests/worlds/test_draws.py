"""What a seed draws: the same everywhere, never a published target, retained concepts untouched."""

from typing import Any

import pytest

from unlearnbench._suites import narrow_suite
from unlearnbench.bench.errors import UserError
from unlearnbench.bench.planning.draws import DrawingTasks, seed_in
from unlearnbench.bench.planning.plan import find_suite, plan_cells
from unlearnbench.bench.planning.tasks import PromptSizes
from unlearnbench.bench.running.catalog import registry, suites_folder, task_registry

SEEDS = range(12)
FAMILIES = ("classes", "styles", "celebrities")


@pytest.fixture(scope="module")
def tasks() -> DrawingTasks:
    return task_registry()


@pytest.fixture(scope="module")
def world() -> Any:
    return registry("worlds")["emoji"].load()()


@pytest.mark.parametrize("family", FAMILIES)
def test_no_published_target_is_ever_drawn_and_anchors_are_near(
    tasks: DrawingTasks, world: Any, family: str
) -> None:
    published = {
        name for task in tasks.values() if task.file.world == "emoji" for name in task.concept.targets
    }
    seen = set()
    for seed in SEEDS:
        for task in tasks.expand(f"{family}@draw:{seed}"):
            [target], anchor, given = task.concept.targets, task.concept.anchor, task.concept.given
            names = {name for listed in given.values() for name in listed}
            seen.add(target)
            assert target not in published
            assert not (names | {anchor}) & (published | {target})
            assert anchor in given[task.file.target_kind]
            assert published & set(task.suite_targets) < task.suite_targets
            if task.file.target_kind == "subject":
                assert world.spec.group_of(target) == world.spec.group_of(anchor)
                groups = [world.spec.group_of(name) for name in given["subject"]]
                assert len(set(groups)) == len(groups) == 6
    assert len(seen) >= (3 if family == "styles" else 6)


def test_a_seed_draws_the_same_tasks_and_another_one_others(tasks: DrawingTasks) -> None:
    first, again = (tasks.expand("classes@draw:123") for _ in range(2))
    assert first == again
    assert [tasks[task.id] for task in first] == first
    assert all(task.id in tasks for task in first)
    assert {t.id for t in first}.isdisjoint(t.id for t in tasks.expand("classes@draw:124"))
    assert set(tasks) == set(task_registry())
    assert not any("/draw-" in name for name in tasks)


def test_prompts_are_fresh_by_seed_and_show_no_target(tasks: DrawingTasks, world: Any) -> None:
    sizes = PromptSizes()
    for family in ("celebrities", "styles"):
        drawn = [task for seed in SEEDS for task in tasks.expand(f"{family}@draw:{seed}")]
        target = drawn[0].concept.targets
        same = [task for task in drawn if task.concept.targets == target][:2]
        texts = []
        for task in same:
            prompts = world.prompts(task, sizes)
            kind = task.file.target_kind
            assert not {p.asked[kind] for p in prompts if p.split == "retain"} & set(task.suite_targets)
            assert {p.asked[kind] for p in prompts if p.split == "forget"} == set(target)
            assert {p.relation for p in prompts if p.split == "retain" and not p.given} >= {"same"}
            texts.append([p.text for p in prompts if p.split == "forget"])
        assert len(texts) == 2
        assert len(texts[0]) == sizes.forget
        assert texts[0] != texts[1]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("nudity@draw:1", "every category of emoji is a shipped target"),
        ("classes@draw:x", "whole number"),
        ("classes@draw:-1", "whole number"),
        ("cats@draw:1", "no family of this name"),
        ("classes/draw-1-unicorn-face@emoji", "draws other concepts"),
    ],
)
def test_what_cannot_be_drawn_is_one_line(tasks: DrawingTasks, name: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        tasks.expand(name)


def test_a_run_of_drawn_tasks_is_a_suite_of_its_own(tasks: DrawingTasks) -> None:
    names = ["classes@draw:5", "styles@draw:5"]
    suite = narrow_suite(find_suite("emoji", suites_folder()), tasks=names, skip=["retrain"])
    assert suite.name == "emoji-draw-5"
    assert suite.tasks == [t.id for name in names for t in tasks.expand(name)]
    cells = plan_cells(suite, tasks, registry("methods"))
    assert {cell.task.id for cell in cells} == set(suite.tasks)
    with pytest.raises(UserError, match="names several tasks"):
        _ = tasks["classes@draw:5"]
    with pytest.raises(UserError, match="of one seed"):
        seed_in(["classes@draw:5", "classes/cat-face"])
