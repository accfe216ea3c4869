"""The board's page over several concepts: its rows, ties, plots, maps, strips and what it says is missing."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from unlearnbench.bench.measuring.pool import KD, Pooled, write_pooled
from unlearnbench.bench.records.load import load
from unlearnbench.bench.records.record import name_entry, read_items, read_record, write_record
from unlearnbench.bench.types import Value
from unlearnbench.leaderboard.pages.contents import read_contents
from unlearnbench.leaderboard.plots.frontiers import prompt_table
from unlearnbench.leaderboard.plots.heatmap import erased_by_retained
from unlearnbench.leaderboard.plots.scatter import assign_styles, name_styles
from unlearnbench.leaderboard.ranking.board import collect
from unlearnbench.leaderboard.ranking.board_rows import make_board_rows, tied_methods
from unlearnbench.leaderboard.ranking.declared import read_method_points
from unlearnbench.leaderboard.ranking.task_rows import rows

from .synthetic import build_page, make_record

CONCEPTS = ("ant", "bee", "cow", "dog", "elk", "fox", "gnu", "hen", "ibis")
METHODS = ("none", "placebo", "finetune", "gradient_sum", "balanced")


def _write(folder: Path, concept: str, method: str, seed: int = 0, shown: int | None = None) -> None:
    base = make_record("none")[0].task
    family = "classes" if concept < "d" else "styles"
    task = base.model_copy(update={"id": f"{family}/{concept}@emoji", "concept": concept, "family": family})
    draws = seed + 10 * CONCEPTS.index(concept)
    record, items, sheet = make_record(method, draws, cell=f"{concept}-{method}-{seed}", task=task)
    points = [p.model_copy(update={"shown": p.step == shown}) for p in record.points]
    write_record(record.model_copy(update={"seed": seed, "points": points}), items, sheet, folder)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("board")
    for concept in CONCEPTS:
        for method in METHODS:
            for seed in (0,) if method == "none" else (0, 1):
                shown = {"balanced": 120, "gradient_sum": 80}.get(method)
                _write(made, concept, method, seed, shown)
    write_pooled(made, Pooled(key="k", fd={"balanced": Value(value=0.5, low=0.4, high=0.6, n=99)}))
    return made


def test_rows_are_references_then_methods_by_ava(folder: Path) -> None:
    loaded = load(folder)
    found = make_board_rows(loaded, collect(loaded))
    assert [row.name for row in found] == ["none", "placebo", "balanced", "gradient_sum", "finetune"]
    assert found[0].summary is None
    assert found[1].summary is None
    assert found[2].summary is not None
    assert found[2].concepts == len(CONCEPTS)


def test_values_are_means_over_seeds_and_concepts_of_the_shown_point(folder: Path) -> None:
    loaded = load(folder)
    row = next(r for r in make_board_rows(loaded, collect(loaded)) if r.name == "balanced")
    # a synthetic point's value is the chance that it was drawn with: .94 at 120 steps, for every run
    assert row.value("VA").value == pytest.approx(0.94)
    assert row.value("seconds").value == pytest.approx(0.42 * 120)
    assert row.value("FD").value is None
    assert row.value("unheard").missing == "not measured in these records"


def test_one_concept_without_a_value_makes_the_mean_missing(folder: Path) -> None:
    loaded = load(folder)
    entry = next(e for e in loaded if e.record.cell == "cow-balanced-1")
    broken = [
        p.model_copy(update={"values": {**p.values, "VA": Value(value=None, missing="the judge failed")}})
        for p in entry.record.points
    ]
    record = entry.record.model_copy(update={"points": broken})
    changed = [replace(e, record=record) if e is entry else e for e in loaded]
    row = next(r for r in make_board_rows(changed, collect(changed)) if r.name == "balanced")
    assert row.value("VA").value is None
    assert "on 1 of 9 concepts: the judge failed" in str(row.value("VA").missing)


def test_ties_need_enough_concepts(folder: Path) -> None:
    results = collect(load(folder))
    ties = tied_methods(results)
    assert ties["balanced"] == ["balanced"]  # nine of one sign: p = 2/512, six pairs by Holm
    few = [row for row in results if row.task.split("/")[1][0] in "ab"]
    assert set(tied_methods(few)["balanced"]) == {"balanced", "gradient_sum"}  # no controls


def test_the_map_of_what_was_erased_is_a_plain_mean(folder: Path) -> None:
    entries = [e for e in load(folder) if name_entry(e.record) == "balanced"]
    table = erased_by_retained(entries)
    hits, asked = {}, {}
    for entry in entries:
        assert entry.items is not None
        index = next(p.index for p in entry.record.points if p.shown)
        for row in entry.items[entry.items.point == index].to_dict("records"):
            if row["split"] == "retain" and not row["given"]:
                place = (entry.record.task.id, row["asked_subject"])
                asked[place] = asked.get(place, 0) + 1
                hits[place] = hits.get(place, 0) + (row["found_subject"] == row["asked_subject"])
    assert len(asked) > 30
    for (task, subject), n in asked.items():
        assert table.loc[task, subject] == pytest.approx(hits[task, subject] / n)


def test_a_table_of_runs_and_prompts_has_the_mean_of_the_point(folder: Path) -> None:
    group = next(g for g in read_method_points(load(folder)) if g.method == "balanced")
    point = group.points[2]
    for row, name in enumerate(("UA", "VA")):
        table = prompt_table(point, name)
        assert table.shape[0] == 2
        assert table.mean() == pytest.approx(point.values[row, 2])
    assert np.isfinite(table).all()


def test_the_page_shows_it_all_and_every_task_has_a_page(folder: Path, tmp_path: Path) -> None:
    page = build_page(folder, tmp_path / "a")
    text = page.read_text(encoding="utf-8")
    assert "balanced − gradient_sum" in text
    assert "sign-flip p&nbsp;=&nbsp;0.0039" in text
    assert text.count("<img ") == 5 * len(CONCEPTS)
    assert "Fréchet distance" in text
    names = sorted(p.name for p in (tmp_path / "a").glob("task-*.html"))
    assert len(names) == len(CONCEPTS)
    assert all(f'href="{name}"' in text for name in names)
    assert 'href="index.html"' in (tmp_path / "a" / names[0]).read_text(encoding="utf-8")
    again = build_page(folder, tmp_path / "b")
    assert again.read_bytes() == page.read_bytes()


def test_a_missing_concept_is_named_on_the_page(tmp_path: Path) -> None:
    for concept in ("ant", "bee"):
        for method in ("none", "balanced", "gradient_sum"):
            _write(tmp_path, concept, method)
    task = make_record("none")[0].task.model_copy(update={"id": "classes/cow@emoji", "concept": "cow"})
    record, _, _ = make_record(
        "balanced",
        0,
        cell="cow-balanced-0",
        task=task,
        status="failed",
        error="it diverged",
        points=[],
        log={},
        items_sha256=None,
        sheet=[],
    )
    write_record(record, None, None, tmp_path)
    text = build_page(tmp_path, tmp_path / "page").read_text(encoding="utf-8")
    assert "balanced on classes/cow@emoji: seed 0 failed: it diverged" in text
    assert "No places: with 3 concepts no test can reach .05" in text


def test_one_concept_makes_no_board(tmp_path: Path) -> None:
    for method in ("none", "balanced"):
        _write(tmp_path, "ant", method)
    contents = read_contents(tmp_path)
    assert contents.board is None
    assert pd.notna(contents.styles["balanced"].color)
    text = build_page(tmp_path, tmp_path / "page").read_text(encoding="utf-8")
    assert "Forget <em>ant</em>" in text


def test_rows_that_data_set_apart_have_a_colour_of_their_own(tmp_path: Path) -> None:
    """References are grey: they used up colours, and balanced on narrow data had that of anchor_sum."""
    for method in ("none", "placebo", "finetune", "gradient_sum", "balanced"):
        _write(tmp_path, "ant", method)
    styles = name_styles(assign_styles(rows(load(tmp_path))), ["balanced", "balanced (narrow data)", "none"])
    colours = [style.color for style in styles.values() if style.color.startswith("k")]
    assert len(colours) == len(set(colours)) == 4
    assert sorted(colours) == [f"k{i}" for i in range(4)]
    assert styles["none"].color == "ref"


def test_what_is_pooled_stands_in_its_own_column_and_beside_no_mean(tmp_path: Path) -> None:
    for concept in ("ant", "bee"):
        for method in METHODS:
            _write(tmp_path / "a", concept, method)
    write_pooled(tmp_path / "a", Pooled(key="k", fd={"none": Value(value=0.7)}))
    without = read_contents(tmp_path / "a").board
    assert without is not None
    assert KD not in {column.name for column in without[1].columns}
    text = build_page(tmp_path / "a", tmp_path / "page").read_text(encoding="utf-8")
    assert "FD, where there is a number, pools the" in text
    own = {"balanced": Value(value=0.5, low=0.4, high=0.6, n=99)}
    write_pooled(tmp_path / "a", Pooled(key="k", fd=own))
    for method in METHODS:
        _write(tmp_path / "b", "cow", method)
    values = {"balanced": Value(value=0.031, low=0.03, high=0.032, n=99)}
    write_pooled(tmp_path / "b", Pooled(key="k", fd={"none": Value(value=0.7)}, kd_efficientnet_lite0=values))
    contents = read_contents([tmp_path / "a", tmp_path / "b"])
    assert contents.board is not None
    _, scope = contents.board
    names = [column.name for column in scope.columns]
    assert KD in names
    by_name = {row.name: row for row in scope.board_rows}
    assert by_name["balanced"].value(KD).value == 0.031
    assert by_name["balanced"].value("FD").value == 0.5  # the first folder's
    assert by_name["none"].value("FD").value == 0.7
    assert by_name["none"].value(KD).missing == "not pooled with the other rows"
    text = build_page([tmp_path / "a", tmp_path / "b"], tmp_path / "page").read_text(encoding="utf-8")
    assert "KD_<wbr>efficientnet_<wbr>lite0<span" in text
    assert "FD and KD_efficientnet_lite0, where there is a number, pool the retain images" in text


def test_a_reference_is_shown_whatever_its_tasks_left_out(tmp_path: Path) -> None:
    """`retrain` leaves out subjects on some tasks and styles on others, and so showed no point at all."""
    for concept, without in (("ant", "cat face"), ("elk", "line")):
        _write(tmp_path, concept, "none")
        for path in tmp_path.glob(f"{concept}-none-0.json"):
            record = read_record(path)
            method = record.method.model_copy(update={"name": "retrain", "config": {"without": [without]}})
            retrained = record.model_copy(
                update={"method": method, "cell": f"{concept}-retrain", "sheet": []}
            )
            write_record(retrained, read_items(path, record), None, tmp_path)
    rows_found = {row.name: row for row in make_board_rows(load(tmp_path), [])}
    assert rows_found["retrain"].concepts == 2
    assert rows_found["retrain"].values["VA"].value == rows_found["none"].values["VA"].value is not None
    for concept in ("ant", "elk"):  # a method of two configurations has a point only where one was chosen
        record, items, _ = make_record("balanced", cell=f"{concept}-x")
        method = record.method.model_copy(update={"config": {"lam": concept}})
        task = read_record(tmp_path / f"{concept}-none-0.json").task
        changed = record.model_copy(update={"method": method, "task": task, "sheet": []})
        write_record(changed, items, None, tmp_path)
    rows_found = {row.name: row for row in make_board_rows(load(tmp_path), [])}
    assert rows_found["balanced"].values["VA"].missing == "no point was chosen to be shown"
