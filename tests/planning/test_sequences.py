"""What a sequence trains on and is measured on, step by step, and what is no sequence."""

from pathlib import Path

import pytest

from unlearnbench._suites import plan_run
from unlearnbench.bench.errors import UserError
from unlearnbench.bench.planning.plan import Cell, find_suite, plan_cells, read_suite
from unlearnbench.bench.planning.rows import AttackRow, check_attacks
from unlearnbench.bench.planning.sequences import read_turn
from unlearnbench.bench.running.catalog import registry, suites_folder, task_registry

TEXT = """name = "mine"
sequence = ["classes/cat-face", "celebrities/genie"]
[sizes]
forget = 4
[[methods]]
name = "none"
[[methods]]
name = "uce"
"""


def _plan(folder: Path, text: str = TEXT) -> list[Cell]:
    path = folder / "mine.toml"
    path.write_text(text)
    return plan_cells(read_suite(path), task_registry(), registry("methods"))


def test_steps_follow_one_another_and_are_named_by_their_place(tmp_path: Path) -> None:
    base, first, second = _plan(tmp_path)
    assert [cell.turn.step for cell in (base, first, second) if cell.turn] == [0, 1, 2]
    assert {cell.task.id for cell in (base, first, second)} == {"celebrities/genie+classes/cat-face@emoji"}
    assert (first.trained.id, second.trained.id) == ("classes/cat-face@emoji", "celebrities/genie@emoji")
    assert first.trained == task_registry()["classes/cat-face@emoji"]  # the first step is the single task
    assert (base.before, first.before, second.before) == (None, None, first)
    assert [cell.stem[-5:] for cell in (base, first, second)] == [".0of2", ".1of2", ".2of2"]
    other = _plan(
        tmp_path,
        TEXT.replace('"classes/cat-face", "celebrities/genie"', '"celebrities/genie", "classes/cat-face"'),
    )
    assert other[1].task == first.task  # the same prompts in either order
    assert other[1].stem != first.stem


def test_targets_count_from_the_step_that_asks_for_them() -> None:
    tasks = task_registry()
    turn = read_turn(["classes/guitar@emoji", "classes/cat-face@emoji"], 1, tasks.__getitem__)
    assert turn.targets == ["guitar"]
    assert read_turn(turn.names, 0, tasks.__getitem__).targets == ["guitar", "cat face"]


def test_a_request_shows_no_target_of_another_one() -> None:
    tasks = task_registry()
    drawn = tasks.expand("classes@draw:1")
    target = drawn[1].concept.targets[0]
    holder = next(
        task
        for seed in range(200)
        for task in tasks.expand(f"classes@draw:{seed}")
        if target in task.concept.given["subject"][1:] and task.concept.targets[0] != drawn[1].concept.anchor
    )
    turn = read_turn([drawn[1].id, holder.id], 2, tasks.__getitem__)
    assert target not in turn.request.concept.given["subject"]
    assert target in turn.request.suite_targets


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("sequence = [", 'tasks = ["classes/guitar"]\nsequence = ['), "either `tasks` or a `sequence`"),
        ((', "celebrities/genie"]', "]"), "a sequence has 2 requests or more"),
        ((', "celebrities/genie"]', ', "classes/cat-face"]'), "stands twice"),
        (("forget = 4", "forget = 5"), "5 prompts for 2 targets"),
        (('name = "uce"', 'name = "sld"'), "sld acts while images are drawn"),
        (('"celebrities/genie"', '"styles/line"'), "target_kind: "),
        (('"celebrities/genie"', '"classes/cat-face@tiny"'), "world: "),
    ],
)
def test_what_is_no_sequence_is_one_line(tmp_path: Path, change: tuple[str, str], said: str) -> None:
    with pytest.raises(UserError, match=said):
        _plan(tmp_path, TEXT.replace(*change))


def test_the_shipped_suites_plan_and_a_sequence_takes_no_task() -> None:
    steps = plan_run("sequence").cells
    assert [cell.turn.step for cell in steps if cell.turn and cell.row.name == "uce"] == [1, 2, 3, 4]
    assert sorted({len(cell.task.concept.targets) for cell in plan_run("several").cells}) == [2, 4, 8]
    assert find_suite("sequence", suites_folder()).tasks == []
    with pytest.raises(UserError, match="--task: sequence is a sequence of tasks"):
        plan_run("sequence", tasks=["classes/guitar"])


def test_an_attack_on_a_sequence_names_no_tasks() -> None:
    row = AttackRow(name="best-of-n", tasks=["classes/cat-face"])
    with pytest.raises(ValueError, match="best-of-n: tasks: leave it out, because a sequence is attacked"):
        check_attacks([row], ["none"], [])
    check_attacks([row], ["none"], ["classes/cat-face"])
