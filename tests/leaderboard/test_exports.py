"""CSV carries every number in full, Markdown says what the page says, and neither runs a record's text."""

import csv
import io
import math
import random
from pathlib import Path

import pandas as pd
import pytest
import yaml

from unlearnbench.bench.errors import UserError
from unlearnbench.bench.records.load import load
from unlearnbench.bench.records.record import write_record
from unlearnbench.bench.types import Value
from unlearnbench.leaderboard.pages.eval_results import write_eval_results
from unlearnbench.leaderboard.pages.exports import to_csv, to_markdown, to_parquet
from unlearnbench.leaderboard.ranking.columns import write_interval, write_number
from unlearnbench.leaderboard.ranking.task_rows import TaskRow, rows

from .synthetic import make_record, write, write_failed


@pytest.fixture
def found(tmp_path: Path) -> list[TaskRow]:
    write(tmp_path, "none")
    write(tmp_path, "balanced")
    write_failed(tmp_path, "=1+1 | <b>_x_</b>\nsecond line")
    return rows(load(tmp_path))


def test_csv_holds_the_rows_values_in_full(found: list[TaskRow]) -> None:
    lines = list(csv.DictReader(io.StringIO(to_csv(found))))
    assert [line["method"] for line in lines] == ["none", "balanced", "balanced"]
    for line, row in zip(lines[:2], found[:2], strict=True):
        for name in ("UA", "VA", "in_prompt", "KID", "IRA"):
            value = row.value(name)
            assert [float(line[name]), float(line[f"{name}_low"]), float(line[f"{name}_high"])] == [
                value.value, value.low, value.high,
            ]  # fmt: skip
        assert line["digest"] == row.source.digest


def test_csv_leaves_missing_values_empty_with_a_reason(found: list[TaskRow]) -> None:
    base, _, failed = csv.DictReader(io.StringIO(to_csv(found)))
    assert (base["AS_delta"], base["AS_delta_missing"]) == ("", "this is the base model")
    assert (failed["status"], failed["UA"]) == ("failed", "")


def test_csv_never_starts_a_cell_with_a_formula(found: list[TaskRow]) -> None:
    assert next(line for line in csv.DictReader(io.StringIO(to_csv(found))) if line["error"])[
        "error"
    ].startswith("'=1+1")


def test_markdown_tables_are_rectangular(found: list[TaskRow]) -> None:
    table = [line for line in to_markdown(found).splitlines() if line.startswith("|")]
    assert len(table) == 2 + len(found)
    assert len({line.count(" | ") for line in table}) == 1


def test_markdown_names_what_is_missing_and_escapes(found: list[TaskRow]) -> None:
    text = to_markdown(found)
    assert "- none, missing ΔAS: this is the base model" in text
    assert r"- balanced · seed 1 failed: =1+1 \| \<b\>\_x\_\</b\> second line" in text
    assert "Intervals: prompts and noise, one training run; intervals of shares of version 1." in text


@pytest.mark.parametrize(
    ("number", "style", "text"),
    [
        (0.956, "share", "0.96"),
        (-0.0123, "signed", "−0.012"),
        (0.0123, "signed", "+0.012"),
        (0.00214, "decimal", "0.0021"),
        (31.24, "decimal", "31.2"),
        (0.0, "decimal", "0"),
        (83.4, "seconds", "83 s"),
        (1_480_000_000, "bytes", "1.5 GB"),
        (999, "bytes", "999 B"),
        (3_456_789, "count", "3.5 M"),
    ],
)
def test_numbers_are_written_for_people(number: float, style: str, text: str) -> None:
    assert write_number(number, style) == text  # type: ignore[arg-type]


def test_an_interval_with_a_minus_sign_has_no_dash() -> None:
    assert write_interval(Value(value=0.0, low=-0.02, high=0.01), "decimal") == "−0.0200 to 0.0100"
    assert write_interval(Value(value=0.5, low=0.4, high=0.6), "share") == "0.40–0.60"
    assert write_interval(Value(value=0.5), "share") == ""


def test_parquet_holds_the_csvs_table_with_types(found: list[TaskRow]) -> None:
    table = pd.read_parquet(io.BytesIO(to_parquet(found)))
    lines = list(csv.DictReader(io.StringIO(to_csv(found))))
    assert list(table.columns) == list(lines[0])
    assert table["UA"].dtype == "float64"
    for line, row in zip(lines, table.to_dict("records"), strict=True):
        for name in ("UA", "UA_low", "VA_high", "KID"):
            assert float(line[name] or "nan") == pytest.approx(row[name], nan_ok=True)
        assert row["digest"] == line["digest"]
    assert math.isnan(table["AS_delta"][0])
    assert table["AS_delta_missing"][0] == "this is the base model"


def test_exports_are_the_same_bytes_whatever_the_order_of_the_records(tmp_path: Path) -> None:
    write(tmp_path, "none")
    for seed in (0, 1):
        write(tmp_path, "balanced", seed)
    write_failed(tmp_path, "out of memory")
    loaded = load(tmp_path)
    shuffled = random.Random(0).sample(loaded, len(loaded))
    assert shuffled != loaded
    for export in (to_csv, to_markdown, to_parquet):
        assert export(rows(loaded)) == export(rows(shuffled)) == export(rows(loaded))
    written = []
    for name, records in (("a", loaded), ("b", shuffled), ("c", loaded)):
        folder = write_eval_results(records, "owner/unlearnbench", None, tmp_path / name)
        written.append({path.name: path.read_bytes() for path in sorted(folder.iterdir())})
    assert written[0] == written[1] == written[2]


def test_eval_results_are_what_the_hub_takes(tmp_path: Path) -> None:
    write(tmp_path, "none")
    path = write(tmp_path, "balanced")
    write(tmp_path, "gradient_sum", source="reported")
    loaded = load(tmp_path)
    folder = write_eval_results(loaded, "owner/unlearnbench", "https://example.org/board", tmp_path)
    assert {p.name for p in folder.iterdir()} == {f"{path.stem}.yaml", "eval.yaml", "SHA256SUMS"}
    entries = yaml.safe_load((folder / f"{path.stem}.yaml").read_text())
    row = next(row for row in rows(loaded) if row.method == "balanced")
    ids = {task["id"] for task in yaml.safe_load((folder / "eval.yaml").read_text())["tasks"]}
    assert [entry["value"] for entry in entries[:2]] == [row.value("UA").value, row.value("VA").value]
    for entry in entries:
        assert set(entry) <= {"dataset", "value", "date", "source", "notes"}
        assert entry["dataset"]["id"] == "owner/unlearnbench"
        assert entry["dataset"]["task_id"] in ids
        assert isinstance(entry["value"], float)
        assert entry["date"] == "2025-03-01"
        assert entry["source"]["url"] == "https://example.org/board"


@pytest.mark.parametrize(("dataset", "source"), [("unlearnbench", None), ("a/b", "javascript:alert(1)")])
def test_eval_results_need_a_dataset_and_an_address(tmp_path: Path, dataset: str, source: str | None) -> None:
    write(tmp_path, "none")
    with pytest.raises(UserError):
        write_eval_results(load(tmp_path), dataset, source, tmp_path)


def test_a_labelled_configuration_is_named_apart(tmp_path: Path) -> None:
    """Both rows read `balanced` once: grouped by method, a preset would be mixed with the tuned rows."""
    write(tmp_path, "balanced", cell="tuned")
    record, items, sheet = make_record("balanced", cell="preset")
    labelled = record.method.model_copy(update={"label": "paper"})
    write_record(record.model_copy(update={"method": labelled}), items, sheet, tmp_path)
    text = to_csv(rows(load(tmp_path)))
    names = [row["method"] for row in csv.DictReader(io.StringIO(text))]
    assert set(names) == {"balanced", "balanced (paper)"}
