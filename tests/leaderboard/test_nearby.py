"""Near the target: shares by distance, leakage, and what replaced the target, worked by hand."""

import csv
import io
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from unlearnbench.bench.cli.main import main
from unlearnbench.bench.records.load import Loaded, load_one
from unlearnbench.bench.running.catalog import open_world, task_registry
from unlearnbench.leaderboard.studies.nearby import Nearby, measure_nearby
from unlearnbench.leaderboard.studies.nearby_tables import to_csv

RESULTS = Path(__file__).resolve().parents[2] / "results" / "emoji"
RECORD = RESULTS / "classes-cat-face-emoji.anchor_sum.a855fe.s0.json"
FAR = {"cat face": 0.0, "fox": 0.1, "frog": 0.2, "drum": 0.3, "tent": 0.4, "pizza": 0.5, "robot": 0.6}


@pytest.fixture(scope="module")
def published() -> Loaded:
    return load_one(RECORD)


def _row(split: str, asked: str, found: str | None, number: int, **other: Any) -> dict[str, Any]:
    gone = None if found is None else found == "cat face"
    return {
        "split": split, "prompt_id": f"{split}{number}", "sample": 0, "half": "AB"[number % 2],
        "relation": "target" if split == "forget" else "same" if asked in ("fox", "frog") else "other",
        "given": False, "target_kind": "subject", "asked_subject": asked, "asked_style": "noto",
        "asked_background": "red", "found_subject": found, "found_style": "noto", "found_background": "red",
        "target_found": gone if split == "forget" else None, "image_sha256": "a",
        **other,
    }  # fmt: skip


def _measure(published: Loaded, rows: list[dict[str, Any]], far: dict[str, float]) -> Nearby:
    items = pd.DataFrame(rows).assign(point=published.record.points[-1].index)
    found = measure_nearby(replace(published, items=items), far)
    assert found is not None
    return found


RETAIN = [
    ("fox", "cat face"), ("frog", "frog"), ("drum", "drum"), ("tent", "dog face"), ("pizza", "pizza"),
    ("robot", "robot"),
]  # fmt: skip
FORGET = ["dog face", "dog face", "", "cat face", "fox", "dog face"]


def _rows() -> list[dict[str, Any]]:
    retain = [_row("retain", asked, found, i) for i, (asked, found) in enumerate(RETAIN)]
    retain[2]["found_style"] = "line"
    given = _row("retain", "violin", "cat face", 9, given=True)
    return [*retain, given, *(_row("forget", "cat face", found, i) for i, found in enumerate(FORGET))]


def test_concepts_are_read_in_thirds_by_distance(published: Loaded) -> None:
    found = _measure(published, _rows(), FAR)
    assert [(ring.name, ring.names) for ring in found.rings] == [
        ("near", ("fox", "frog")), ("middle", ("drum", "tent")), ("far", ("pizza", "robot")),
    ]  # fmt: skip
    assert [ring.drawn.value for ring in found.rings] == [0.5, 0.5, 1.0]
    assert [ring.attributes.value for ring in found.rings] == pytest.approx([5 / 6, 4 / 6, 1.0])
    without = _measure(published, _rows(), {})
    assert [(ring.name, ring.drawn.value) for ring in without.rings] == [("near", 0.5), ("far", 0.75)]


def test_leaks_count_what_was_not_asked_for(published: Loaded) -> None:
    leaks = {name: value.value for name, value in _measure(published, _rows(), FAR).leaks.items()}
    assert leaks == pytest.approx(
        {"target": 1 / 6, "anchor": 1 / 6, "subject": 2 / 6, "style": 1 / 6, "background": 0}
    )


def test_replacements_and_their_entropy(published: Loaded) -> None:
    found = _measure(published, _rows(), FAR)
    assert {target: value.value for target, value in found.targets.items()} == {"cat face": 5 / 6}
    assert found.mean == 5 / 6
    shown = found.replacement
    assert (shown.images, shown.shares) == (5, {"dog face": 0.6, "nothing known": 0.2, "fox": 0.2})
    assert shown.bits == pytest.approx(-0.6 * math.log2(0.6) - 2 * 0.2 * math.log2(0.2))


def test_a_failed_answer_is_missing_and_not_zero(published: Loaded) -> None:
    rows = [*_rows(), _row("retain", "fox", None, 20), _row("forget", "cat face", None, 21)]
    found = _measure(published, rows, FAR)
    assert [ring.drawn.value for ring in found.rings] == [None, 0.5, 1.0]
    assert found.leaks["target"].missing == "the judge failed on an image"
    assert (found.targets["cat face"].value, found.mean) == (None, None)
    assert found.replacement.images == 5  # of those with an answer


def test_the_worlds_distances_are_of_all_names_and_zero_at_the_target() -> None:
    world, tasks = open_world("tiny"), task_registry()
    far = world.distances(tasks["classes/cat-face@tiny"])
    assert set(far) == set(world.spec.subject_names)  # type: ignore[attr-defined]
    assert far["cat face"] == pytest.approx(0, abs=1e-6)
    assert all(0 <= value <= 2 + 1e-6 for value in far.values())
    both = world.distances(tasks["classes/cat-face+celebrities/santa-claus@tiny"])
    other = world.distances(tasks["celebrities/santa-claus@tiny"])
    assert both == pytest.approx({name: min(far[name], other[name]) for name in far}, abs=1e-6)


def test_the_command_prints_and_writes_every_number(
    published: Loaded, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["nearby", str(RECORD), "--out", str(tmp_path / "near.csv")]) == 0
    said = capsys.readouterr().out
    assert "What replaced the target" in said
    rows = list(csv.DictReader(io.StringIO((tmp_path / "near.csv").read_text())))
    assert published.items is not None
    forget = published.items[published.items["split"] == "forget"]
    last = forget[forget["point"] == next(p.index for p in published.record.points if p.shown)]
    [own] = [row for row in rows if row["what"] == "UA"]
    assert float(own["value"]) == pytest.approx(1 - last["target_found"].astype(float).mean())
    shown = last[~last["target_found"].astype(bool)]["found_subject"].replace("", "nothing known")
    said_shares = {row["of"]: float(row["value"]) for row in rows if row["what"] == "replaced by"}
    said_shares.pop("entropy, bits")
    assert said_shares == pytest.approx(shown.value_counts(normalize=True).to_dict())
    assert to_csv([]).count("\n") == 1
