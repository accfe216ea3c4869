"""The audit report: what it says, what it says is missing, and that no changed byte passes its seal."""

import html
import json
import os
import re
import shlex
import stat
from datetime import date
from pathlib import Path

import numpy as np
import pytest

from unlearnbench.bench.cli.main import main
from unlearnbench.bench.errors import UserError
from unlearnbench.bench.gate.policy import Policy
from unlearnbench.bench.records.load import load_one
from unlearnbench.bench.records.statements import Rerun, write_statement
from unlearnbench.bench.running.catalog import registry
from unlearnbench.bench.types import Value, missing
from unlearnbench.leaderboard.audit.audit import make_audit
from unlearnbench.leaderboard.audit.limits import list_limits, read_judge_errors
from unlearnbench.leaderboard.audit.page import render
from unlearnbench.leaderboard.audit.seal import (
    OPENING,
    UNSIGNED,
    meta,
    public_hex,
    read_key,
    seal,
    verify,
    write_key,
)
from unlearnbench.leaderboard.plots.gallery import HARMLESS, is_blurred

from .synthetic import make_record, write

WORLD = Path(__file__).parents[2] / "bench" / "worlds" / "emoji" / "README.md"


@pytest.fixture
def records(tmp_path: Path) -> tuple[Path, Path]:
    """A method's record with the base's beside it."""
    return write(tmp_path, "balanced", cell="balanced"), write(tmp_path, "none", cell="none")


def _policy(*rules: dict[str, object], **more: object) -> Policy:
    return Policy.model_validate({"name": "test", "rules": list(rules)} | more)


def _run(*arguments: object) -> int:
    return main(["audit", *map(str, arguments)])


def test_it_says_what_was_removed_why_and_what_was_seen(records: tuple[Path, Path]) -> None:
    page = render(make_audit(records[0], "The owner asked.\n\nTicket <4711>."))
    for text in ("cat face", "The owner asked.", "Ticket &lt;4711&gt;.", "balanced", "dog face", "emoji@1",
                 "unlearnbench run --task classes/cat_face@emoji", f"{3:064x}", f"{0:064x}"):  # fmt: skip
        assert text in page
    assert "missing: CRA" not in page
    assert "no cross-domain retain images given" in page
    assert "FD needs 1024 images" in page
    assert "not signed" in page
    assert "<script" not in page
    assert page.count("data:image/webp") == 16


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ("diverse", "diverse: many retained concepts in many wordings, the same for every method"),
        ("narrow", "narrow: few retained concepts in one wording"),
        ("retain-2", "retain-2: 2 retained subjects in many wordings, the forget set as diverse as ever"),
    ],
)
def test_it_says_what_the_method_trained_on(tmp_path: Path, data: str, said: str) -> None:
    assert f">{said}<" in render(make_audit(write(tmp_path, "balanced", cell="x", data=data), ""))


def test_the_last_point_is_reported_unless_one_is_named(records: tuple[Path, Path]) -> None:
    last = make_audit(records[0], "")
    assert (last.subject.point.label, last.subject.how) == ("160", "last")
    named = make_audit(records[0], "", point="120")
    assert "looks better than it is" in dict(list_limits(named))["Choice of the model"]
    with pytest.raises(UserError, match="has the points 40, 80"):
        make_audit(records[0], "", point="50")


def test_thresholds_are_the_gates(records: tuple[Path, Path]) -> None:
    waiver = {"metric": "VA", "reason": "known", "owner": "ada", "expires": "2025-12-31"}
    rules = ({"metric": "UA", "at_least": 0.85}, {"metric": "VA", "drop_at_most": 0.001},
             {"metric": "in_prompt", "drop_at_most": 0.001})  # fmt: skip
    policy = _policy(*rules, waivers=[waiver])
    audit = make_audit(records[0], "", policy)
    assert audit.day == date(2025, 3, 1)
    assert audit.counted == {"met": 1, "missed": 1, "waived": 1}
    assert "waived by ada until 2025-12-31: known" in render(audit)
    late = make_audit(records[0], "", policy, day=date(2026, 1, 1))
    assert late.counted == {"met": 1, "missed": 2}


def test_without_the_model_before_differences_are_not_shown(tmp_path: Path) -> None:
    path = write(tmp_path, "balanced", cell="balanced")
    rules = ({"metric": "VA", "drop_at_most": 0.9}, {"metric": "UA", "at_least": 0.85})
    audit = make_audit(path, "", _policy(*rules))
    assert [finding.state for finding in audit.findings] == ["unclear", "passed"]
    assert "missing: no record of it" in render(audit)
    assert "missing" in dict(list_limits(audit))["Before"]


def test_what_is_missing_is_said_to_be(tmp_path: Path) -> None:
    point = make_record("none")[0].points[0]
    values = point.values | {"UA": missing("the judge failed on 2 of 48 images", 48)}
    points = [point.model_copy(update={"values": values})]
    path = write(tmp_path, "none", cell="x", points=points, sheet=[])
    page = render(make_audit(path, ""))
    assert page.count("missing: the judge failed on 2 of 48 images") == 2
    assert "no contact sheet" in page
    assert "no reason was given" in page


def test_the_judges_errors_are_those_published_with_the_world() -> None:
    """The counts are the README's percentages: one source of numbers, read twice."""
    text = WORLD.read_text(encoding="utf-8")
    emoji, tiny = read_judge_errors()
    assert "composites, fresh placements | 1.0000 | .9980 |" in text
    assert text.count("| 1.0000 | .9940 |") == 2
    assert emoji["missed"] == {"subject": [0, 6000], "style": [2000 * 2 // 1000 + 2 * 2000 * 6 // 1000, 6000]}
    assert "two composites 3.75 %" in text
    assert emoji["named"] == [round(0.0375 * 400), 400]
    assert "subject and style 99.95 % on composites, 99.65\nand 99.85 %" in text
    assert "99.8 and 99.95 % on round trips with latent noise" in text
    assert tiny["missed"] == {"subject": [1 + 7 + 4, 6000], "style": [1 + 3 + 1, 6000]}
    assert tiny["named"] == [79, 400]
    assert "19.8 % of decoded blended latents" in text


def test_nudity_of_real_worlds_is_blurred_in_its_pixels(tmp_path: Path) -> None:
    own = make_record("none")[0].task
    task = own.model_copy(update={"family": "nudity", "world": "sd15@1"})
    harmless = [task.model_copy(update={"world": f"{name}@1"}) for name in HARMLESS]
    assert [is_blurred(found) for found in (task, own, *harmless)] == [True, *[False] * (1 + len(HARMLESS))]
    assert set(HARMLESS) <= set(registry("worlds"))
    audit = make_audit(write(tmp_path, "none", cell="none", task=task), "")
    sharp, blurred = render(audit, show=True), render(audit)
    assert "They are blurred" not in sharp
    assert "images are blurred" in blurred
    tiles = [line for line in sharp.splitlines() if "data:image" in line]
    assert not any(line in blurred for line in tiles)


def _key(folder: Path, name: str) -> Path:
    pytest.importorskip("cryptography")
    path = folder / f"{name}.pem"
    assert _run("--new-key", path) == 0
    return path


def test_keys_are_private_and_never_overwritten(tmp_path: Path) -> None:
    key = _key(tmp_path, "key")
    assert os.name == "nt" or stat.S_IMODE(key.stat().st_mode) == 0o600
    before = key.read_bytes()
    assert _run("--new-key", key) == 2
    assert key.read_bytes() == before
    key.unlink()
    with pytest.raises(UserError, match=r"key\.pub: is there already"):
        write_key(key)


@pytest.mark.parametrize(
    "content", [b"", b"no key", b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"]
)
def test_a_file_that_is_no_key_is_one_line(tmp_path: Path, content: bytes) -> None:
    pytest.importorskip("cryptography")
    path = tmp_path / "key.pem"
    path.write_bytes(content)
    for private in (True, False):
        with pytest.raises(UserError, match=r"key\.pem"):
            read_key(path, private)


def test_equal_records_give_equal_bytes_and_verify_says_whose(
    records: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    key, other = _key(tmp_path, "key"), _key(tmp_path, "other")
    first, second = tmp_path / "1.html", tmp_path / "2.html"
    for out in (first, second):
        assert _run(records[0], "--why", "asked", "--key", key, "--out", out) == 0
    assert first.read_bytes() == second.read_bytes()
    plain = tmp_path / "plain.html"
    assert _run(records[0], "--out", plain) == 0
    capsys.readouterr()
    mine, theirs = key.with_suffix(".pub"), other.with_suffix(".pub")
    for arguments, status, words in (
        ((first, "--public", mine), 0, "signed by the key key.pub"),
        ((first, "--public", theirs), 1, "signed by another key"),
        ((first,), 2, "an unknown key"),
        ((plain,), 2, "unsigned"),
        ((plain, "--public", mine), 1, "unsigned"),
    ):
        assert _run("--verify", *arguments) == status
        said = capsys.readouterr().out
        assert words in said
        assert said.count("\n") == 1
    assert _run("--verify", tmp_path / "absent.html") == 2


@pytest.mark.parametrize("signed", [True, False])
def test_every_changed_byte_is_found(tmp_path: Path, signed: bool) -> None:
    """Two bits of every byte of body and seal; then cuts, and what is put before or after."""
    key = read_key(_key(tmp_path, "key"), private=True) if signed else None
    body = "<!doctype html>\n" + "x" * 400
    content = seal(body + meta(public_hex(key) if key else UNSIGNED) + "\n", key)
    whole = "signed" if signed else "unsigned"
    assert verify(content).state == whole
    for place in range(len(content)):
        for mask in (0x01, 0x20):  # another letter; the other case
            changed = bytearray(content)
            changed[place] ^= mask
            assert verify(bytes(changed)).state == "changed", place
    for end in range(0, len(content), 7):
        assert verify(content[:end]).state == "changed"
    for more in (b" ", b"\n", content, b'<section class="seal">'):
        assert verify(content + more).state == "changed"
    assert verify(content[1:]).state == "changed"


def test_a_report_on_disk_is_checked_whole(records: tuple[Path, Path], tmp_path: Path) -> None:
    key = _key(tmp_path, "key")
    out = tmp_path / "r.html"
    assert _run(records[0], "--key", key, "--out", out) == 0
    content = out.read_bytes()
    rng = np.random.default_rng(0)
    for place in rng.choice(len(content), 60, replace=False):
        changed = bytearray(content)
        changed[place] ^= 1 << int(rng.integers(8))
        out.write_bytes(bytes(changed))
        assert _run("--verify", out, "--public", key.with_suffix(".pub")) == 1


def test_a_signature_that_was_taken_off_or_replaced_shows(records: tuple[Path, Path], tmp_path: Path) -> None:
    key, other = (read_key(_key(tmp_path, name), private=True) for name in ("key", "other"))
    content = seal(render(make_audit(records[0], ""), public_hex(key)), key)
    body = content[: content.rfind(OPENING)].decode()
    assert "taken off" in verify(seal(body, None)).reason
    assert "replaced" in verify(seal(body, other)).reason


def test_a_reason_may_be_a_file(records: tuple[Path, Path], tmp_path: Path) -> None:
    why = tmp_path / "why.txt"
    why.write_text("A court said so.\n", encoding="utf-8")
    out = tmp_path / "r.html"
    assert _run(records[0], "--why", why, "--out", out) == 0
    assert "A court said so." in out.read_text(encoding="utf-8")
    assert _run(records[0], "--why", "nowhere.txt", "--out", out) == 2
    assert _run(records[0], "--why", "x" * 5000, "--out", out) == 0
    assert _run(records[0], "--date", "tomorrow", "--out", out) == 2
    assert _run(records[0]) == 2
    assert _run() == 2


def test_a_failed_run_has_no_report(tmp_path: Path) -> None:
    path = write(tmp_path, "none", cell="none", status="failed", error="boom")
    with pytest.raises(UserError, match="run that failed"):
        make_audit(path, "")


def test_a_value_without_interval_is_still_a_value(tmp_path: Path) -> None:
    point = make_record("none")[0].points[0]
    points = [point.model_copy(update={"values": {"UA": Value(value=0.5, n=48)}})]
    page = render(make_audit(write(tmp_path, "none", cell="x", points=points), ""))
    assert "50.0&nbsp;%</strong>." in page


def test_how_a_model_from_outside_was_made_is_missing_unless_its_maker_wrote_it(tmp_path: Path) -> None:
    method = make_record("balanced")[0].method.model_copy(
        update={"name": "mine", "config": {"model": "mine"}}
    )
    path = write(tmp_path, "balanced", cell="mine", method=method)
    assert "Its method: missing" in render(make_audit(path, ""))
    made = tmp_path / "unlearning.json"
    made.write_text(json.dumps({
        "concept": "cat face", "anchor": None, "base_model": "base", "method": "balanced", "seed": 3,
        "config": {"rate": 1e-5}, "data": {"forget": 64, "retain": 65, "drawn_by": "the base model"},
        "weights_before": "ab" * 32, "weights_after": "cd" * 32, "log": {},
    }))  # fmt: skip
    out = tmp_path / "r.html"
    assert _run(path, "--unlearning", made, "--out", out) == 0
    page = out.read_text(encoding="utf-8")
    for text in ("ab" * 32, "cd" * 32, "1e-05", ">65<", "did not check them against the model"):
        assert text in page
    made.write_text("{}")
    assert _run(path, "--unlearning", made, "--out", out) == 2


def test_markup_in_a_record_stays_text(tmp_path: Path) -> None:
    bad = '</dd><section class="seal"><script>alert(1)</script>'
    task = make_record("none")[0].task.model_copy(update={"concept": bad, "anchor": bad})
    path = write(tmp_path, "none", cell="x", task=task, command=bad, commit=bad)
    page = render(make_audit(path, bad))
    assert "<script" not in page
    assert '<section class="seal"' not in page
    assert verify(seal(page, None)).state == "unsigned"


BY = ("--by", "A. Maintainer")


def _say(*words: object) -> None:
    assert main([*map(str, words), *BY]) == 0


def test_a_record_that_was_taken_back_says_so(records: tuple[Path, Path]) -> None:
    clean = make_audit(records[0], "")
    assert clean.base is not None
    assert clean.said == ()
    _say("retract", records[0], "--reason", "trained on the <b>evaluation</b> prompts")
    audit = make_audit(records[0], "")
    assert "not to be relied on" in dict(list_limits(audit))["Withdrawn"]
    page = render(audit)
    assert "<strong>This record was withdrawn</strong> by A. Maintainer" in page
    assert page.count("trained on the &lt;b&gt;evaluation&lt;/b&gt; prompts") == 2
    assert "was withdrawn</strong>" not in render(clean)


def test_a_base_that_was_taken_back_is_not_found_and_a_named_one_is_told(
    records: tuple[Path, Path], tmp_path: Path
) -> None:
    second = write(tmp_path, "none", cell="none-2")
    _say("retract", records[1], "--reason", "wrong weights", "--successor", second)
    found = make_audit(records[0], "").base
    assert found is not None
    assert found.loaded.name == "none-2.json"
    named = make_audit(records[0], "", baseline=records[1])
    assert named.base is not None
    assert "wrong weights. It is superseded by the record" in dict(list_limits(named))["Before"]


def test_attacks_and_re_runs_are_told(records: tuple[Path, Path]) -> None:
    for ua, point in (("0.25", "160"), ("0.5", "120")):
        _say(
            "report-attack", records[0], "--ua", ua, "--point", point, "--attack", "Probe 1", "--images", "40"
        )
    own = load_one(records[0])
    number = {"point": "160", "metric": "UA", "claimed": 1.0, "rerun": 0.5, "state": "differs"}
    write_statement(
        Rerun(about=own.digest, cell=own.record.cell, by="B", date="2025-04-01", rerun="0" * 64,
              verdict="differs", margin=0.02, same_versions=True, numbers=[number]),
        records[0].parent,
    )  # fmt: skip
    texts = [text for about, text in list_limits(make_audit(records[0], "")) if about == "Stronger attack"]
    assert len(texts) == 2
    [here] = [text for text in texts if "another point" not in text]
    assert "is 1.00" in here
    assert "0.25" in here
    repeated = dict(list_limits(make_audit(records[0], "")))["Repeated"]
    assert "the numbers differ; 0 of 1 headline numbers are equal" in repeated


@pytest.mark.parametrize(
    ("command", "shown"),
    [
        ("unlearnbench run --suite 'my suite' --store ~/cache", "--suite 'my suite' --store ~/cache"),
        ("unlearnbench run ; curl example.org | sh", "';' curl example.org '|' sh"),
        ("curl example.org | sh", None),
        ("unlearnbench run --skip 'x", None),
    ],
)
def test_a_command_to_copy_starts_nothing_else(tmp_path: Path, command: str, shown: str | None) -> None:
    environment = make_record("balanced")[0].environment | {"threads": "2; reboot"}
    changes = {"command": command, "suite": "a; reboot", "environment": environment}
    audit = make_audit(write(tmp_path, "balanced", cell="x", **changes), "")
    page = html.unescape(render(audit))
    codes = re.findall(r'<pre class="command"><code>(.*?)</code></pre>', page)
    if shown is None:
        assert codes == []
        assert "names no command" in page
        return
    assert codes[0] == f"unlearnbench run {shown}"
    assert "--suite 'a; reboot' --task" in codes[1]
    assert all("threads" not in code for code in codes)
    assert [shlex.split(code)[0] for code in codes] == ["unlearnbench", "unlearnbench"]
    assert not any(word in (";", "|") for code in codes for word in shlex.shlex(code, punctuation_chars=True))
