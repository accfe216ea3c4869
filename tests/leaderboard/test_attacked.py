"""What attacks bring back: the columns of a model, by hand, on attacked records that are made up."""

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest

import unlearnbench as ub
from unlearnbench.bench.cli.main import main
from unlearnbench.bench.errors import UserError
from unlearnbench.bench.records.load import load, load_one
from unlearnbench.bench.records.record import items_digest, read_items, read_record, write_record
from unlearnbench.bench.stats.hidden import join
from unlearnbench.leaderboard.pages.attacked import make_attack_tables, render_attacks
from unlearnbench.leaderboard.pages.contents import read_contents
from unlearnbench.leaderboard.ranking.attacked import AttackReport, read_attacked
from unlearnbench.leaderboard.ranking.board_columns import BOARD, Around

Shown = dict[str, Sequence[int]]
SUITE = """
name = "attacked"
tasks = ["classes/cat-face@tiny"]
[sizes]
forget = 4
forget_samples = 1
retain_same = 2
retain_other = 2
retain_given = 2
indirect = 0
[[methods]]
name = "none"
[[attacks]]
name = "best-of-n"
config = { budget = 0 }
[[attacks]]
name = "unquantise"
config = { budget = 0 }
[[attacks]]
name = "relearn"
config = { budget = 3, checkpoints = [1], images = 2, batch = 2 }
"""


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a record of `none` and its attacked records."""
    folder = tmp_path_factory.mktemp("attacked")
    suite = folder / "suite.toml"
    suite.write_text(SUITE)
    ub.run(suite, out=folder / "runs", store=folder / "store", threads=1, device="cpu")
    return folder / "runs"


Write = Callable[..., Path]


@pytest.fixture
def write(measured: Path, tmp_path: Path) -> Write:
    """Return write(row, attack, after=..., before=...): an attacked record with 1 where an image is without
    the target; prompts in the order of their halves, A first."""
    folder = tmp_path / "records"
    (folder / "attacked").mkdir(parents=True)
    for path in measured.glob("*.json"):
        shutil.copy(path, folder)
        shutil.copy(path.with_suffix(".parquet"), folder)
        shutil.copy(path.with_suffix(".webp"), folder)

    def make(
        row: str,
        attack: str,
        after: Sequence[int],
        before: Sequence[int] = (1, 1, 1, 1),
        task: str = "classes/cat-face@tiny",
        **info: Any,
    ) -> Path:
        [path] = (measured / "attacked").glob(f"*.{attack}.*.json")
        record = read_record(path)
        items = read_items(path, record)
        assert items is not None
        assert record.attack is not None
        items = pd.concat([_pose(items[items["point"] == n], gone) for n, gone in enumerate((before, after))])
        items = items.reset_index(drop=True)
        record = record.model_copy(
            update={
                "cell": f"{task.replace('/', '-')}.{row}.{attack}.{len(list(folder.rglob('*.json')))}",
                "items_sha256": items_digest(items),
                "points": record.points[:2],
                "task": record.task.model_copy(update={"id": task}),
                "method": record.method.model_copy(update={"name": row}),
                "attack": record.attack.model_copy(update={"of": "", "curve": [], **info}),
            }
        )
        return write_record(record, items, None, folder / "attacked", seal=True)

    return make


def _pose(rows: pd.DataFrame, gone: Sequence[int]) -> pd.DataFrame:
    rows = rows.sort_values(["prompt_id", "sample"]).head(4).copy()
    rows["half"] = ["A", "A", "B", "B"]
    rows["target_found"] = [not one for one in gone]
    return rows


def read(folder: Path) -> AttackReport:
    return read_attacked([folder], [])


def test_the_columns_of_a_model_by_hand(write: Write, tmp_path: Path) -> None:
    for row in ("uce", "retrain"):
        write(row, "unquantise", after=[0, 0, 1, 1] if row == "uce" else [1, 1, 1, 0])
        write(row, "relearn", after=[1, 0, 1, 0] if row == "uce" else [1, 1, 1, 1])
        write(row, "best-of-n", after=[0, 0, 0, 1])
    report = read(tmp_path / "records")
    assert report.rows == ["retrain", "uce"]
    assert report.competing == ["relearn", "unquantise"]
    [uce] = report.summarise(["uce"])
    # unquantise is lowest on A (0) and reads 1, 1 on B; relearn is lowest on B (1/2) and reads 1, 0 on A
    assert uce.chosen == {"classes/cat-face@tiny": ("unquantise", "relearn")}
    assert uce.values["UA_strongest"].value == 0.75
    assert uce.values["UA_best_of_n"].value == 0.25
    # retrain: relearn is the first of equals on A and reads 1, 1 on B; unquantise is lowest on B, reads 1, 1
    assert uce.values["hidden"].value == pytest.approx((1 - 0.75) - (1 - 1))
    assert uce.values["hidden"].low is None
    [absent] = report.summarise(["esd_x"])
    assert {value.missing for value in absent.values.values()} == {"no attack was run on it"}


def test_hidden_pairs_the_concepts(write: Write, tmp_path: Path) -> None:
    tasks = {"classes/cat-face@tiny": [0, 0, 0, 0], "classes/guitar@tiny": [1, 1, 0, 0]}
    for task, gone in tasks.items():
        write("uce", "unquantise", after=gone, task=task)
        write("retrain", "unquantise", after=[1, 1, 1, 1], task=task)
    write("spm", "unquantise", after=[1, 1, 1, 1])
    report = read(tmp_path / "records")
    uce, spm = report.summarise(["uce", "spm"])
    assert uce.values["hidden"].value == pytest.approx((1 + 0.5) / 2)
    assert uce.values["hidden"].n == 2
    assert uce.values["UA_strongest"].value == pytest.approx(0.25)
    assert "classes/guitar@tiny" in str(spm.values["UA_strongest"].missing)


def test_an_attack_that_was_not_run_on_a_model_is_missing_there(write: Write, tmp_path: Path) -> None:
    write("uce", "unquantise", after=[1, 1, 1, 1])
    write("spm", "unquantise", after=[1, 1, 1, 1])
    write("spm", "relearn", after=[1, 1, 1, 1])
    report = read(tmp_path / "records")
    uce, spm = report.summarise(["uce", "spm"])
    assert uce.values["UA_strongest"].missing == "relearn was not run on uce, seed 0"
    assert spm.values["UA_strongest"].value == 1.0
    assert spm.values["hidden"].missing == "no attack was run on retrain, on classes/cat-face@tiny"
    assert "not run on retrain" in report.controls("classes/cat-face@tiny")[0]


def test_attacks_are_named_by_what_tells_them_apart(write: Write, tmp_path: Path) -> None:
    config = {"budget": 3, "images": 1}
    write("uce", "relearn", after=[1, 1, 1, 1], config=config)
    write("uce", "relearn", after=[1, 1, 1, 1], config={**config, "images": 4})
    write("uce", "unquantise", after=[1, 1, 1, 1])
    assert read(tmp_path / "records").attacks == ["relearn images=1", "relearn images=4", "unquantise"]
    write("uce", "unquantise", after=[1, 1, 1, 1])
    with pytest.raises(UserError, match="the same attack on the same model"):
        read(tmp_path / "records")


def test_an_attack_on_another_record_is_left_out(write: Write, tmp_path: Path) -> None:
    path = write("uce", "unquantise", after=[1, 1, 1, 1], of="0" * 64)
    report = read(tmp_path / "records")
    assert report.stale == (path.name,)
    assert not report.models


def test_the_columns_stand_on_a_board_ordered_by_h(write: Write, tmp_path: Path) -> None:
    for row in ("uce", "retrain"):
        write(row, "unquantise", after=[1, 1, 0, 0] if row == "uce" else [1, 1, 1, 1])
    report = read(tmp_path / "records")
    around = Around(ranks={}, claimed={}, equal_ua={}, attacks={}, tasks=3, rival="", attacked=report)
    columns = {column.name: column for column in BOARD if column.is_there(around)}
    uce: Any = SimpleNamespace(name="uce")
    hidden = columns["hidden"].read(uce, around)
    assert (hidden.number, hidden.small) == (0.5, "on 1 of 3 concepts")
    assert columns["UA_strongest"].read(uce, around).number == 0.5
    assert "UA_best_of_n" not in columns  # that attack was run on no model
    absent: Any = SimpleNamespace(name="esd_x")
    assert columns["UA_strongest"].read(absent, around).missing == "no attack was run on it"
    plain = replace(around, attacked=report.of_tasks([]))
    assert not {"hidden", "UA_strongest"} & {column.name for column in BOARD if column.is_there(plain)}


def test_best_of_n_has_a_column_only_where_it_was_run(write: Write, tmp_path: Path) -> None:
    for row in ("uce", "retrain"):
        write(row, "unquantise", after=[1, 1, 0, 0])
    shown = "UA best of n"
    assert shown not in [c.header for c in make_attack_tables(read(tmp_path / "records"))[-1].columns]
    assert shown not in render_attacks(read(tmp_path / "records"), {}, [], 2)
    write("uce", "best-of-n", after=[0, 0, 0, 1])
    assert shown in [c.header for c in make_attack_tables(read(tmp_path / "records"))[-1].columns]
    assert shown in render_attacks(read(tmp_path / "records"), {}, [], 2)


def test_a_missing_concept_makes_a_mean_missing() -> None:
    from unlearnbench.bench.types import Value, missing

    assert join([Value(value=1.0), missing("no")]).missing == "no"
    assert join([Value(value=0.25), Value(value=0.75)]).value == 0.5


def test_the_page_and_the_tables(measured: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["hidden", str(measured), "--out", str(tmp_path / "page")]) == 0
    said = capsys.readouterr().out
    assert "unquantise" in said
    assert "not run on retrain" in said
    page = (tmp_path / "page" / "attacks.html").read_text()
    assert "Gone, or only hidden?" in page
    assert "UA under relearn over the steps of the attack" in page
    assert "attacks.html" in (tmp_path / "page" / "index.html").read_text()
    contents = read_contents(measured)
    [path] = (measured / "attacked").glob("*.relearn.*.json")
    record = load_one(path).record
    assert record.attack is not None
    model = contents.beside.attacked.find("classes/cat-face@tiny", "none")
    assert model is not None
    ua = [point.values["UA"].value for point in record.points]
    assert model.curve("relearn") == [(0.0, ua[0]), (1.0, ua[2]), (3.0, ua[1])]


def test_a_folder_without_attacks_says_how_to_make_some(
    measured: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "plain"
    folder.mkdir()
    for path in measured.glob("*.*"):
        shutil.copy(path, folder)
    assert main(["hidden", str(folder)]) == 2
    assert "unlearnbench attack RECORD" in capsys.readouterr().err
    assert main(["leaderboard", str(folder), "--out", str(tmp_path / "page")]) == 0
    assert not (tmp_path / "page" / "attacks.html").exists()
    assert "attacks.html" not in (tmp_path / "page" / "index.html").read_text()
    json.loads(next(folder.glob("*.json")).read_text())


def test_the_retrained_models_of_two_kinds_of_tasks_are_one_control() -> None:
    """Published records: cat face and openmoji each have a retrained model, and every attack met both."""
    folder = Path(__file__).resolve().parents[2] / "results" / "attacks"
    report = read_attacked([folder], [entry.digest for entry in load(folder)])
    assert [row for row in report.rows if row.startswith("retrain")] == ["retrain"]
    assert not {"noise-inversion", "best-of-n", "probe"} & set(report.competing)
    (control,) = report.summarise(["retrain"])
    strongest = control.values["UA_strongest"].value
    assert strongest == pytest.approx((0.29 + 0.875) / 2, abs=0.02), "relearning, of the two tasks"
    for task in report.models:
        said = report.controls(task)
        assert any(line.startswith("noise-inversion: proves nothing") for line in said)
