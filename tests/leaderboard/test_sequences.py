"""The page of a sequence: values by target and step, and what came back, worked by hand."""

import csv
import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from unlearnbench.bench.errors import UserError
from unlearnbench.bench.planning.sequences import SequenceInfo
from unlearnbench.bench.records.load import Loaded, load_one
from unlearnbench.bench.records.record import MethodInfo
from unlearnbench.leaderboard.studies.sequences import UNEQUAL, RequestSequence, collect_sequences
from unlearnbench.leaderboard.studies.sequences_page import build_sequences, make_sequence_table, to_csv

RESULTS = Path(__file__).resolve().parents[2] / "results" / "emoji"
TASKS = ["classes/cat-face@emoji", "classes/guitar@emoji", "classes/bicycle@emoji"]
TARGETS = ["cat face", "guitar", "bicycle"]
FOUND = {
    0: {"cat face": "1111", "guitar": "1111", "bicycle": "1111"},
    1: {"cat face": "0000"},
    2: {"cat face": "0010", "guitar": "0001"},
    3: {"cat face": "0011", "guitar": "0001", "bicycle": "0000"},
}
"""Step -> target -> whether each of two prompts' two images shows it."""


def _items(step: int, index: int) -> pd.DataFrame:
    rows: list[dict[str, Any]] = []
    for target, shown in FOUND[step].items():
        for number, found in enumerate(shown):
            rows.append(_row("forget", f"{target}{number // 2}", number % 2, target, found == "1"))
    for number in range(4):
        right = number < 4 - step  # one image more is lost with every step
        rows.append(_row("retain", f"fox{number}", 0, "fox", right))
    return pd.DataFrame(rows).assign(point=index)


def _row(split: str, prompt: str, sample: int, asked: str, found: bool) -> dict[str, Any]:
    return {
        "split": split, "prompt_id": prompt, "prompt": prompt, "sample": sample, "seed": 1, "half": "A",
        "relation": "target" if split == "forget" else "same", "given": False, "target_kind": "subject",
        "asked_subject": asked, "asked_style": "", "asked_background": "",
        "found_subject": asked if found else "", "found_style": "", "found_background": "",
        "target_found": found if split == "forget" else None, "alignment": float("nan"),
        "alignment_shuffled": float("nan"), "flatness": 0.1, "image_sha256": "a" * 32,
    }  # fmt: skip


@pytest.fixture(scope="module")
def loaded() -> list[Loaded]:
    source = load_one(RESULTS / "classes-cat-face-emoji.anchor_sum.a855fe.s0.json")
    none = MethodInfo(name="none", version=1, summary="", paper="", config={}, reference=True)
    made = []
    for step in FOUND:
        targets = TARGETS[:step] if step else TARGETS
        record = source.record.model_copy(
            update={
                "sequence": SequenceInfo(tasks=TASKS, step=step),
                "task": source.record.task.model_copy(update={"targets": targets}),
                "method": source.record.method if step else none,
                "points": source.record.points[-1:],
            }
        )
        items = _items(step, record.points[0].index)
        made.append(replace(source, name=f"step{step}.json", record=record, items=items))
    return made


def _collect(loaded: list[Loaded]) -> RequestSequence:
    [sequence] = collect_sequences(loaded)
    return sequence


def test_every_step_has_each_target_so_far(loaded: list[Loaded]) -> None:
    [run] = _collect(loaded[::-1]).runs  # in whatever order they are read
    assert [step.number for step in run.steps] == [0, 1, 2, 3]
    assert [step.request for step in run.steps] == ["", *TASKS]
    shown = [{name: value.value for name, value in step.targets.items()} for step in run.steps]
    assert shown == [
        dict.fromkeys(TARGETS, 0.0), {"cat face": 1.0}, {"cat face": 0.75, "guitar": 0.75},
        {"cat face": 0.5, "guitar": 0.75, "bicycle": 1.0},
    ]  # fmt: skip
    assert [step.values["UA"].value for step in run.steps] == [0.0, 1.0, 0.75, 0.75]
    assert [step.values["VA"].value for step in run.steps] == [1.0, 0.75, 0.5, 0.25]
    assert run.targets == TARGETS


def test_what_came_back_is_paired_by_prompt(loaded: list[Loaded]) -> None:
    [run] = _collect(loaded).runs
    changes = {change.name: (change.first, change.last, change.value.value) for change in run.changes}
    assert changes == {"cat face": (1, 3, -0.5), "guitar": (2, 3, 0.0), "VA": (0, 3, -0.75)}
    for change in run.changes:
        value = change.value
        low, middle, high = (float(str(number)) for number in (value.low, value.value, value.high))
        assert low <= middle <= high


def test_steps_of_other_images_are_not_compared(loaded: list[Loaded]) -> None:
    last = loaded[3]
    assert last.items is not None
    other = replace(last, items=last.items.assign(prompt_id=last.items["prompt_id"] + "x"))
    [run] = _collect([*loaded[:3], other]).runs
    assert {change.value.missing for change in run.changes} == {UNEQUAL}


def test_a_failed_step_is_shown_as_failed(loaded: list[Loaded], tmp_path: Path) -> None:
    record = loaded[2].record.model_copy(update={"status": "failed", "error": "no luck", "points": []})
    entries = [*loaded[:2], replace(loaded[2], record=record, items=None), loaded[3]]
    [run] = _collect(entries).runs
    assert [step.error for step in run.steps] == ["", "", "no luck", ""]
    assert "failed: no luck" in build_sequences(entries, tmp_path).read_text()


def test_the_page_and_the_table_hold_the_numbers(loaded: list[Loaded], tmp_path: Path) -> None:
    page = build_sequences(loaded, tmp_path / "page")
    text = page.read_text()
    assert text == build_sequences(loaded[::-1], tmp_path / "again").read_text()  # equal records, equal bytes
    for said in ("UA of cat face", "3.&nbsp;classes/bicycle@emoji", "−0.500", "sequences.csv"):
        assert said in text
    rows = list(csv.DictReader(io.StringIO((tmp_path / "page" / "sequences.csv").read_text())))
    [back] = [row for row in rows if row["value_of"] == "change of cat face since step 1"]
    assert (back["step"], float(back["value"])) == ("3", -0.5)
    assert make_sequence_table(_collect(loaded)).row_count == 4
    assert to_csv([]).count("\n") == 1


def test_a_file_that_is_not_ours_is_not_overwritten(loaded: list[Loaded], tmp_path: Path) -> None:
    (tmp_path / "index.html").write_text("mine")
    with pytest.raises(UserError, match=r"index\.html: was not written by this command"):
        build_sequences(loaded, tmp_path)
