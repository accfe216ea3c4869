"""Judges of third parties: which one a task gets, what they may answer, and that keys hold them."""

import importlib
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from unlearnbench.bench.errors import UserError
from unlearnbench.bench.judges.types import Verdicts, verdicts_of
from unlearnbench.bench.measuring import judging
from unlearnbench.bench.measuring.judging import ask_judge, find_plugin_judge, open_judge
from unlearnbench.bench.planning.tasks import Task
from unlearnbench.bench.registry import Entry, builtin_registry
from unlearnbench.bench.running.catalog import open_world, task_registry
from unlearnbench.bench.running.plugins import plugin_modules
from unlearnbench.bench.running.runner import Runner

THEIRS = """
class Judge:
    THRESHOLD = 1
    def judge(self, images): ...
def open_judge(world, task):
    return Judge()
def nothing(world, task):
    return None
def broken(world, task):
    return 1 / 0
"""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Register three judges of a third party's module; return the module's file."""
    file = tmp_path / "their_judge.py"
    file.write_text(THEIRS)
    monkeypatch.syspath_prepend(str(tmp_path))
    importlib.invalidate_caches()
    known = builtin_registry("judges", "unlearnbench.bench.judges")
    for name in ("open_judge", "nothing", "broken"):
        known.add(name, Entry(name, "their_judge", "x", version=2, function=name, distribution="theirs"))
    known.note_broken("lost", "plug-in 'lost' of theirs does not load: it is lost")
    monkeypatch.setattr(judging, "_judges", lambda: known)
    yield file
    sys.modules.pop("their_judge", None)


def _task(judge: str) -> Task:
    task = task_registry()["classes/cat-face@tiny"]
    return replace(task, file=task.file.model_copy(update={"judge": judge}))


@pytest.mark.usefixtures("place")
def test_a_task_gets_the_plug_ins_judge_that_it_names_and_else_the_worlds_own() -> None:
    world = open_world("tiny")
    assert type(open_judge(world, _task("open_judge@2"))).__module__ == "their_judge"
    assert find_plugin_judge(_task("emoji-detector@1")) is None
    assert type(open_judge(world, _task("emoji-detector@1"))).__name__ == "EmojiJudge"


@pytest.mark.usefixtures("place")
@pytest.mark.parametrize(
    ("judge", "said"),
    [
        ("open_judge@1", r"judge: 'open_judge@1'; theirs has open_judge@2"),
        ("nothing@2", r"judge nothing@2 \(from theirs\): NoneType lacks judge\(images\)"),
        ("broken@2", r"judge broken@2 \(from theirs\): does not open: division by zero"),
        ("lost@1", r"judge: plug-in 'lost' of theirs does not load"),
        ("unheard-of@1", r"judge: 'unheard-of@1'; tiny@1 has emoji-detector@1"),
    ],
)
def test_a_judge_that_cannot_be_had_is_refused_in_a_line(judge: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        open_judge(open_world("tiny"), _task(judge))


def test_a_plug_ins_judge_is_in_the_keys_of_what_it_judges_and_in_no_training(
    place: Path, make_runner: Callable[..., Runner], make_cell: Any
) -> None:
    runner, cell = make_runner(), make_cell(method="finetune", steps=1)
    theirs = replace(cell, task=_task("open_judge@2"))
    assert plugin_modules([theirs], runner.metrics, runner.worlds) == {"their_judge"}  # is looked over, too
    before = [runner.cell_key(theirs), runner.train_key(theirs), runner.cell_key(cell)]
    place.write_text(THEIRS.replace("THRESHOLD = 1", "THRESHOLD = 25"))
    after = [runner.cell_key(theirs), runner.train_key(theirs), runner.cell_key(cell)]
    assert before[0] != after[0]
    assert before[1:] == after[1:]


def _found(n: int, **columns: Any) -> pd.DataFrame:
    return pd.DataFrame({"subject": ["a"] * n, "style": [""] * n, "background": [""] * n} | columns)


@pytest.mark.parametrize(
    ("verdicts", "said"),
    [
        (Verdicts(_found(2), np.zeros((3, 4))), "2 rows"),
        (Verdicts(_found(3), np.zeros((1, 4))), r"shape \(1, 4\)"),
        (Verdicts(_found(3), np.zeros(3)), r"shape \(3,\)"),
        (Verdicts(_found(3).drop(columns="style"), np.zeros((3, 4))), "no column style"),
        (Verdicts(_found(3, subject=[True, False, True]), np.zeros((3, 4))), "neither a name nor None"),
        (Verdicts(_found(3), np.zeros((3, 4)), np.zeros((3, 1))), r"scores are of shape \(3, 1\)"),
    ],
)
def test_answers_that_are_not_one_for_each_image_are_refused(verdicts: Verdicts, said: str) -> None:
    class Theirs:
        def judge(self, images: np.ndarray) -> Verdicts:
            return verdicts

    with pytest.raises(UserError, match=rf"the judge Theirs was asked about 3 images: .*{said}"):
        ask_judge(Theirs(), np.zeros((3, 8, 8, 3), np.uint8))


def test_answers_for_each_image_are_taken_as_they_are() -> None:
    class Theirs:
        def judge(self, images: np.ndarray) -> Verdicts:
            return verdicts_of("subject", ["cat", "", "dog"], np.zeros((3, 1)), np.arange(3.0))

    given = ask_judge(Theirs(), np.zeros((3, 8, 8, 3), np.uint8))
    assert given.found["subject"].tolist() == ["cat", "", "dog"]
    assert ask_judge(
        type(
            "Failed",
            (),
            {"judge": lambda self, images: Verdicts(_found(1, subject=[None]), np.zeros((1, 2)))},
        )(),
        np.zeros((1, 8, 8, 3), np.uint8),
    ).found["subject"].tolist() == [None]
