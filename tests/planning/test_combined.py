"""Combinations: every target with its own anchor, and no target among the retained concepts."""

from typing import Any

import pytest

from unlearnbench._suites import narrow_suite
from unlearnbench.bench.config import build
from unlearnbench.bench.errors import UserError
from unlearnbench.bench.planning.combined import MOST_GIVEN, join, split_name
from unlearnbench.bench.planning.draws import DrawingTasks
from unlearnbench.bench.planning.plan import Suite, find_suite
from unlearnbench.bench.planning.tasks import PromptSizes
from unlearnbench.bench.running.catalog import registry, suites_folder, task_registry

MIXED = "classes/guitar+cat-face+celebrities/genie@emoji"


@pytest.fixture(scope="module")
def tasks() -> DrawingTasks:
    return task_registry()


@pytest.fixture(scope="module")
def world() -> Any:
    return registry("worlds")["emoji"].load()()


def test_a_combination_joins_targets_anchors_and_data(tasks: DrawingTasks) -> None:
    task = tasks[MIXED]
    assert task.id == "celebrities/genie+classes/cat-face+guitar@emoji"  # sorted: the order changes nothing
    assert task == tasks["celebrities/genie+classes/cat-face+guitar@emoji"]
    concept = task.concept
    assert concept.targets == ["genie", "cat face", "guitar"]
    assert [concept.anchor_of(target) for target in concept.targets] == ["superhero", "dog face", "violin"]
    assert concept.anchor == "superhero, dog face, violin"
    assert concept.given["subject"][:3] == ["superhero", "dog face", "drum"]
    assert concept.near == ["characters", "animals", "music", "toys", "tools"]
    assert (task.file.family, concept.role) == ("celebrities+classes", "evaluated")
    assert task.id in tasks
    assert task.id not in list(tasks)  # nothing is declared


def test_retained_concepts_show_no_target_and_every_target_is_asked_alike(
    tasks: DrawingTasks, world: Any
) -> None:
    sizes = PromptSizes(forget=24)
    for name in (MIXED, "styles/line+3d@emoji", "classes/cat-face+draw-1-doughnut+draw-2-teapot@emoji"):
        task = tasks[name]
        kind, targets = task.file.target_kind, task.concept.targets
        prompts = world.prompts(task, sizes)
        forget = [p.asked[kind] for p in prompts if p.split == "forget"]
        assert {target: forget.count(target) for target in targets} == dict.fromkeys(
            targets, 24 // len(targets)
        )
        retain = [p for p in prompts if p.split == "retain"]
        assert not {p.asked[kind] for p in retain} & set(task.suite_targets)
        assert set(targets) <= set(task.suite_targets)
        assert any(not p.given for p in retain)


def test_the_forget_set_shows_every_target_with_its_own_anchor(tasks: DrawingTasks, world: Any) -> None:
    problem = world.problem(tasks[MIXED], "diverse", 0)
    assert problem.targets == ("genie", "cat face", "guitar")
    assert (problem.anchor, problem.anchors) == (None, ("superhero", "dog face", "violin"))
    pairs = dict(zip(problem.targets, problem.anchors, strict=True))
    shown = dict.fromkeys(pairs, 0)
    forget = problem.forget_set
    for prompt, other in zip(forget.prompts, forget.anchor_prompts, strict=True):
        named = [target for target in pairs if target in prompt]
        for target in named:
            shown[target] += 1
            assert pairs[target] in other
    assert min(shown.values()) > 90  # of 384
    alone = world.problem(tasks["classes/cat-face@emoji"], "diverse", 0)
    assert (alone.anchor, alone.anchors) == ("dog face", ())


def test_many_parts_leave_half_of_what_is_retained_unseen(tasks: DrawingTasks) -> None:
    task = tasks[find_suite("several", suites_folder()).tasks[2] + "@emoji"]
    given, targets = task.concept.given["subject"], task.concept.targets
    assert (len(targets), len(given)) == (8, MOST_GIVEN)
    parts = [tasks[name] for name in split_name(task.id)]
    assert all(set(given) & set(part.concept.given["subject"]) for part in parts)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("classes/cat-face+cat-face@emoji", "classes/cat-face@emoji stands twice"),
        ("classes/cat-face+styles/line@emoji", "target_kind: classes/cat-face@emoji and styles/line@emoji"),
        ("classes/cat-face+draw-1-dog-face@emoji", "'dog face' is the anchor of 'cat face'"),
        ("classes/cat-face+gitar@emoji", "no task named 'classes/gitar@emoji'"),
        ("classes/adam+celebrities/adam-driver@sd14", "no task named 'classes/adam@sd14'"),
    ],
)
def test_what_cannot_be_combined_is_one_line(tasks: DrawingTasks, name: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        _ = tasks[name]
    assert name not in tasks


def test_a_name_too_long_for_a_record_is_refused(tasks: DrawingTasks) -> None:
    shipped = ("cat-face", "guitar", "bicycle", "hamburger", "fairy", "genie", "santa-claus", "vampire")
    parts = [tasks[name] for name in tasks if name.endswith("@emoji") and name.split("/")[1][:-6] in shipped]
    drawn = [task for seed in range(60) for task in tasks.expand(f"classes@draw:{10**16 + seed}")]
    known = {target for part in parts for target in (*part.concept.targets, part.concept.anchor)}
    for task in drawn:
        names = {*task.concept.targets, task.concept.anchor}
        if not names & known:
            parts.append(task)
            known |= names
    with pytest.raises(UserError, match="at most 200 letters"):
        join("many", parts)


def test_narrow_data_would_leave_targets_out(tasks: DrawingTasks, world: Any) -> None:
    with pytest.raises(UserError, match="not every target"):
        world.problem(tasks[MIXED], "narrow", 0)


def test_a_run_of_combinations_has_a_folder_of_its_own() -> None:
    suite = narrow_suite(find_suite("demo", suites_folder()), tasks=["classes/cat-face+guitar"])
    assert suite.name == "demo-several"
    assert suite.tasks == ["classes/cat-face+guitar@emoji"]


def test_a_suite_cannot_give_a_combination_one_anchor() -> None:
    text = {"name": "mine", "tasks": ["classes/cat-face+guitar"], "methods": [{"name": "uce"}]}
    with pytest.raises(UserError, match="anchors: tasks with several targets"):
        build(Suite, text | {"anchors": {"classes/cat-face+guitar": "fox"}}, "mine.toml")
