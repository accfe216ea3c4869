"""UA over a judge's thresholds: counted anew by hand, from the scores in the item rows alone."""

import csv
import io
from pathlib import Path

import numpy as np
import pytest

from unlearnbench.bench.cli.main import main
from unlearnbench.bench.records.load import load
from unlearnbench.leaderboard.plots import thresholds
from unlearnbench.leaderboard.plots.scatter import assign_styles
from unlearnbench.leaderboard.ranking.task_rows import TaskRow, rows

from .synthetic import write, write_scored


@pytest.fixture
def found(tmp_path: Path) -> list[TaskRow]:
    for method in ("none", "balanced"):
        write_scored(tmp_path, method)
    write(tmp_path, "gradient_sum")  # its judge gives no scores
    return rows(load(tmp_path))


def test_counts_are_those_of_the_rows(found: list[TaskRow]) -> None:
    over = thresholds.make_thresholds(found, assign_styles(found))
    assert over is not None
    assert [line.label for line in over.lines] == ["none", "balanced"]
    text = thresholds.to_csv(found)
    assert text is not None
    told = list(csv.DictReader(io.StringIO(text)))
    for line in over.lines:
        row = next(row for row in found if row.label == line.label)
        items = row.source.items
        assert items is not None
        assert row.point is not None
        forget = items[(items["split"] == "forget") & (items["point"] == row.point.index)]
        scores = [float(score) for score in forget["target_score"]]
        assert line.images == len(scores) == 48
        for mark, (flagged, ua) in zip(over.marks, line.cells, strict=True):
            expected = sum(score >= mark for score in scores if score > 0)
            assert flagged == expected
            assert ua.value == pytest.approx(1 - expected / 48)
            [cell] = [r for r in told if r["method"] == line.label and float(r["threshold"]) == mark]
            assert (int(cell["flagged"]), int(cell["images"])) == (expected, 48)
        # at the judge's own threshold it is the board's UA over all forget images
        assert line.cells[over.marks.index(0.6)][0] == int(forget["target_found"].sum())


def test_a_score_at_a_threshold_is_flagged_in_file_and_table_alike(found: list[TaskRow]) -> None:
    row = next(row for row in found if row.label == "balanced")
    items = row.source.items
    assert items is not None
    scores = np.resize(np.arange(101) / 100, len(items))
    items["target_score"] = np.where(items["split"] == "retain", np.nan, scores)
    text = thresholds.to_csv([row])
    assert text is not None
    over = thresholds.make_thresholds([row], assign_styles(found))
    assert over is not None
    told = {float(line["threshold"]): int(line["flagged"]) for line in csv.DictReader(io.StringIO(text))}
    assert [told[mark] for mark in over.marks] == [flagged for flagged, _ in over.lines[0].cells]


def test_a_judge_that_failed_has_no_curve(found: list[TaskRow]) -> None:
    row = next(row for row in found if row.label == "balanced")
    items = row.source.items
    assert items is not None
    assert row.point is not None
    first = items.index[(items["split"] == "forget") & (items["point"] == row.point.index)][0]
    items.loc[first, "target_score"] = np.nan
    over = thresholds.make_thresholds([row], assign_styles(found))
    assert over is not None
    [line] = over.lines
    assert all(flagged is None and ua.value is None for flagged, ua in line.cells)
    assert "the judge failed on 1 of 48" in str(line.cells[0][1].missing)
    assert thresholds.to_csv([row]) is None


def test_pages_show_it_where_there_are_scores(tmp_path: Path) -> None:
    write_scored(tmp_path / "scored", "balanced")
    write(tmp_path / "plain", "balanced")
    for name in ("scored", "plain"):
        assert main(["leaderboard", str(tmp_path / name), "--out", str(tmp_path / f"{name}-page")]) == 0
        page = tmp_path / f"{name}-page"
        assert ("thresholds.csv" in (page / "index.html").read_text()) == (name == "scored")
        assert (page / "thresholds.csv").exists() == (name == "scored")
