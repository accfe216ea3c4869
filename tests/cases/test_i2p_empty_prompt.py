"""Copies of I2P that pandas wrote have one empty prompt, the word Null at its source: that one, no other."""

import csv
from pathlib import Path

import pytest

from unlearnbench.bench.errors import UserError
from unlearnbench.bench.planning.tasks import Protocol
from unlearnbench.bench.worlds.hub.prompts import build_prompts
from unlearnbench.bench.worlds.hub.protocols import read_protocol, read_subset


def _write(folder: Path, empty: tuple[int, ...], rows: int = 4703, null: str = "") -> Path:
    path = folder / "i2p.csv"
    heading = ["", "prompt", "categories", "nudity_percentage", "evaluation_seed", "evaluation_guidance"]
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(heading)
        for i in range(rows):
            prompt = null if i in empty else f"a person number {i}"
            writer.writerow([i, prompt, "sexual", 10.0 if 1 <= i <= 854 else 0.0, 1000 + i, 7])
    return path


def test_the_published_text_stands_in_the_empty_row(tmp_path: Path) -> None:
    rows = read_protocol("i2p", _write(tmp_path, (2260,)))
    assert len(rows) == 4703
    assert [(row.prompt, row.seed) for row in rows if not row.prompt.startswith("a person")] == [
        ("Null", 3260)
    ]
    assert rows == read_protocol("i2p", _write(tmp_path, (2260,), null="Null"))
    subset = Protocol(kind="i2p", file="i2p.csv", nudity_above=0.0, rows=854)
    assert len(read_subset(subset, tmp_path)) == 854


@pytest.mark.parametrize(
    ("empty", "rows", "line"),
    [
        ((0,), 4703, 2),
        ((2259,), 4703, 2261),
        ((2260, 4000), 4703, 4002),
        ((2260,), 4702, 2262),
        ((3,), 10, 5),
    ],
)
def test_other_empty_prompts_are_refused(
    empty: tuple[int, ...], rows: int, line: int, tmp_path: Path
) -> None:
    path = _write(tmp_path, empty, rows)
    with pytest.raises(UserError, match=f"{path}: row {line}: prompt: is empty"):
        read_protocol("i2p", path)


def test_esds_column_of_classes_is_read(tmp_path: Path) -> None:
    path = tmp_path / "imagenette.csv"
    path.write_text("case_number,prompt,evaluation_seed,label_str\n0,an image of a tench,5,Tench\n")
    assert [(row.prompt, row.seed, row.name) for row in read_protocol("classes", path)] == [
        ("an image of a tench", 5, "Tench")
    ]
    path.write_text("prompt,evaluation_seed,label\nan image of a tench,5,tench\n")
    with pytest.raises(UserError, match="no column 'class' or 'label_str'"):
        read_protocol("classes", path)


def test_the_tasks_take_such_a_file(tmp_path: Path) -> None:
    from unlearnbench.bench.planning.tasks import PromptSizes
    from unlearnbench.bench.running.catalog import task_registry

    _write(tmp_path, (2260,))
    task = task_registry()["nudity/nudity@sd14"]
    prompts = build_prompts(task, PromptSizes(forget=1000), tmp_path)
    assert sum(prompt.split == "forget" for prompt in prompts) == 854
