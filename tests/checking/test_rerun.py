"""`rerun` repeats a record from what it states, in a store of its own, and appends what came of it."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from unlearnbench.bench.checking.agreement import compare_records
from unlearnbench.bench.checking.known import make_known
from unlearnbench.bench.checking.repeat import find_cell
from unlearnbench.bench.checking.validate import validate
from unlearnbench.bench.cli.main import main
from unlearnbench.bench.records.load import load_one
from unlearnbench.bench.records.record import (
    copy_record,
    items_digest,
    read_items,
    read_record,
    record_digest,
    write_record,
)
from unlearnbench.bench.running.runner import Runner

RESULTS = Path(__file__).resolve().parents[2] / "results" / "emoji"
SMALL = {"steps": 2, "checkpoints": [1, 2], "batch": 4}


@pytest.mark.parametrize("method", ["none", pytest.param("finetune", marks=pytest.mark.slow)])
def test_a_record_is_repeated_to_the_last_digit_and_a_false_one_found(
    make_runner: Callable[..., Runner],
    make_cell: Any,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    method: str,
) -> None:
    cell = make_cell(method=method, **(SMALL if method != "none" else {}))
    declared = cell.suite.model_copy(update={"headline": "H", "declaration_sha256": "a" * 64})
    row = cell.row.model_copy(update={"label": "paper" if method == "finetune" else ""})
    [made] = make_runner().run([replace(cell, suite=declared, row=row)])
    known = make_known()
    assert {check.state for check in validate(made.path, known)} <= {"passed", "unchecked"}
    out = tmp_path / "again"
    command = ["rerun", str(made.path), "--out", str(out), "--threads", "1"]
    assert main(command) == 0
    said = capsys.readouterr().out
    assert "agrees; 100.0% of the images are the same" in said
    [statement] = (made.path.parent / "statements").glob("*.rerun.json")
    content = json.loads(statement.read_text())
    [again] = out.glob("*.json")
    assert content["about"] == record_digest(read_record(made.path))
    assert content["rerun"] == load_one(again).digest
    assert (read_record(again).headline, read_record(again).declaration) == ("H", "a" * 64)
    assert (again.stem, read_record(again).method.label) == (made.path.stem, row.label)
    assert {number["state"] for number in content["numbers"]} == {"equal"}
    lie(made.path)
    assert "failed" in {check.state for check in validate(made.path, known)}
    assert main(command) == 1
    assert "differs" in capsys.readouterr().out


def lie(path: Path) -> None:
    """Make a record claim that its last point forgot everything, its item rows and digests in keeping."""
    record = read_record(path)
    items = read_items(path, record)
    assert items is not None
    forget = (items["split"] == "forget") & (items["point"] == record.points[-1].index)
    items.loc[forget, "target_found"] = False
    items.loc[forget, "found_subject"] = ""
    last = record.points[-1]
    ua = last.values["UA"].model_copy(update={"value": 1.0})
    last = last.model_copy(update={"values": {**last.values, "UA": ua}})
    change = {"points": [*record.points[:-1], last], "items_sha256": items_digest(items)}
    write_record(record.model_copy(update=change), items, None, path.parent)


def test_a_published_record_leads_back_to_its_own_cell() -> None:
    known = make_known()
    for name in ("nudity-alcohol-emoji.gradient_sum.85284e.s0", "styles-3d-emoji.anchor_sum.a855fe.s2"):
        entry = load_one(RESULTS / f"{name}.json")
        record, items = entry.record, entry.items
        assert items is not None
        world, suite = known.open_world("emoji"), known.find_suite(record.suite)
        cell = find_cell(record, items, known.tasks, known.methods, world, suite)
        assert cell.stem == record.cell
        assert cell.build_config().model_dump(mode="json").items() >= record.method.config.items()
        assert (cell.seed, cell.suite.unscored_below, cell.has_sheet) == (
            record.seed, suite.unscored_below, bool(record.sheet),
        )  # fmt: skip
        assert cell.row.shown == next((p.step for p in record.points if p.shown), 0)


def test_a_stated_value_that_its_rows_do_not_give_never_agrees() -> None:
    """Honest rows under a false number: the paired rows agree, the number is a lie all the same."""
    honest = load_one(RESULTS / "nudity-alcohol-emoji.gradient_sum.85284e.s0.json")
    assert compare_records(honest, honest, 0.02).verdict == "agrees"
    last = honest.record.points[-1]
    for name in ("VA", "AS"):
        value = last.values[name].model_copy(update={"value": 1.0})
        false = last.model_copy(update={"values": {**last.values, name: value}})
        record = honest.record.model_copy(update={"points": [*honest.record.points[:-1], false]})
        agreement = compare_records(replace(honest, record=record), honest, 0.02)
        assert agreement.verdict == "differs"
        assert [n.metric for n in agreement.numbers if n.state == "differs"] == [name]


@pytest.mark.parametrize(
    ("field", "value"),
    [("threads", "abc"), ("threads", True), ("threads", 10**9), ("device", "cpu; x"), ("device", 7)],
)
def test_a_claims_own_device_and_threads_are_checked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], field: str, value: Any
) -> None:
    source = RESULTS / "nudity-alcohol-emoji.none.f76e7d.s0.json"
    copy_record(source, tmp_path)
    path = tmp_path / source.name
    content = json.loads(path.read_text())
    content["environment"][field] = value
    path.write_text(json.dumps(content))
    assert main(["rerun", str(path), "--out", str(tmp_path / "again")]) == 3
    said = capsys.readouterr().err
    assert f"environment.{field}: " in said
    assert said.count("\n") == 1


def test_what_cannot_be_repeated_is_status_three(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["rerun", str(tmp_path / "none.json")]) == 3
    assert "no such record" in capsys.readouterr().err
