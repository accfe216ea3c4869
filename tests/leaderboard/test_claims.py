"""Claims are shown apart, never ranked; what was taken back is left out and listed; attacks only lower."""

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from unlearnbench.bench.cli.main import main
from unlearnbench.bench.errors import UserError
from unlearnbench.bench.records.load import load, load_one, load_together, read_folders
from unlearnbench.bench.records.record import read_record, record_digest
from unlearnbench.bench.records.statements import HEADLINE
from unlearnbench.leaderboard.ranking.board import collect, summarise
from unlearnbench.leaderboard.ranking.claims import read_beside

from .synthetic import build_page, build_site, make_record, write

BY = ["--by", "A. Maintainer"]


def write_board(folder: Path, method: str, source: str = "measured", seed: int = 0) -> list[Path]:
    """Write a method on two concepts."""
    base, paths = make_record("none")[0].task, []
    for concept in ("ant", "bee"):
        task = base.model_copy(update={"id": f"classes/{concept}@emoji", "concept": concept})
        paths.append(write(folder, method, seed, cell=f"{concept}-{method}-{seed}", task=task, source=source))
    return paths


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_board(tmp_path, "none")
    write_board(tmp_path, "gradient_sum")
    return tmp_path


def test_claims_have_a_column_of_their_own_and_no_rank(folder: Path) -> None:
    before = summarise(collect(load_together([folder])))
    write_board(folder / "claimed", "balanced", source="reported", seed=3)
    loaded = load_together([folder])
    assert summarise(collect(loaded)) == before
    beside = read_beside(read_folders([folder]), loaded)
    assert set(beside.summaries) == {"balanced"}
    own = [replace(e, record=e.record.model_copy(update={"source": "measured"})) for e in beside.claimed]
    assert beside.summaries["balanced"].ava == summarise(collect(own))[0].ava


def test_a_measured_record_among_the_claimed_is_refused(folder: Path) -> None:
    write_board(folder / "claimed", "balanced")
    with pytest.raises(UserError, match="source: is 'measured'"):
        load(folder)


def test_a_retracted_record_is_left_out_and_listed_with_its_reason(folder: Path) -> None:
    path = next(folder.glob("ant-gradient_sum*.json"))
    raw = path.read_bytes()
    assert main(["retract", str(path), "--reason", "trained on the <b>evaluation</b> prompts", *BY]) == 0
    assert path.read_bytes() == raw
    assert path.name not in {entry.name for entry in load(folder)}
    [gone] = read_beside(read_folders([folder])).withdrawn
    assert (gone.cell, gone.kind, gone.by) == (path.stem, "retracted", "A. Maintainer")


def test_a_superseded_record_names_its_successor(folder: Path) -> None:
    first = write(folder, "balanced", 1, cell="first")
    second = write(folder, "balanced", 1, cell="second", data="narrow")
    for other in (folder / "bee-gradient_sum-0.json", write(folder, "balanced", 2, cell="third")):
        assert main(["retract", str(first), "--reason", "x", *BY, "--successor", str(other)]) == 2
    said = ["retract", str(first), "--reason", "wrong rate", *BY]
    assert main([*said, "--successor", str(first)]) == 2
    assert main([*said, "--successor", str(second)]) == 0
    names = {entry.name for entry in load(folder)}
    assert ("first.json" in names, "second.json" in names) == (False, True)
    [gone] = read_beside(read_folders([folder])).withdrawn
    assert (gone.kind, gone.successor) == ("superseded", "second")


def test_records_that_supersede_each_other_stop_the_reading(folder: Path) -> None:
    """Each names a successor that is there, and both would vanish."""
    first = write(folder, "balanced", 1, cell="first")
    second = write(folder, "balanced", 1, cell="second", data="narrow")
    for own, other in ((first, second), (second, first)):
        assert main(["retract", str(own), "--reason", "x", *BY, "--successor", str(other)]) == 0
    with pytest.raises(UserError, match="is in the end superseded by this record"):
        load(folder)


def _set(name: str, value: Any) -> Any:
    return lambda said: said.update({name: value})


def _first(**change: Any) -> Any:
    return lambda said: said["numbers"][0].update(change)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda said: None, ""),
        (_set("numbers", []), "must hold each headline number"),
        (lambda said: said["numbers"].pop(), "must hold each headline number"),
        (_set("verdict", "differs"), "verdict: differs, but its numbers say agrees"),
        (_first(claimed=0.123), "the record states"),
        (_first(rerun=0.123), "is not equal"),
        (_first(rerun=None), "is not equal"),
        (_first(state="agrees", low=0.5, high=0.6), "is not agrees"),
    ],
    ids=["good", "none", "fewer", "verdict", "claimed", "rerun", "lacking", "interval"],
)
def test_a_rerun_says_what_its_numbers_say(folder: Path, change: Any, said: str) -> None:
    path = next(folder.glob("ant-gradient_sum*.json"))
    entry = load_one(path)
    values = [(p.label, name, v.value) for p in entry.record.points for name, v in p.values.items()]
    stated = [found for found in values if found[1] in HEADLINE and found[2] is not None]
    content = {"about": entry.digest, "cell": entry.record.cell, "by": "unlearnbench rerun", "kind": "rerun",
               "date": "2026-01-01", "rerun": "0" * 64, "verdict": "agrees", "margin": 0.02,
               "same_versions": False, "schema_version": 1,
               "numbers": [{"point": label, "metric": name, "claimed": value, "rerun": value, "low": None,
                            "high": None, "state": "equal"} for label, name, value in stated]}  # fmt: skip
    change(content)
    (folder / "statements").mkdir()
    (folder / "statements" / "x.rerun.json").write_text(json.dumps(content))
    if not said:
        assert len(load(folder)) == 4
        return
    with pytest.raises(UserError, match=said):
        load(folder)


def test_a_statement_about_another_record_stops_the_reading(folder: Path) -> None:
    path = next(folder.glob("ant-gradient_sum*.json"))
    main(["retract", str(path), "--reason", "x", *BY])
    [statement] = (folder / "statements").glob("*.retracted.json")
    content = json.loads(statement.read_text())
    statement.write_text(json.dumps(content | {"about": "0" * 64}))
    with pytest.raises(UserError, match="no record here has the digest 000000000000"):
        load(folder)
    statement.write_text(json.dumps(content | {"kind": "external"}))
    with pytest.raises(UserError, match=r"retracted\.json"):
        load(folder)


def attack(path: Path, ua: str, *more: str) -> int:
    named = ["--attack", "UnlearnDiffAtk 1.0", "--images", "100", *BY]
    return main(["report-attack", str(path), "--ua", ua, *named, *more])


def test_an_attack_lowers_in_its_own_column_and_changes_no_rank(folder: Path) -> None:
    before = summarise(collect(load_together([folder])))
    path = next(folder.glob("ant-gradient_sum*.json"))
    assert attack(path, "0.4", "--point", "80") == 0
    assert attack(path, "0.3", "--point", "80", "--link", "https://example.org/a") == 0
    assert summarise(collect(load_together([folder]))) == before
    beside = read_beside(read_folders([folder]))
    assert beside.under_attack() == {"gradient_sum": (pytest.approx(0.3), 1)}
    assert beside.under_attack(["classes/bee@emoji"]) == {}


def test_attacks_on_what_is_on_no_board_lower_no_row(folder: Path) -> None:
    gone, stays = folder / "ant-gradient_sum-0.json", folder / "bee-gradient_sum-0.json"
    claim = write_board(folder / "claimed", "gradient_sum", source="reported", seed=3)[0]
    assert main(["retract", str(gone), "--reason", "x", *BY]) == 0
    assert [attack(path, "0.2", "--point", "80") for path in (gone, claim)] == [0, 0]
    assert attack(stays, "0.4", "--point", "80") == 0
    beside = read_beside(read_folders([folder]))
    assert beside.under_attack() == {"gradient_sum": (pytest.approx(0.4), 1)}
    assert [a.counted for a in beside.attacks] == [False, False, True]  # in the order of their files
    assert build_page(folder, folder / "page").read_text().count("of no record on a board") == 2


def test_a_site_shows_an_attack_in_its_own_scope_alone(folder: Path, tmp_path: Path) -> None:
    assert attack(folder / "ant-gradient_sum-0.json", "0.3", "--point", "80") == 0
    task = make_record("none")[0].task
    other = task.model_copy(update={"id": "classes/ant@tiny", "world": "tiny@1"})
    for method in ("none", "gradient_sum"):
        write(folder, method, 5, cell=f"tiny-{method}", task=other)
    write(folder / "claimed", "balanced", 5, cell="tiny-claim", task=other, source="reported")
    text = build_site([folder], tmp_path / "site").read_text()
    emoji, tiny = re.findall(r'<section class="task scope".*?</section>', text, re.DOTALL)
    assert ("UA under attack" in emoji, "UA under attack" in tiny) == (True, False)
    assert ("claimed, not re-run" in emoji, "claimed, not re-run" in tiny) == (False, True)
    assert "Claimed numbers" not in text  # no table over all worlds


def test_claims_of_one_name_in_two_folders_are_told_apart(tmp_path: Path) -> None:
    folders = [tmp_path / name for name in "ab"]
    for folder in folders:
        write(folder, "none", cell="none")
        write(folder / "claimed", "balanced", cell="claim", source="reported")
    assert len(read_beside(read_folders(folders)).claimed) == 1
    write(folders[1] / "claimed", "balanced", 4, cell="claim", source="reported")
    with pytest.raises(UserError, match=r"b/claimed/claim\.json: .*/a holds another record of this name"):
        build_site(folders, tmp_path / "site")
    assert not (tmp_path / "site").exists()


def test_the_page_shows_what_lies_beside_the_records(folder: Path) -> None:
    write_board(folder / "claimed", "balanced", source="reported", seed=3)
    attack(next(folder.glob("ant-gradient_sum*.json")), "0.3", "--point", "80")
    gone = write(folder, "finetune", 1, cell="gone")
    main(["retract", str(gone), "--reason", "trained on the <b>evaluation</b> prompts", *BY])
    beside = read_beside(read_folders([folder]))
    page = build_page(folder, folder / "page").read_text()
    assert "claimed AVA" in page
    assert f"{beside.summaries['balanced'].ava:.3f}" in page
    assert "reported" in (folder / "page" / "leaderboard.csv").read_text()
    assert "UA under attack" in page
    assert "1 of 2 concepts" in page
    assert "trained on the &lt;b&gt;evaluation&lt;/b&gt; prompts" in page
    assert "<b>evaluation" not in page


@pytest.mark.parametrize(
    ("ua", "more"),
    [("0.999", ["--point", "40"]), ("1.5", []), ("0.1", ["--point", "7"]), ("0.1", ["--link", "ftp://x"])],
    ids=["raises", "no-share", "no-point", "no-link"],
)
def test_an_attack_that_raises_or_makes_no_sense_is_refused(folder: Path, ua: str, more: list[str]) -> None:
    assert attack(next(folder.glob("ant-gradient_sum*.json")), ua, *more) == 2
    assert not (folder / "statements").exists()


def test_a_forged_attack_that_raises_a_score_stops_the_reading(folder: Path) -> None:
    path = next(folder.glob("ant-gradient_sum*.json"))
    attack(path, "0.4")
    [statement] = (folder / "statements").glob("*.external.json")
    content: dict[str, Any] = json.loads(statement.read_text())
    content["ua"]["value"] = 1.0
    content["point"] = 0
    statement.write_text(json.dumps(content))
    with pytest.raises(UserError, match="an attack only ever lowers"):
        load(folder)


def test_statements_name_the_digest_of_their_record(folder: Path) -> None:
    path = next(folder.glob("ant-gradient_sum*.json"))
    main(["retract", str(path), "--reason", "x", *BY])
    [statement] = (folder / "statements").glob("*.json")
    assert (
        json.loads(statement.read_text())["about"]
        == record_digest(read_record(path))
        == load_one(path).digest
    )
