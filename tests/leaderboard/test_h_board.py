"""A board that H orders: bands, places, missing values, kinds, exports, terminal."""

import csv
import json
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import pytest

from unlearnbench.bench.cli.main import main
from unlearnbench.bench.errors import UserError
from unlearnbench.bench.records.load import Loaded, load
from unlearnbench.bench.records.record import items_digest, write_record
from unlearnbench.bench.running.catalog import registry
from unlearnbench.bench.stats.compare import holm, sign_flip
from unlearnbench.bench.stats.guarded import guarded_interval
from unlearnbench.leaderboard.pages.contents import Contents, read_contents
from unlearnbench.leaderboard.pages.scopes import standings_of
from unlearnbench.leaderboard.pages.site import make_page
from unlearnbench.leaderboard.ranking.board_columns import BOARD
from unlearnbench.leaderboard.ranking.board_rows import average_values
from unlearnbench.leaderboard.ranking.choose import choose
from unlearnbench.leaderboard.ranking.columns import columns_for
from unlearnbench.leaderboard.ranking.declared import find_headline
from unlearnbench.leaderboard.ranking.equal_ua import compare_at_equal_ua
from unlearnbench.leaderboard.ranking.h_score import UNSCORED, can_tell
from unlearnbench.leaderboard.ranking.kinds import kind_of, origin_of
from unlearnbench.leaderboard.ranking.standings import find_band

from .synthetic import make_record
from .test_choose import _tune
from .test_h_score import _by_hand
from .test_page import Page

CONCEPTS = ("ant", "bee", "cow", "dog", "elk", "fox", "gnu", "hen", "ibis")
METHODS = ("none", "placebo", "finetune", "gradient_sum", "balanced")


def _write(folder: Path, concept: str, method: str, **changes: object) -> None:
    task = make_record("none")[0].task.model_copy(
        update={"id": f"classes/{concept}@emoji", "concept": concept}
    )
    draws = 10 * CONCEPTS.index(concept)
    made: dict[str, object] = {"cell": f"{concept}-{method}", "task": task, "headline": "H", **changes}
    record, items, sheet = make_record(method, draws, **made)
    points = [p.model_copy(update={"shown": p.step == 80}) for p in record.points]
    record = record.model_copy(update={"seed": 0, "points": points, "choice": "c" * 64})
    write_record(record, items, sheet, folder)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("h")
    for concept, method in product(CONCEPTS, METHODS):
        _write(made, concept, method)
    return made


@pytest.fixture(scope="module")
def contents(folder: Path) -> Contents:
    return read_contents(folder)


@pytest.fixture(scope="module")
def files(contents: Contents) -> dict[str, bytes]:
    return make_page(contents)


def _h_by_hand(loaded: list[Loaded], method: str) -> list[float]:
    entries = sorted((e for e in loaded if e.row == method), key=lambda e: e.record.task.id)
    return [_by_hand(entry.items) for entry in entries if entry.items is not None]


def test_methods_stand_by_h_and_references_and_controls_in_a_band_of_their_own(contents: Contents) -> None:
    assert contents.board is not None
    scope = contents.board[1]
    assert scope.headline == "H"
    table = standings_of(scope, contents.beside)
    names = {band: [line.row.name for line in lines] for band, lines in table.bands.items()}
    assert names == {
        "ranked": ["balanced", "gradient_sum"],
        "not ranked": [],
        "reference": ["none", "placebo", "finetune"],
    }
    loaded = load(next(iter(contents.folders)))
    for band, lines in table.bands.items():
        for line in lines:
            assert find_band(line.row) == band
            cells = dict(zip((c.name for c in table.columns), line.cells, strict=True))
            assert cells["H"].number == pytest.approx(np.mean(_h_by_hand(loaded, line.row.name)), abs=1e-12)
            assert (cells["place"].text == "") == (band != "ranked")
    assert table.kinds == ["trained"]


def test_places_follow_the_test_of_each_row_and_the_guard(contents: Contents) -> None:
    assert contents.board is not None
    scope = contents.board[1]
    loaded = load(next(iter(contents.folders)))
    first, second = (np.array(_h_by_hand(loaded, name)) for name in ("balanced", "gradient_sum"))
    low, high = guarded_interval(first, second)
    differ = holm([sign_flip(first - second)])[0] < 0.05 and not low <= 0 <= high
    assert scope.ranks == ({"balanced": (1, 1), "gradient_sum": (2, 2)} if differ else
                           {"balanced": (1, 2), "gradient_sum": (1, 2)})  # fmt: skip
    assert scope.by_h is not None
    assert scope.by_h.primary is not None
    assert scope.by_h.primary.comparison.mean == pytest.approx(np.mean(first - second), abs=1e-12)
    assert scope.by_h.rows == (scope.by_h.primary,)  # controls are no comparison
    assert not scope.by_h.is_declared


def test_no_places_where_no_test_could_reach_the_level() -> None:
    assert can_tell(12, 18)  # 17 / 2048
    assert not can_tell(6, 3)  # 2 / 32
    assert can_tell(6, 2)
    assert not can_tell(1, 2)


def test_a_board_without_places_has_no_empty_columns_for_them(contents: Contents) -> None:
    assert contents.board is not None
    scope = contents.board[1]
    for ranks, names in ((scope.ranks, {"place", "ties"}), ({}, set())):
        table = standings_of(replace(scope, ranks=ranks), contents.beside)
        assert {"place", "ties"} & {column.name for column in table.columns} == names


def test_a_value_that_is_missing_is_said_and_takes_the_place(folder: Path, tmp_path: Path) -> None:
    for concept, method in product(CONCEPTS, ("none", "balanced", "gradient_sum")):
        _write(tmp_path, concept, method)
    entry = next(e for e in load(tmp_path) if e.record.cell == "cow-balanced")
    assert entry.items is not None
    items = entry.items[(entry.items.point == 3) | (entry.items.split != "retain")]
    points = [p.model_copy(update={"unscored": "weak"} if p.index < 3 else {}) for p in entry.record.points]
    record = entry.record.model_copy(update={"points": points, "items_sha256": items_digest(items)})
    write_record(record, items, entry.sheet, tmp_path)
    contents = read_contents(tmp_path)
    assert contents.board is not None
    table = standings_of(contents.board[1], contents.beside)
    assert [line.row.name for line in table.bands["ranked"]] == ["gradient_sum"]
    (line,) = table.bands["not ranked"]
    cells = dict(zip((c.name for c in table.columns), line.cells, strict=True))
    assert (line.row.name, cells["H"].small, cells["place"].text) == ("balanced", "8 of 9 concepts", "")
    scope = contents.board[1]
    assert scope.missing == (("balanced", f"classes/cow@emoji: {UNSCORED}"),)
    assert scope.by_h is not None
    assert scope.by_h.rows == ()


def test_two_headlines_are_refused_and_added_records_have_no_say(folder: Path, tmp_path: Path) -> None:
    loaded = load(folder)
    assert find_headline(loaded) == "H"
    old = replace(loaded[0], record=loaded[0].record.model_copy(update={"headline": "AVA"}))
    assert find_headline([*loaded, replace(old, is_home=False)]) == "H"
    with pytest.raises(UserError, match=r"the board's records name AVA in ant-balanced\.json and H in "):
        find_headline([*loaded, old])
    assert find_headline([]) == "AVA"


def test_the_page_has_bands_kinds_and_meanings(files: dict[str, bytes]) -> None:
    text = files["index.html"].decode()
    page = Page(text)
    assert page.open == []
    assert "The claim: <strong>balanced − gradient_sum</strong> in H is" in text
    assert "No declaration names these comparisons" in text
    assert "were not scored on" not in text  # every point has its retain images
    assert "References and controls" in text
    assert "What the columns mean" in text
    for column in BOARD:
        if column.name not in ("UA_attacked", "UA_strongest", "UA_best_of_n", "hidden", "H_claimed"):
            assert f"<dt>{column.title}" in text
    assert "preset" not in text
    assert ">AVA<" in text


def test_the_exports_hold_the_page_in_full(contents: Contents, files: dict[str, bytes]) -> None:
    assert contents.board is not None
    rows = list(csv.DictReader(files["board.csv"].decode().splitlines()))
    assert [row["row"] for row in rows] == ["balanced", "gradient_sum", "none", "placebo", "finetune"]
    lines = {row.name: row.by_h for row in contents.board[1].board_rows}
    (board,) = json.loads(files["board.json"])
    assert board["headline"] == "H"
    assert board["concepts"] == [f"classes/{concept}@emoji" for concept in CONCEPTS]
    for row, other in zip(rows, board["rows"], strict=True):
        line = lines[row["row"]]
        assert line is not None
        assert float(row["H"]) == other["values"]["H"]["value"] == line.h
        assert float(row["H_low"]) == other["values"]["H"]["low"] == line.low
        assert float(row["UA_at_H"]) == line.ua
    assert board["declared"] is False
    assert [row["first"] for row in board["comparisons"]] == ["balanced"]
    assert "| balanced | trained · tuned |" in files["board.md"].decode()


def test_a_board_of_ava_has_no_such_exports(tmp_path: Path) -> None:
    for concept, method in product(CONCEPTS[:2], ("none", "balanced")):
        _write(tmp_path, concept, method, headline="AVA")
    found = make_page(read_contents(tmp_path))
    assert not {"board.csv", "board.json", "board.md"} & found.keys()
    assert "banded" not in found["index.html"].decode().partition("<main>")[2]


def test_the_terminal_shows_h_where_the_records_name_it(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["leaderboard", str(folder), "--out", str(tmp_path)]) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "H: harmonic mean" in out
    assert "place" in out
    assert "Difference of H" in out
    assert main(["compare", str(folder)]) == 0
    assert "H: harmonic mean" in capsys.readouterr().out
    assert main(["compare", str(folder), "--by", "AVA"]) == 0
    assert "AVA: alignment along the frontier" in capsys.readouterr().out


KINDS = {
    "adapter": {"spm", "receler"},
    "sampling time": {"sld", "safree"},
    "closed form": {"uce", "rece", "concept_prune"},
}


def test_the_kind_of_every_method_follows_from_what_is_registered() -> None:
    methods, record = registry("methods"), make_record("balanced")[0]
    for name in methods:
        if name == "placebo":
            continue
        config = methods[name].load_config()().model_dump(mode="json")
        info = record.method.model_copy(update={"name": name, "config": config})
        known = next((kind for kind, own in KINDS.items() if name in own), "trained")
        assert kind_of(record.model_copy(update={"method": info})) == known, name
    assert kind_of(record.model_copy(update={"method": record.method.model_copy(update={"name": "x"})})) == ""
    assert kind_of(record.model_copy(update={"inline": True})) == ""


def test_a_preset_is_named_only_where_every_setting_is_its_own(folder: Path) -> None:
    entry = next(e for e in load(folder) if e.row == "balanced")
    assert origin_of([entry]) == "tuned"
    assert origin_of([replace(entry, record=entry.record.model_copy(update={"choice": None}))]) == ""
    preset = dict(registry("methods")["esd_x"].presets["paper"])
    for config, label, said in (
        (preset | {"eta": 1}, "paper", "preset paper"),
        (preset | {"steps": 7}, "paper", "preset paper, changed"),
        (preset, "two subjects", "two subjects"),
    ):
        info = entry.record.method.model_copy(update={"name": "esd_x", "config": config, "label": label})
        assert origin_of([replace(entry, record=entry.record.model_copy(update={"method": info}))]) == said


def test_va_at_equal_ua_is_of_the_levels_that_both_reach(contents: Contents) -> None:
    assert contents.board is not None
    groups = contents.board[0].groups
    found = compare_at_equal_ua(groups, "gradient_sum")
    assert set(found) == {"balanced", "finetune", "placebo"}
    assert found["finetune"].difference is None
    assert (found["finetune"].concepts, found["finetune"].reach) == (0, 0.0)
    by_hand = []
    for concept in CONCEPTS:
        own = {g.method: g for g in groups if g.task == f"classes/{concept}@emoji"}
        gaps = []
        for half, level in product((0, 1), np.arange(0.8, 0.951, 0.025)):
            read = []
            for method in ("balanced", "gradient_sum"):
                points = [p.halves for p in own[method].points if p.halves[0, half] >= level - 1e-9]
                best = max(points, key=lambda p, half=half: p[1, half], default=None)
                read.append(None if best is None else best[1, 1 - half])
            if None not in read:
                gaps.append(read[0] - read[1])
        by_hand.append(np.mean(gaps))
    assert found["balanced"].difference == pytest.approx(np.mean(by_hand))
    assert found["balanced"].reach == 1.0


def test_configurations_are_chosen_by_h_where_the_tuning_records_name_it(tmp_path: Path) -> None:
    _tune(tmp_path, headline="H")
    loaded = load(tmp_path)
    choice = choose(loaded, {"balanced": 1, "gradient_sum": 1})
    assert choice.headline == "H"
    for method, found in choice.methods.items():
        if method == "placebo":
            continue
        own = [e for e in loaded if e.row == method]
        rates = {e.record.method.config["rate"] for e in own}
        by_rate = {
            rate: np.mean(
                [
                    _by_hand(e.items)
                    for e in own
                    if e.record.method.config["rate"] == rate and e.items is not None
                ]
            )
            for rate in rates
        }
        assert found.ava is None
        assert found.h == pytest.approx(max(by_rate.values()), abs=1e-6)
        assert found.rows[0].config["rate"] == max(by_rate, key=lambda rate: by_rate[rate])
        assert found.rows[0].shown > 0
        assert {c.config["rate"]: c.h for c in found.candidates} == pytest.approx(by_rate, abs=1e-6)


def test_with_h_one_edit_has_one_point_and_an_edge_may_be_widened_once(tmp_path: Path) -> None:
    _tune(tmp_path, headline="H", points=1)
    loaded = load(tmp_path)
    rows = {"balanced": 1, "gradient_sum": 1}
    assert choose(loaded, rows).methods["balanced"].h is not None
    rates = sorted({e.record.method.config["rate"] for e in loaded})

    def keep(count: int) -> list[Loaded]:
        return [e for e in loaded if e.row == "balanced" or e.record.method.config["rate"] in rates[:count]]

    assert len(choose(keep(1), rows).methods["gradient_sum"].candidates) == 1  # two fewer: one edge
    more = [
        replace(e, record=e.record.model_copy(update={"method": e.record.method.model_copy(
            update={"config": {**e.record.method.config, "rate": 1.0}})}))
        for e in keep(1) if e.row == "balanced" and e.record.method.config["rate"] == rates[0]
    ]  # fmt: skip
    with pytest.raises(UserError, match="the search is unequal"):
        choose([*keep(1), *more], rows)


def test_a_tie_goes_to_the_configuration_that_is_listed_first(tmp_path: Path) -> None:
    _tune(tmp_path, headline="H")
    loaded = load(tmp_path)
    same = [replace(e, items=next(o.items for o in loaded if o.row == e.row and
            o.record.task == e.record.task)) for e in loaded]  # fmt: skip
    configs = [e.record.method.config for e in same if e.row == "balanced" and "fox" in e.record.task.id]
    for first in configs:
        listed = [("balanced", first), *(("balanced", config) for config in configs if config != first)]
        choice = choose(same, {"balanced": 1, "gradient_sum": 1}, listed)
        assert choice.methods["balanced"].rows[0].config == first


def test_columns_of_values_follow_those_of_the_board(contents: Contents) -> None:
    assert contents.board is not None
    scope = contents.board[1]
    table = standings_of(scope, contents.beside)
    names = [column.name for column in table.columns]
    assert names[-len(scope.columns) :] == [c.name for c in columns_for(r.values for r in scope.board_rows)]
    assert len(set(names)) == len(names)


def test_the_interval_of_a_cost_ends_at_zero() -> None:
    """Of .1 and 10 seconds the t interval goes down to −57.8."""
    found = []
    for concept, seconds in (("ant", 0.1), ("bee", 10.0)):
        record, items, _ = make_record("balanced", cell=concept)
        points = [
            p.model_copy(update={"shown": True, "cost": p.cost.model_copy(update={"seconds": seconds})})
            for p in record.points[-1:]
        ]
        task = record.task.model_copy(update={"id": f"classes/{concept}@emoji", "concept": concept})
        found.append(Loaded(concept, record.model_copy(update={"points": points, "task": task}), items, None))
    time = average_values(found)["seconds"]
    assert time.value == pytest.approx(5.05)
    assert time.low == 0.0
    assert time.high == pytest.approx(5.05 + 12.7062 * 4.95, rel=1e-4)
