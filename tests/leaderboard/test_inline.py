"""Records of functions that a process was given: shown as such, never ranked or published."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import unlearnbench
from unlearnbench.bench.checking.known import find_problems_in_suite
from unlearnbench.bench.errors import UserError
from unlearnbench.bench.records.load import load, load_one
from unlearnbench.bench.records.packed.packing import read_folder
from unlearnbench.bench.records.record import name_entry
from unlearnbench.leaderboard.pages.eval_results import write_eval_results
from unlearnbench.leaderboard.ranking.board import collect, compare_with_rival, find_ranked, summarise
from unlearnbench.leaderboard.ranking.board_rows import make_board_rows

from .synthetic import build_page, make_record, write

CONCEPTS = ("cat_face", "dog_face", "fox")


def write_task(folder: Path, method: str, concept: str, name: str | None = None, **changes: Any) -> Path:
    record, _, _ = make_record(method)
    task = record.task.model_copy(update={"id": f"classes/{concept}@emoji", "concept": concept})
    info = record.method.model_copy(update={"name": name or method})
    cell = f"classes-{concept}-emoji--{name or method}--0--0a1b2c"
    return write(folder, method, task=task, method=info, cell=cell, **changes)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for concept in CONCEPTS[:2]:
        for method in ("none", "balanced", "gradient_sum"):
            write_task(tmp_path / "records", method, concept)
    return tmp_path / "records"


def _rows(folder: Path) -> dict[str, Any]:
    loaded = load(folder)
    results = collect(loaded)
    duels = {found.first: found.adjusted for found in compare_with_rival(results)}
    return {
        row.name: (row.tied, dict(row.values), row.is_ranked, duels.get(row.name))
        for row in make_board_rows(loaded, results)
    }


def test_an_inline_row_is_never_ranked_and_changes_no_other(folder: Path) -> None:
    before = _rows(folder)
    assert before["balanced"][2]
    for concept in CONCEPTS:  # one concept more than the others have
        path = write_task(folder, "balanced", concept, name="mine", inline=True)
    assert name_entry(load_one(path).record) == "mine (inline)"
    after = _rows(folder)
    assert {name: after[name] for name in before} == before
    assert after.keys() - before.keys() == {"mine (inline)"}
    assert not after["mine (inline)"][2]
    assert find_ranked(collect(load(folder))) == {"balanced", "gradient_sum"}


def test_pages_show_it_as_such_and_exports_for_others_leave_it_out(folder: Path, tmp_path: Path) -> None:
    for concept in CONCEPTS[:2]:
        write_task(folder, "balanced", concept, name="mine", inline=True)
    page = build_page(folder, tmp_path / "page")
    assert "mine (inline)" in page.read_text()
    made = write_eval_results(load(folder), "owner/name", None, tmp_path)
    assert {path.stem.split("--")[1] for path in made.glob("classes*.yaml")} == {"balanced", "gradient_sum"}


def test_it_is_refused_by_name_where_records_are_published(folder: Path, tmp_path: Path) -> None:
    path = write_task(folder, "balanced", "cat_face", name="mine", inline=True)
    with pytest.raises(UserError, match="inline: mine was a function"):
        read_folder(folder)
    known: Any = SimpleNamespace(find_suite=lambda name: None)
    record = load_one(path).record
    published = tmp_path / "results" / "demo" / path.name
    assert "inline: mine" in next(find_problems_in_suite(published, record, known))
    assert not any("inline" in line for line in find_problems_in_suite(path, record, known))


def test_comparing_from_python_gives_the_boards_numbers(folder: Path) -> None:
    board, differences = unlearnbench.compare(folder, rival="gradient_sum")
    lines = {line.method: line for line in summarise(collect(load(folder)))}
    assert dict(zip(board["method"], board["ava"], strict=True)) == {n: line.ava for n, line in lines.items()}
    [found] = compare_with_rival(collect(load(folder)), "gradient_sum")
    assert differences.iloc[0][["first", "second"]].tolist() == [found.first, found.second]
    assert differences.iloc[0]["p"] == found.comparison.p
    with pytest.raises(UserError, match="--rival nobody: no records of it; methods: balanced, gradient_sum"):
        unlearnbench.compare(folder, rival="nobody")
