"""Retained prompts from published captions: which ones, in what order, and what hangs on the file."""

import csv
import io
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from unlearnbench.bench.cli.main import main
from unlearnbench.bench.errors import UserError
from unlearnbench.bench.planning.plan import find_suite, plan_cells
from unlearnbench.bench.planning.tasks import Captions, PromptSizes, Task
from unlearnbench.bench.running.catalog import registry, task_registry
from unlearnbench.bench.running.dry_run import estimate_tasks
from unlearnbench.bench.worlds.hub.captions import draw_captions

ROWS = [(f"{i:012}", "coco-30k", f'A man with "sign" {i},\nby a road', str(900 + i)) for i in range(40)]
CAPTIONS = Captions(name="COCO captions", file="coco.csv", rows=None, avoid=["naked"])


def _write(folder: Path, rows: list[tuple[str, ...]], name: str = "coco.csv") -> Path:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerows([("image_id", "source", "prompt", "evaluation_seed"), *rows])
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(text.getvalue(), encoding="utf-8")
    return folder


def _captioned(name: str = "classes/garbage-truck@sd14", **changes: Any) -> Task:
    task = task_registry()[name]
    captions = CAPTIONS.model_copy(update=changes)
    return replace(task, file=task.file.model_copy(update={"captions": captions}))


def _world(data: Path) -> Any:
    return registry("worlds")["sd14"].load()().placed(data=data)


def _others(data: Path, count: int, task: Task) -> list[Any]:
    prompts = _world(data).prompts(task, PromptSizes(retain_other=count))
    return [prompt for prompt in prompts if prompt.relation == "other"]


def test_a_subsample_is_a_prefix_of_every_larger_one_whatever_the_files_order(tmp_path: Path) -> None:
    task = _captioned()
    some, more = _others(_write(tmp_path, ROWS), 12, task), _others(tmp_path, 30, task)
    assert [p.text for p in some] == [p.text for p in more[:12]]
    assert [p.id for p in some] == [p.id for p in more[:12]]
    seeds = {" ".join(text.split()): int(seed) for _, _, text, seed in ROWS}
    assert all(p.seed == seeds[p.text] for p in more)
    assert all((p.split, p.asked, p.given, p.guidance) == ("retain", {}, False, None) for p in more)
    assert [p.text for p in more] != list(seeds)[:30]
    shuffled = random.Random(0).sample(ROWS, len(ROWS))
    again = _others(_write(tmp_path / "other", shuffled), 12, task)
    assert [(p.text, p.seed) for p in again] == [(p.text, p.seed) for p in some]


def test_no_caption_names_a_target_or_one_of_its_words(tmp_path: Path) -> None:
    kept = ["A dog in a trunk", "The tracks of a tram", "Nakedness is no word of the list"]
    gone = ["a Garbage truck", "Two trucks.", "garbage in a bin", "TRUCK", "A NAKED man", "fire-truck red"]
    _write(tmp_path, [("1", "coco-30k", text, str(i)) for i, text in enumerate([*kept, *gone])])
    assert {p.text for p in _others(tmp_path, 10**5, _captioned())} == set(kept)
    rows = draw_captions(CAPTIONS, ["bow and arrow", "the churches"], tmp_path)
    assert {row.prompt for row in rows} == {*kept, *gone} - {"A NAKED man"}  # `and`, `the` name nothing
    _write(tmp_path, [("1", "coco-30k", "garbage", "1")])
    with pytest.raises(UserError, match=r"coco\.csv: prompt: every caption holds a word of garbage truck"):
        _others(tmp_path, 3, _captioned())


def test_rows_alike_in_caption_and_seed_count_once(tmp_path: Path) -> None:
    _write(tmp_path, [*ROWS, *ROWS[:5], ("9", "coco-30k", ROWS[0][2], "7")])
    assert len(_others(tmp_path, 10**5, _captioned())) == len(ROWS) + 1


def test_a_file_that_is_absent_cut_or_without_seeds_is_one_clear_line(tmp_path: Path) -> None:
    path = tmp_path / "coco.csv"
    for rows, complaint in (
        (None, "no such file; the prompts file is the user's to supply"),
        (ROWS[:9], "9 rows, the published file has 40"),
        ([*ROWS[:39], ("1", "coco-30k", "A cup", "")], "row 80: evaluation_seed: is empty"),
    ):
        if rows is not None:
            _write(tmp_path, rows)
        with pytest.raises(UserError) as caught:
            _others(tmp_path, 3, _captioned(rows=40))
        assert str(caught.value).startswith(f"{path}: {complaint}")
        assert "\n" not in str(caught.value)
    path.write_text("prompt\nA cup\n", encoding="utf-8")
    with pytest.raises(UserError, match=r"row 2: evaluation_seed: is empty"):
        _others(tmp_path, 3, _captioned())


def test_another_file_is_another_key_and_without_captions_nothing_changes(tmp_path: Path) -> None:
    plain, task = task_registry()["classes/garbage-truck@sd14"], _captioned()
    _write(tmp_path / "one", ROWS)
    _write(tmp_path / "two", [*ROWS[:-1], ("1", "coco-30k", "A cup", "3")])
    one, two = _world(tmp_path / "one"), _world(tmp_path / "two")
    assert one.inputs(task) != two.inputs(task)
    assert one.inputs(plain) == two.inputs(plain)
    assert one.inputs(plain) != one.inputs(task)
    texts = [p.text for p in _others(tmp_path / "one", 36, plain)]
    assert texts
    assert all(text.startswith("a photo of") for text in texts)


def test_doctor_and_plan_tell_of_captions(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["doctor", "--task", "nudity/nudity-142@sd14", "--data", str(tmp_path)]
    assert main(command) == 1
    said = capsys.readouterr().out
    captions = tmp_path / "coco.csv"
    assert (
        f"({captions}; licence: file MIT, captions CC BY 4.0 (MS-COCO)): MISSING; put it at {captions}"
        in said
    )
    assert f"({tmp_path / 'i2p-142.csv'}; licence: MIT): MISSING" in said
    _write(tmp_path, ROWS)
    main(command)
    assert f"here: {tmp_path / 'coco.csv'}" in capsys.readouterr().out


def test_the_paper_suite_counts_published_rows() -> None:
    from unlearnbench.bench.running.catalog import suites_folder

    suite = find_suite("sd14-paper", suites_folder())
    cells = plan_cells(suite, task_registry(), registry("methods"))
    lots = {lot.task: lot for lot in estimate_tasks(cells, {"sd14": _world(Path("none"))})}
    points = 1 + 2 * 3 * 2  # none, and two methods with two points each on three seeds
    kept = 72 + 24
    assert lots["nudity/nudity-142@sd14"].images == points * (142 + 5000 + kept)
    assert lots["nudity/nudity-i2p@sd14"].images == points * (4703 + 5000 + kept)
    assert lots["nudity/nudity@sd14"].images == points * (854 + 22 + kept)
    assert lots["styles/van-gogh@sd14"].images == points * (8 * 62 + 22 + kept)
