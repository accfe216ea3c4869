"""`validate` passes what was measured and refuses, in one line each, what was tampered with or harms."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as parquet
import pytest

from unlearnbench.bench.checking.beside import check_beside, check_record
from unlearnbench.bench.checking.known import LATER, VALUES, Known, find_declarations, make_known
from unlearnbench.bench.checking.validate import Check, validate
from unlearnbench.bench.cli.main import main
from unlearnbench.bench.records.chosen import copy_record
from unlearnbench.bench.records.layout import find_apart, find_records, find_statements
from unlearnbench.bench.records.record import items_digest, read_items, read_record, write_record
from unlearnbench.bench.records.sheets import SUMS
from unlearnbench.bench.running.catalog import registry

RESULTS = Path(__file__).resolve().parents[2] / "results"
STEM = "classes-cat-face-emoji.gradient_sum.85284e.s0"
BASE = "classes-cat-face-emoji.none.f76e7d.s0"
SAMPLE = [f"emoji/{STEM}", f"emoji/{BASE}", "tuning/styles-twemoji-emoji.none.f76e7d.s0"]


@pytest.fixture(scope="module")
def known() -> Known:
    return make_known()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A published record, to be tampered with, beside its base model's and the list of their sheets."""
    for stem in (STEM, BASE):
        copy_record(RESULTS / "emoji" / f"{stem}.json", tmp_path)
    listed = (RESULTS / "emoji" / SUMS).read_text().splitlines(keepends=True)
    lines = [line for line in listed if f"  {STEM}." in line or f"  {BASE}." in line]
    (tmp_path / SUMS).write_text("".join(lines))
    return tmp_path / f"{STEM}.json"


def edit(path: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def first_failure(checks: list[Check]) -> Check:
    failed = [check for check in checks if check.state == "failed"]
    assert failed, "nothing was refused"
    assert "\n" not in failed[0].detail
    return failed[0]


@pytest.mark.parametrize("name", SAMPLE)
def test_published_records_pass(name: str, known: Known) -> None:
    checks = validate(RESULTS / f"{name}.json", known)
    assert [check.state for check in checks] == ["passed"] * 6, checks


@pytest.mark.slow
def test_every_published_record_passes(known: Known) -> None:
    paths = find_records([RESULTS])
    checks = [(p.name, c) for p in paths for c in check_record(p, known)]
    checks += [(p.name, check_beside(p)) for p in find_statements(paths)]
    assert [(name, check) for name, check in checks if check.state != "passed"] == []


def test_the_copied_record_passes(path: Path, known: Known) -> None:
    assert {check.state for check in validate(path, known)} == {"passed"}


def test_a_method_that_is_not_installed_is_refused(path: Path, known: Known) -> None:
    edit(path, lambda c: c["method"].update(name="never_heard_of"))
    detail = first_failure(validate(path, known)).detail
    assert detail.startswith(
        "method.name: 'never_heard_of' is no method of this package; install the plug-in"
    )
    edit(path, lambda c: c.update(inline=True, suite="mine", choice=None))
    said = [check.detail for check in validate(path, known) if check.state == "failed"]
    assert not any("never_heard_of' is no method" in detail for detail in said)  # nobody else can have it


def test_a_folder_of_attacked_records_or_statements_is_a_folder_to_validate(tmp_path: Path) -> None:
    for name in ("attacked", "statements", "pooled", "records"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.json").write_text("{}")
    apart = {
        name: [p.name for p in find_apart(tmp_path / name)] for name in ("attacked", "statements", "pooled")
    }
    assert apart == {name: ["a.json"] for name in apart}
    assert find_apart(tmp_path / "records") == find_apart(tmp_path / "attacked" / "a.json") == []
    assert main(["validate", str(tmp_path / "attacked")]) == 1  # its file is checked


def test_what_could_not_be_compared_is_said(path: Path, known: Known) -> None:
    path.with_name(f"{BASE}.json").unlink()
    last = validate(path, known)[-1]
    assert (last.name, last.state) == ("values", "unchecked")
    assert "AS_delta: not compared" in last.detail


@pytest.mark.parametrize("name", ["device", "device_name", "threads", "packages"])
def test_a_base_model_drawn_elsewhere_is_not_compared(path: Path, known: Known, name: str) -> None:
    """Its images differ in last bits, so the difference to them is not the stated one."""
    edit(path, _delta)
    edit(path.with_name(f"{BASE}.json"), lambda c: c["environment"].update({name: "other"}))
    last = validate(path, known)[-1]
    assert last.state == "unchecked"
    assert last.detail.endswith(f"was made with another {name}")


def _number(content: dict[str, Any]) -> None:
    content["points"][-1]["values"]["UA"]["value"] = 1.0


def _interval(content: dict[str, Any]) -> None:
    content["points"][-1]["values"]["VA"]["low"] += 0.01


def _delta(content: dict[str, Any]) -> None:
    content["points"][-1]["values"]["AS_delta"]["value"] += 0.01


def _drop_point(content: dict[str, Any]) -> None:
    del content["points"][0]


def _no_metrics(content: dict[str, Any]) -> None:
    content["metrics"] = {}
    for point in content["points"]:
        point["values"] = {}
        point.pop("not_scored", None)


def _uncollapsed(content: dict[str, Any]) -> None:
    del content["metrics"]["collapse"]
    for point in content["points"]:
        for name in ("collapse", "collapse_images", "collapse_variance"):
            del point["values"][name]


def _blank_collapse(content: dict[str, Any]) -> None:
    content["points"][-1]["values"]["collapse"] = {"value": None, "n": 0, "missing": "no images"}


def _add_column(content: dict[str, Any]) -> None:
    values = content["points"][-1]["values"]
    values["UA_adversarial"] = values["UA"]


def _in_config(content: dict[str, Any]) -> None:
    content["method"] |= {"name": "mine", "config": {"model": "/etc/passwd"}}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (_number, "UA: states 1, the item rows give"),
        (_interval, "VA: its interval is not"),
        (_delta, "AS_delta: states"),
        (_drop_point, "is not the index of a point"),
        (lambda c: c.update(items_sha256="0" * 64), "digest differs"),
        (lambda c: c.update(prompts_sha256="0" * 64), "prompts_sha256: is not the digest"),
        (lambda c: c.update(key="../" * 20), "key: '../../"),
        (lambda c: c["method"].update(name="<script>alert(1)</script>"), "method.name: '<script>"),
        (lambda c: c["method"].update(name="balanced\u202e"), "U+202E"),
        (lambda c: c["method"].update(name="a\x00b"), "U+0000"),
        (lambda c: c["method"].update(paper="javascript:alert(1)"), "method.paper"),
        (lambda c: c["points"][0].update(label="../../x"), "points.label: '../../x' is a path"),
        (lambda c: c.update(cell="../" + STEM), "cell: is '../"),
        (lambda c: c["task"].update(id="../x/y@emoji"), "task.id"),
        (lambda c: c["task"].update(judge="emoji-detector@9"), "task.judge"),
        (lambda c: c["metrics"].update(UA=2), "metrics.UA: version 2"),
        (lambda c: c["method"]["config"].update(secret=1), "method.config: secret"),
        (_in_config, "method.config.model: '/etc/passwd' is a path"),
        (lambda c: c["points"][-1]["values"]["KID"].update(value=None), "KID: has neither or both"),
        (lambda c: c["points"][-1]["values"]["collapse"].update(value=1.5), "collapse: 1.5 is not between"),
        (lambda c: c["points"][-1].update(unscored="too weak"), "point 40:"),
        (lambda c: c["method"].update(label="paper"), "method.label: is 'paper'; emoji has ''"),
        (lambda c: c["method"].update(label="<b>"), "method.label: '<b>'"),
        (lambda c: c.update(headline="H"), "headline: is H; the board of emoji is ordered by AVA"),
        (lambda c: c.update(headline="H", suite="mine", choice=None), "unscored: H may read any point"),
        (lambda c: c.update(headline="UA"), "headline: Input should be 'AVA' or 'H'"),
        (lambda c: c.update(declaration="0" * 64), "declaration: no shipped file has the digest 000"),
        (lambda c: c.update(declaration="x"), "declaration: 'x' is no sha256"),
        (lambda c: c.update(unknown=1), "unknown: Extra inputs"),
        (lambda c: c.update(items_sha256=None), "its values come from no item rows"),
        (lambda c: c.update(status="failed"), "points: there are some, though the run failed"),
        (lambda c: c["metrics"].pop("VA"), "belongs to no metric"),
        (_no_metrics, "metrics: lacks UA"),
        (_uncollapsed, "metrics: lacks collapse"),
        (lambda c: c["points"][0]["not_scored"].remove("KID"), "point 10 lacks KID"),
        (_blank_collapse, "points.values.collapse: point 40 lacks it"),
        (_add_column, "points.values.UA_adversarial: belongs to no metric"),
        (lambda c: c.update(seed=1), "cell: is not named classes-cat-face-emoji.gradient_sum.85284e.s1"),
        (lambda c: c.update(data="narrow"), "cell: is not named"),
        (lambda c: c.update(choice=None), "choice: is not the digest"),
        (lambda c: c["points"][-1].update(shown=True), "points.shown: of the steps [40]; emoji chose []"),
        (lambda c: c.update(suite="mine", choice=None) or c["points"][-1].update(shown=True), "points.shown"),
        (lambda c: c["sampling"].update(noise=1), "sampling.noise: 1; gradient_sum is drawn with [0]"),
        (lambda c: c["sampling"].update(noise="x"), "sampling.noise: 'x' is not between"),
        (lambda c: c["sampling"].update(steps=50), "sampling.steps: 50; the base model's is 12"),
        (lambda c: c["sampling"].update(guidance=7.5), "sampling.guidance: 7.5; the base model's is 2.0"),
        (lambda c: c["method"]["config"].update(model="mine"), "gradient_sum is a method of this package"),
        (lambda c: c["method"]["config"].update(points=["a"] * 4), "evaluated models have another name"),
        (lambda c: c["method"].update(reference=True), "method.reference: gradient_sum is said to be"),
    ],
)  # fmt: skip
def test_a_tampered_record_is_refused(
    path: Path, known: Known, change: Callable[[dict[str, Any]], Any], said: str
) -> None:
    edit(path, change)
    assert said in first_failure(validate(path, known)).detail


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('"seed": 0', '"seed": NaN', "NaN is no number"),
        ('"seed": 0', '"seconds": 1e999, "seed": 0', "1e999 is out of range"),
        ('"seed": 0', '"seconds": -Infinity, "seed": 0', "-Infinity is no number"),
        ('"seed": 0', '"seed": 1, "seed": 0', "the key 'seed' stands twice"),
        ('"error": null', '"error": "' + "x" * 20_000 + '"', "a string of 20,000 characters"),
        ('"error": null', '"error": "' + "x" * 100_000 + '"', "a string of more than 10,000"),
        ('"seed": 0', '"error": "' + "x" * 10_000_000 + '", "seed": 0', "bytes; a record's .json file"),
        ('"seed": 0', '"seed": ' + "[" * 100_000, "nested too deeply"),
        ("{", "[", "not JSON"),
    ],
    ids=["nan", "infinite", "infinity", "twice", "long", "longer", "ten-megabytes", "deep", "broken"],
)
def test_json_that_no_record_is_made_of_is_refused(
    path: Path, known: Known, old: str, new: str, said: str
) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    assert said in first_failure(validate(path, known)).detail


def test_a_link_and_a_strange_file_name_are_refused(path: Path, known: Known) -> None:
    link = path.with_name("link.json")
    link.symlink_to(path)
    assert "is a link" in first_failure(validate(link, known)).detail
    strange = path.with_name("<b>x.json")
    strange.write_text(path.read_text())
    assert "name: only letters" in first_failure(validate(strange, known)).detail


def rewrite(path: Path, change: Callable[[pd.DataFrame], pd.DataFrame]) -> None:
    """Change item rows and forge their digest, as a cheat would."""
    record = read_record(path)
    items = read_items(path, record)
    assert items is not None
    changed = change(items.copy())
    forged = record.model_copy(update={"items_sha256": items_digest(changed)})
    write_record(forged, changed, None, path.parent)


def _forget_better(items: pd.DataFrame) -> pd.DataFrame:
    items["target_found"] = items["target_found"].where(items["split"] != "forget", other=False)
    return items


def _swap_seed(items: pd.DataFrame) -> pd.DataFrame:
    items.loc[items.index[0], "seed"] += 1
    return items


def _ask_easier(items: pd.DataFrame) -> pd.DataFrame:
    items.loc[items.index[-1], "asked_background"] = ""
    return items


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (_forget_better, "target_found contradicts found_subject"),
        (_swap_seed, "seed is not what the task says"),
        (_ask_easier, "asked_background is not what the task says"),
        (lambda items: items.iloc[:-1], "lacks 1 of the task's"),
        (lambda items: pd.concat([items, items.tail(1)]), "is there twice"),
        (lambda items: items.assign(alignment=9.0), "alignment: holds a number"),
        (lambda items: items.assign(image_sha256="../x"), "image_sha256: '../x' is no digest"),
        (lambda items: items.assign(target_kind="foo"), "target_kind is not what the task says"),
        (lambda items: items[items["point"] != 0], "lacks 48 of the task's 48"),
        (lambda items: items.assign(prompt_id=None), "prompt_id: is of type null"),
        (lambda items: items.assign(half=items["half"].where(items["half"] == "A")), "half: holds nulls"),
        (lambda items: items.assign(guidance=5.0), "guidance is not what the task says"),
        (lambda items: items.assign(guidance="5"), "guidance: is of type"),
        (lambda items: items.assign(target_score=float("inf")), "target_score: holds a number that is not"),
        (lambda items: items.assign(target_score=float("nan")), "target_score: is missing where"),
        (lambda items: items.assign(target_score=0.5), "target_score: contradicts target_found"),
    ],
)
def test_forged_item_rows_are_refused_though_their_digest_is_right(
    path: Path, known: Known, change: Callable[[pd.DataFrame], pd.DataFrame], said: str
) -> None:
    rewrite(path, change)
    assert said in first_failure(validate(path, known)).detail


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda items: items.assign(target_kind="foo"), "items: target_kind: 'foo' is none of"),
        (lambda items: items[items["point"] != 0], "point 10: has no item rows"),
    ],
)
def test_values_of_rows_that_cannot_be_counted_are_one_line(
    path: Path, known: Known, change: Callable[[pd.DataFrame], pd.DataFrame], said: str
) -> None:
    """Where coverage is not checked (prompts that the user must supply), the count itself must stand it."""
    rewrite(path, change)
    found = [check.detail for check in validate(path, known) if check.name == "values"]
    assert any(said in detail for detail in found), found


def test_a_sample_of_a_thousand_million_images_is_refused_at_once(path: Path, known: Known) -> None:
    edit(path, lambda c: c.update(suite="mine", choice=None, prompts_sha256="0" * 64))
    rewrite(path, lambda items: items.assign(sample=items["sample"].where(items["split"] != "forget", 10**9)))
    assert "items: sample: 1,000,000,001 of each" in first_failure(validate(path, known)).detail


@pytest.mark.parametrize("base", ["noise", "twice"])
def test_a_broken_base_beside_it_is_no_base(path: Path, known: Known, base: str) -> None:
    beside = path.with_name(f"{BASE}.json")
    if base == "noise":
        edit(beside, lambda c: c["sampling"].update(noise="x"))
    else:
        rewrite(beside, lambda items: pd.concat([items, items.tail(1)]))
    assert "AS_delta: not compared" in validate(path, known)[-1].detail


def test_a_claims_base_is_the_measured_one_of_its_suite(path: Path, known: Known) -> None:
    """A cheat's own base beside the claim, with worse alignment, would make any AS_delta true."""
    folder = path.parent / "claimed"
    folder.mkdir()
    claim = Path(shutil.copy(path, folder))
    for suffix in (".parquet", ".webp"):
        shutil.copy(path.with_suffix(suffix), folder)
    edit(claim, lambda c: c.update(source="reported"))
    listed = (path.parent / SUMS).read_text()
    (path.parent / SUMS).write_text(listed + listed.replace("  ", "  claimed/"))
    assert {check.state for check in validate(claim, known)} == {"passed"}
    alone = path.parent / "alone"
    shutil.move(folder, alone)
    for file in path.parent.glob(f"{BASE}.*"):
        shutil.copy(file, alone)
    assert validate(alone / claim.name, known)[-1].state == "unchecked"


def test_a_published_record_names_the_suite_of_its_folder(tmp_path: Path, known: Known) -> None:
    folder = tmp_path / "results" / "emoji"
    folder.mkdir(parents=True)
    copy_record(RESULTS / "emoji" / f"{STEM}.json", folder)
    edit(folder / f"{STEM}.json", lambda c: c.update(suite="mine", choice=None))
    said = first_failure(validate(folder / f"{STEM}.json", known)).detail
    assert said == "suite: is mine, but the record lies in results/emoji"


def test_every_metric_gives_the_values_that_are_known_of_it() -> None:
    record = read_record(RESULTS / "emoji" / f"{STEM}.json")
    assert set(VALUES) == set(registry("metrics"))
    stated = {name for point in record.points for name in point.values}
    lacking = {name for metric, names in VALUES.items() if metric not in LATER for name in names} - stated
    assert lacking == {"FID_base"}  # FID itself is missing there, and so gives one value alone


def _binary(table: pa.Table) -> pa.Table:
    column = pa.array([b"\x80\x04." for _ in range(len(table))], pa.binary())
    return table.set_column(table.schema.get_field_index("prompt"), "prompt", column)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda t: t.drop_columns(["seed"]), "lacks the column 'seed'"),
        (lambda t: t.drop_columns(["prompt"]), "lacks the column 'prompt'"),
        (lambda t: t.append_column("extra", t["seed"]), "has an unknown column 'extra'"),
        (_binary, "prompt: is of type binary"),
        (lambda t: t.replace_schema_metadata({"ARROW:extension:name": "arrow.py_x"}), "carries metadata"),
        (lambda t: pa.concat_tables([t] * 3000), "rows; a record has at most"),
    ],
    ids=["lacking", "lacking text", "unknown", "pickle", "metadata", "rows"],
)  # fmt: skip
def test_parquet_of_another_kind_is_refused_unread(
    path: Path, known: Known, change: Callable[[pa.Table], pa.Table], said: str
) -> None:
    file = path.with_suffix(".parquet")
    table = change(parquet.read_table(file))
    parquet.write_table(table, file, store_schema="metadata" in said)
    assert said in first_failure(validate(path, known)).detail


def test_broken_parquet_and_sheets_are_refused(path: Path, known: Known) -> None:
    sheet = path.with_suffix(".webp")
    whole = sheet.read_bytes()
    sheet.write_bytes(whole[: len(whole) // 2])
    assert "digest differs" in first_failure(validate(path, known)).detail
    (path.parent / SUMS).unlink()
    assert "not a readable webp image" in first_failure(validate(path, known)).detail
    path.with_suffix(".parquet").write_bytes(b"PAR1")
    assert "not a readable parquet file" in first_failure(validate(path, known)).detail


def test_exit_statuses(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    edit(path, _number)
    assert main(["validate", str(path)]) == 1
    assert f"failed: {path.name}: values: point 40: UA" in capsys.readouterr().out
    assert main(["validate", str(path.with_name("none.json"))]) == 2
    assert main(["validate", str(path.with_name(f"{BASE}.json"))]) == 0


def test_labels_beside_records_are_checked_and_are_no_records(
    path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path.with_name("ada.labels.json").write_text("{}")
    assert main(["validate", str(path.parent)]) == 1
    said = capsys.readouterr().out
    assert "failed: ada.labels.json: files" in said
    assert "2 records and 1 file beside them, 1 failed" in said


def test_nothing_among_records_stays_unread(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A record above, statements, pooled values, claims: none of them hides what lies below or beside."""
    results = path.parent / "results"
    for name in ("mine", "pooled", "mine/deeper/still", "mine/claimed"):
        (results / name).mkdir(parents=True)
    base = path.with_name(f"{BASE}.json")
    for file in base.parent.glob(f"{BASE}.*"):
        shutil.copy(file, results)
    for place in (
        "mine/forged.json",
        "pooled/forged.json",
        "mine/deeper/still/f.json",
        "mine/claimed/c.json",
    ):
        (results / place).write_text("{}")
    assert main(["validate", str(results)]) == 1
    assert "3 records and 2 files beside them, 4 failed" in capsys.readouterr().out


def test_what_is_not_there_is_no_success(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["validate", str(path.with_name("nothere.zip"))]) == 2
    assert "no such submission" in capsys.readouterr().err
    (path.parent / "statements").mkdir()
    (path.parent / "statements" / "x.json").write_text("{}")
    assert main(["validate", str(path.parent / "statements" / "x.json")]) == 1
    assert main(["validate", str(path.parent / "statements")]) == 1


def test_statements_beside_claims_alone_are_checked(
    path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("claimed", "statements"):
        (tmp_path / "suite" / name).mkdir(parents=True)
    for file in path.parent.glob(f"{BASE}.*"):
        shutil.copy(file, tmp_path / "suite" / "claimed")
    edit(tmp_path / "suite" / "claimed" / f"{BASE}.json", lambda c: c.update(source="reported"))
    (tmp_path / "suite" / "statements" / "x.json").write_text("{}")
    assert main(["validate", str(tmp_path / "suite" / "claimed")]) == 1
    assert "failed: x.json: files" in capsys.readouterr().out


FD = {"value": 0.7, "low": None, "high": None, "n": 9, "missing": None}


@pytest.mark.parametrize(
    ("fd", "said"),
    [
        ({"none": FD}, ""),
        ({"none": FD | {"value": -0.7}}, "fd.none: -0.7 is not between 0 and"),
        ({"none": FD | {"missing": "x"}}, "fd.none: has neither or both"),
        ({"mine": FD}, "fd: 'mine': no record beside it is of this row"),
    ],
    ids=["good", "negative", "both", "unknown"],
)
def test_pooled_values_are_checked(path: Path, fd: dict[str, Any], said: str) -> None:
    _check_pooled(path, {"fd": fd}, said)


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"kd_efficientnet_lite0": {"none": FD | {"value": -0.0004}}}, ""),
        ({"kd_efficientnet_lite0": {"none": FD | {"value": -0.7}}}, "-0.7 is not between -0.05 and"),
        ({"kd_efficientnet_lite0": {"none": FD | {"value": float("inf")}}}, "not JSON that a record may be"),
        ({"kd_efficientnet_lite0": {"none": FD | {"low": 1.0}}}, "kd_efficientnet_lite0.none: has one end"),
        ({"kd_efficientnet_lite0": {"mine": FD}}, "kd_efficientnet_lite0: 'mine': no record beside it"),
        ({"made_from": {"none": "0" * 64}}, ""),
        ({"made_from": {"mine": "0" * 64}}, "made_from: 'mine': is no row beside it"),
        ({"made_from": {"none": "x"}}, "made_from: 'none': is no row beside it, or has no digest"),
        ({"kid": {"none": FD}}, "kid: Extra inputs are not permitted"),
    ],
    ids=[
        "just below 0",
        "far below 0",
        "infinite",
        "one end",
        "unknown row",
        "digest",
        "no such row",
        "no digest",
        "unknown",
    ],
)
def test_what_else_is_pooled_is_checked(path: Path, more: dict[str, Any], said: str) -> None:
    _check_pooled(path, {"fd": {"none": FD}} | more, said)


def _check_pooled(path: Path, content: dict[str, Any], said: str) -> None:
    pooled = path.parent / "pooled" / "fd.json"
    pooled.parent.mkdir()
    pooled.write_text(json.dumps({"key": "0" * 64} | content))
    assert find_statements([path]) == [pooled]
    assert said in check_beside(pooled).detail
    assert (check_beside(pooled).state == "passed") == (said == "")


def test_a_declaration_is_looked_for_among_those_that_ship(path: Path, known: Known, tmp_path: Path) -> None:
    (tmp_path / "OLD.md").write_text("one seed")
    (tmp_path / "NEW.md").write_text("three seeds")
    shipped = find_declarations(tmp_path)
    old, new = sorted(shipped, key=lambda digest: shipped[digest], reverse=True)
    assert shipped == {old: "OLD.md", new: "NEW.md"}
    emoji = known.find_suite("emoji")
    assert emoji is not None
    declared = emoji.model_copy(update={"declaration": "NEW.md", "declaration_sha256": new})
    of_it = replace(known, find_suite=lambda name: declared, declarations=shipped)
    detail = first_failure(validate(path, of_it)).detail
    assert detail == "declaration: is not there; emoji was declared beforehand in NEW.md"
    for digest in (old, new):
        edit(path, lambda c, digest=digest: c.update(declaration=digest))
        assert {check.state for check in validate(path, of_it)} == {"passed"}
    edit(path, lambda c: c.update(declaration="1" * 64))
    assert "(shipped: NEW.md, OLD.md)" in first_failure(validate(path, of_it)).detail


def test_a_strangers_declaration_that_does_not_ship_is_not_checked(path: Path, known: Known) -> None:
    edit(path, lambda c: c.update(declaration="1" * 64, suite="mine"))
    [said] = [check for check in validate(path, known) if check.state != "passed"]
    assert (said.name, said.state) == ("versions", "unchecked")
    assert "no shipped file has the digest 111" in said.detail
