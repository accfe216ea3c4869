"""What somebody adds to a board changes no row that is there: not its numbers, places, ties or p-values."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from unlearnbench.bench.records.load import Loaded, load_one, load_together
from unlearnbench.bench.records.record import write_record
from unlearnbench.bench.records.statements import list_records
from unlearnbench.leaderboard.pages.scopes import rank_rows
from unlearnbench.leaderboard.ranking.board import collect, compare_with_rival, summarise
from unlearnbench.leaderboard.ranking.board_rows import make_board_rows

EMOJI = Path(__file__).parents[2] / "results" / "emoji"


def _foreign(folder: Path, methods: dict[str, str], tasks: Sequence[str], **changes: Any) -> None:
    """Write published records as if somebody had measured them. methods: published name -> its own."""
    for path in list_records(EMOJI):
        task, method, _, seed = path.stem.split(".")
        if method in methods and task.removesuffix("-emoji") in tasks:
            entry = load_one(path)
            record, name = entry.record, methods[method]
            config = record.method.config | {"rate": 2.5e-5}
            info = record.method.model_copy(update={"config": config, "name": name})
            own = {"cell": f"{task}.{name}.{record.key[:6]}.{seed}", "method": info, "sheet": []} | changes
            write_record(record.model_copy(update=own), entry.items, None, folder)


def _board(loaded: Sequence[Loaded]) -> dict[str, Any]:
    """Return all that a board says of each row, by name."""
    results = collect(loaded)
    rows = make_board_rows(loaded, results)
    lines = {line.method: line for line in summarise(results)}
    comparisons = {found.first: found for found in compare_with_rival(results)}
    places = rank_rows(rows, 12)
    return {
        row.name: (row.role, row.summary, row.tied, dict(row.values), row.concepts, row.is_ranked,
                   lines.get(row.name), comparisons.get(row.name), places.get(row.name))
        for row in rows
    }  # fmt: skip


@pytest.fixture(scope="module")
def published() -> dict[str, Any]:
    return _board(load_together([EMOJI]))


def test_added_records_change_no_published_row(tmp_path: Path, published: dict[str, Any]) -> None:
    """Write published records as if somebody had measured them; methods: published name -> its own."""
    tasks = sorted({path.stem.split(".")[0].removesuffix("-emoji") for path in list_records(EMOJI)})[:2]
    _foreign(tmp_path / "a", {"anchor_balanced": "anchor_balanced"}, tasks, suite="mine")
    _foreign(tmp_path / "b", {"anchor_sum": "anchor_sum", "finetune": "finetune"}, tasks)
    _foreign(tmp_path / "b", {"anchor_balanced": "mine"}, tasks)
    found = _board(load_together([EMOJI, tmp_path / "a", tmp_path / "b"]))
    assert {name: found[name] for name in published} == published
    extra = {"anchor_balanced (suite mine)", "anchor_sum (b)", "finetune (b)", "mine"}
    assert found.keys() - published.keys() == extra
    for name in extra:
        assert not found[name][5], "a row of two concepts is not ranked"
        assert found[name][8] is None


def test_published_places_are_of_ranked_rows_alone(published: dict[str, Any]) -> None:
    ranked = {name for name, row in published.items() if row[5]}
    assert ranked == {"anchor_balanced", "anchor_sum", "balanced", "gradient_sum"}
    for name in ranked:
        assert set(published[name][2]) <= ranked
        first, last = published[name][8]
        assert 1 <= first <= last <= len(ranked)
    assert published["finetune"][7].adjusted is None
    assert published["anchor_sum"][7].adjusted is not None


def test_records_of_another_suite_in_the_same_folder_are_a_row_of_their_own(tmp_path: Path) -> None:
    from .synthetic import make_record

    for number in range(6):
        task = make_record("none")[0].task
        task = task.model_copy(update={"id": f"classes/c{number}@emoji", "concept": f"c{number}"})
        for method in ("none", "gradient_sum", "balanced"):
            record, items, sheet = make_record(method, number, cell=f"c{number}-{method}", task=task)
            write_record(record.model_copy(update={"seed": 0}), items, sheet, tmp_path)
    before = _ava(load_together([tmp_path]))
    for number, changes in enumerate([{"suite": "mine"}, {"suite": "demo", "commit": "f" * 40}]):
        record, items, sheet = make_record("balanced", 9, cell=f"added-{number}")
        task = record.task.model_copy(update={"id": "classes/c0@emoji", "concept": "c0"})
        config = record.method.config | {"steps": number}
        method = record.method.model_copy(update={"config": config})
        own = {"task": task, "method": method, "seed": 0, **changes}
        write_record(record.model_copy(update=own), items, sheet, tmp_path)
    after = _ava(load_together([tmp_path]))
    assert {name: after[name] for name in before} == before
    assert after.keys() - before.keys() == {"balanced (suite mine)", "balanced (commit fffffff)"}


def _ava(loaded: Sequence[Loaded]) -> dict[str, float]:
    return {line.method: line.ava for line in summarise(collect(loaded))}
