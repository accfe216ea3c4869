"""A folder of records is read whole or not at all, and a broken file is named with its field."""

import json
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from unlearnbench.bench.errors import UserError
from unlearnbench.bench.records.load import load, load_together

from ..leaderboard.synthetic import make_sheet, write, write_failed


def edit(path: Path, change: Callable[[dict], None]) -> None:
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def test_reads_records_with_items_and_sheets(tmp_path: Path) -> None:
    write(tmp_path, "none")
    write(tmp_path, "balanced")
    write_failed(tmp_path, "out of memory")
    found = load(tmp_path)
    assert [(entry.record.method.name, entry.record.status) for entry in found] == [
        ("balanced", "ok"),
        ("balanced", "failed"),
        ("none", "ok"),
    ]
    assert found[0].items is not None
    assert len(found[0].items) == 4 * 168
    assert found[0].sheet == (tmp_path / found[0].name).with_suffix(".webp").read_bytes()
    assert found[1].items is None
    assert found[1].sheet is None


def test_a_folder_without_records_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no records"):
        load(tmp_path)
    with pytest.raises(UserError, match="no such folder"):
        load(tmp_path / "nowhere")


def set_nan(content: dict) -> None:
    content["points"][1]["values"]["VA"]["low"] = float("nan")


def set_log(content: dict) -> None:
    content["log"]["cos"] = [float("inf")] * 160


def shorten_log(content: dict) -> None:
    content["log"]["cos"].pop()


def repeat_index(content: dict) -> None:
    content["points"][1]["index"] = 0


def drop_points(content: dict) -> None:
    content["points"] = []


@pytest.mark.parametrize(
    ("change", "field"),
    [
        (lambda content: content.pop("seed"), "seed"),
        (lambda content: content["task"].update(family=3), "task.family"),
        (lambda content: content.update(cell="another"), "cell"),
        (set_nan, "points.1.values.VA"),
        (set_log, "log.cos"),
        (shorten_log, "log"),
        (repeat_index, "points"),
        (drop_points, "points"),
    ],
)
def test_a_broken_record_is_named_with_its_field(
    tmp_path: Path, change: Callable[[dict], None], field: str
) -> None:
    write(tmp_path, "none")
    broken = write(tmp_path, "balanced")
    edit(broken, change)
    with pytest.raises(UserError) as caught:
        load(tmp_path)
    assert f"{broken}: {field}: " in str(caught.value)


@pytest.mark.parametrize("suffix", [".json", ".parquet", ".webp"])
def test_a_torn_file_is_named(tmp_path: Path, suffix: str) -> None:
    torn = write(tmp_path, "balanced").with_suffix(suffix)
    torn.write_bytes(torn.read_bytes()[:100])
    with pytest.raises(UserError, match=torn.name):
        load(tmp_path)


@pytest.mark.parametrize("suffix", [".parquet", ".webp"])
def test_a_lacking_file_is_named(tmp_path: Path, suffix: str) -> None:
    lacking = write(tmp_path, "balanced").with_suffix(suffix)
    lacking.unlink()
    with pytest.raises(UserError, match=f"{lacking.name}: missing"):
        load(tmp_path)


def test_items_of_another_run_are_refused(tmp_path: Path) -> None:
    file = write(tmp_path, "balanced").with_suffix(".parquet")
    items = pd.read_parquet(file)
    items.loc[0, "found_style"] = "noto"
    items.to_parquet(file, index=False)
    with pytest.raises(UserError, match="digest differs"):
        load(tmp_path)


def test_a_sheet_of_another_shape_is_refused(tmp_path: Path) -> None:
    import numpy as np

    file = write(tmp_path, "balanced").with_suffix(".webp")
    file.write_bytes(make_sheet(3, 8, np.random.default_rng(0)))
    with pytest.raises(UserError, match="not 4 rows of 8 square tiles"):
        load(tmp_path)


def test_folders_are_read_together_and_a_reference_stands_once(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        write(tmp_path / folder, "none")
    write(tmp_path / "b", "balanced")
    found = load_together([tmp_path / "a", tmp_path / "b"])
    assert [entry.record.method.name for entry in found] == ["none", "balanced"]


def test_two_records_of_one_name_are_refused(tmp_path: Path) -> None:
    write(tmp_path / "a", "balanced")
    path = write(tmp_path / "b", "balanced")
    edit(path, lambda record: record.update(suite="another"))
    with pytest.raises(UserError, match=r"holds another record of this name"):
        load_together([tmp_path / "a", tmp_path / "b"])
