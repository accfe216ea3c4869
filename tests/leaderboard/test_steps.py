"""Shares of training steps that raise neither loss: by hand, and counted again from published records."""

import csv
import io
from pathlib import Path

import pytest

from unlearnbench.bench.cli.main import main
from unlearnbench.bench.records.record import Record, read_record
from unlearnbench.bench.records.statements import list_records
from unlearnbench.leaderboard.studies.steps import StepShares, measure_steps, steps_to_csv, summarise_steps

from .synthetic import make_record

RESULTS = Path(__file__).resolve().parents[2] / "results"
FORGET = [-1.0, 0.0, 2.0, -3.0, -1.0]
RETAIN = [-1.0, 0.0, -1.0, 4.0, None]


def _logged(**log: list[float | None]) -> Record:
    return make_record("balanced", 0)[0].model_copy(update={"log": log})


def _shares(**config: object) -> StepShares:
    record = _logged(update_dot_forget=[-1.0, 1.0], update_dot_retain=[-1.0, 1.0])
    method = record.method.model_copy(update={"config": config})
    record = record.model_copy(update={"method": method})
    found = measure_steps(record)
    assert found is not None
    return found


def test_shares_by_hand() -> None:
    losses = [float(n) for n in range(30)]
    found = measure_steps(_logged(update_dot_forget=FORGET, update_dot_retain=RETAIN, forget_loss=losses))
    assert found is not None
    assert found.steps == 5
    assert (found.neither, found.forget, found.retain, found.idle) == (0.4, 0.8, 0.6, 0.2)
    assert found.losses == (1.0, 14.0, 28.0), "means of steps 0-2, 13-15 and 27-29"


def test_a_record_without_inner_products_has_no_shares() -> None:
    assert measure_steps(_logged(forget_loss=[1.0])) is None
    assert measure_steps(_logged(update_dot_forget=[-1.0])) is None


def test_rows_are_named_by_the_settings_that_differ() -> None:
    found = [_shares(lam=1.0, rate=1e-4, diagnostics=True), _shares(lam=2.0, rate=1e-4)]
    rows = summarise_steps(found)
    assert [(row.settings, row.family) for row in rows] == [
        ("lam 1.0", "classes"), ("lam 1.0", "all"), ("lam 2.0", "classes"), ("lam 2.0", "all"),
    ]  # fmt: skip
    assert [row.neither for row in rows] == [0.5] * 4
    assert [row.settings for row in summarise_steps(found[:1])] == ["", ""]
    assert summarise_steps(found[:1] * 3)[1].runs == 3


def test_csv_has_a_line_a_run() -> None:
    lines = list(csv.DictReader(io.StringIO(steps_to_csv([_shares(lam=1.0), _shares(lam=2.0)]))))
    assert [line["neither"] for line in lines] == ["0.5", "0.5"]
    assert lines[0]["forget_loss_last"] == "nan"


def test_published_records_agree_with_a_plain_count(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = list_records(RESULTS / "trial-tuning")
    paths = [path for path in found if path.match("classes-*.gradient_sum.*.json")][:2]
    out = tmp_path / "steps.csv"
    assert main(["steps", *map(str, paths), "--out", str(out)]) == 0
    assert "gradient_sum" in capsys.readouterr().out
    for line, path in zip(csv.DictReader(out.open()), paths, strict=True):
        log = read_record(path).log
        pairs = list(zip(log["update_dot_forget"], log["update_dot_retain"], strict=True))
        assert float(line["neither"]) == sum(f <= 0 and r <= 0 for f, r in pairs) / len(pairs)


def test_a_folder_without_inner_products_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    found = list_records(RESULTS / "emoji")
    path = next(path for path in found if path.match("classes-cat-face-emoji.none.*.json"))
    assert main(["steps", str(path)]) == 2
    assert f"{path}: no record has the inner products" in capsys.readouterr().err
