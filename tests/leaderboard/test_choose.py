"""Choosing configurations on tuning concepts: the best set wins, and no method searches more than another."""

from itertools import combinations, product
from pathlib import Path

import numpy as np
import pytest

from unlearnbench.bench.cli.main import main
from unlearnbench.bench.errors import UserError
from unlearnbench.bench.planning.choice import read_choice
from unlearnbench.bench.planning.plan import MethodRow, Suite, read_suite, take_choice
from unlearnbench.bench.records.load import load
from unlearnbench.bench.records.record import MethodInfo, TaskInfo, items_digest, write_record
from unlearnbench.leaderboard.ranking.board import measure
from unlearnbench.leaderboard.ranking.choose import choose
from unlearnbench.leaderboard.ranking.declared import MethodPoints, read_method_points

from .synthetic import CONFIG, make_record

RATES = (1e-5, 2e-5, 4e-5)


def _task(concept: str) -> TaskInfo:
    return make_record("none")[0].task.model_copy(
        update={"id": f"classes/{concept}@emoji", "concept": concept, "role": "tuning"}
    )


def _tune(folder: Path, skip: str = "", points: int = 4, headline: str = "AVA") -> None:
    """Write both methods' tuning records; without cell `skip`, and `balanced` with its first points alone."""
    for concept, method, (k, rate) in product(("owl", "fox"), ("balanced", "gradient_sum"), enumerate(RATES)):
        cell = f"{concept}-{method}-{k}"
        if cell == skip:
            continue
        info = MethodInfo(name=method, version=1, summary="", paper="", config=CONFIG | {"rate": rate})
        kept = points if method == "balanced" else 4
        # the seed is of the synthetic draws alone: every record says 0
        record, items, _ = make_record(
            method, 10 * k + (concept == "fox"), cell=cell, task=_task(concept), method=info, sheet=[]
        )
        items = items[items["point"] < kept]
        change = {
            "seed": 0,
            "headline": headline,
            "points": record.points[:kept],
            "items_sha256": items_digest(items),
        }
        write_record(record.model_copy(update=change), items, None, folder)


def _best_by_hand(folder: Path, method: str, count: int) -> float:
    groups = [g for g in read_method_points(load(folder), role="tuning") if g.method == method]
    best = -1.0
    for chosen in combinations({p.config for p in groups[0].points}, count):
        kept = [
            MethodPoints(g.method, g.task, g.seeds, tuple(p for p in g.points if p.config in chosen))
            for g in groups
        ]
        frontiers = [measure(group).frontier for group in kept]
        best = max(best, float(np.mean([f.ava for f in frontiers if f is not None])))
    return best


def test_the_best_set_of_configurations_is_chosen(tmp_path: Path) -> None:
    _tune(tmp_path)
    choice = choose(load(tmp_path), {"balanced": 2, "gradient_sum": 2})
    assert choice.concepts == ["classes/fox@emoji", "classes/owl@emoji"]
    assert len(choice.records) == 12
    for method in ("balanced", "gradient_sum"):
        found = choice.methods[method]
        assert found.ava == pytest.approx(_best_by_hand(tmp_path, method, 2), abs=1e-6)
        assert len(found.rows) == 2
        assert len(found.candidates) == len(RATES)
        assert sum(row.shown > 0 for row in found.rows) == 1
        assert found.reached


def test_the_placebo_moves_as_far_as_the_shown_points_in_the_median(tmp_path: Path) -> None:
    _tune(tmp_path)
    choice = choose(load(tmp_path), {"balanced": 1, "gradient_sum": 1})
    steps = [row.shown for name in ("balanced", "gradient_sum") for row in choice.methods[name].rows]
    assert choice.methods["placebo"].rows[0].config["norm"] == pytest.approx(0.001 * np.median(steps * 2))


def test_an_unequal_search_is_refused(tmp_path: Path) -> None:
    _tune(tmp_path, skip="fox-balanced-2")
    with pytest.raises(UserError, match="balanced has not the same candidates on every concept"):
        choose(load(tmp_path), {"balanced": 1, "gradient_sum": 1})
    with pytest.raises(UserError, match="no records of finetune"):
        choose(load(tmp_path), {"finetune": 1})


def test_a_method_with_fewer_saved_points_is_refused(tmp_path: Path) -> None:
    _tune(tmp_path, points=3)
    with pytest.raises(UserError, match="the search is unequal"):
        choose(load(tmp_path), {"balanced": 1, "gradient_sum": 1})


def test_a_suite_takes_its_choice_and_every_record_can_name_it(tmp_path: Path) -> None:
    _tune(tmp_path / "records")
    suite = tmp_path / "mine.toml"
    suite.write_text(
        'name = "mine"\ntasks = ["classes/cat-face"]\nchoice = "mine-choice.json"\n'
        '[[methods]]\nname = "none"\n[[methods]]\nname = "balanced"\ntuned = 2\n'
    )
    out = tmp_path / "mine-choice.json"
    assert main(["choose", str(tmp_path / "records"), "--suite", str(suite), "--out", str(out)]) == 0
    raw = read_suite(suite)
    taken = take_choice(raw)
    chosen = read_choice(out).methods["balanced"].rows
    assert [row.config for row in taken.methods[1:]] == [row.config for row in chosen]
    assert [row.shown for row in taken.methods[1:]] == [row.shown for row in chosen]
    assert taken.choice_sha256 is not None
    with pytest.raises(UserError, match="2 configuration"):
        take_choice(raw.model_copy(update={"methods": [MethodRow(name="balanced", tuned=1)]}))
    with pytest.raises(UserError, match="nothing was chosen for 'finetune'"):
        take_choice(raw.model_copy(update={"methods": [MethodRow(name="finetune", tuned=1)]}))
    with pytest.raises(UserError, match="unlearnbench choose"):
        take_choice(Suite.model_validate(raw.model_dump()))  # without a file: next to nothing


def test_the_choice_of_an_own_suite_is_written_and_sought_next_to_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _tune(tmp_path / "records")
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "mine.toml").write_text(
        'name = "mine"\ntasks = ["classes/cat-face"]\nchoice = "own-choice.json"\n'
        '[[methods]]\nname = "balanced"\ntuned = 2\n'
    )
    monkeypatch.chdir(tmp_path)
    assert main(["run", "--suite", "mine/mine.toml", "--dry-run"]) == 2
    assert "mine/own-choice.json: no such file; make it with: unlearnbench choose" in capsys.readouterr().err
    assert main(["choose", "records", "--suite", "mine/mine.toml"]) == 0
    assert (folder / "own-choice.json").is_file()
    assert main(["run", "--suite", "mine/mine.toml", "--dry-run"]) == 0
