"""A submission is equal bytes for equal records, and unpacking one writes nothing that was not packed so."""

import json
import stat
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from unlearnbench.bench.errors import UserError
from unlearnbench.bench.records.bundle import MANIFEST, pack, unpack
from unlearnbench.bench.records.record import read_record, record_digest

from ..leaderboard.synthetic import write

Entries = dict[str, bytes]


@pytest.fixture
def records(tmp_path: Path) -> list[Path]:
    return [write(tmp_path / "mine", name) for name in ("none", "balanced")]


@pytest.fixture
def submission(records: list[Path], tmp_path: Path) -> Path:
    pack(records, tmp_path / "claim.zip")
    return tmp_path / "claim.zip"


def test_the_same_records_give_the_same_bytes_in_any_order(records: list[Path], tmp_path: Path) -> None:
    pack(records, tmp_path / "a.zip")
    pack(records[::-1], tmp_path / "b.zip")
    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()


def test_what_is_packed_is_a_claim_with_its_images_digests(
    records: list[Path], submission: Path, tmp_path: Path
) -> None:
    target = tmp_path / "unpacked"
    target.mkdir()
    found = unpack(submission, target)
    assert [path.name for path in found] == sorted(path.name for path in records)
    for path in found:
        own, claim = read_record(path.parents[1] / "mine" / path.name), read_record(path)
        assert (own.source, claim.source) == ("measured", "reported")
        assert claim.files == ({"webp": claim.files["webp"]} if own.sheet else {})
        unsealed = {"source": "measured", "files": own.files, "content_sha256": own.content_sha256}
        assert claim.model_copy(update=unsealed) == own
        assert record_digest(claim) != record_digest(own)
    manifest = json.loads(zipfile.ZipFile(submission).read(MANIFEST))
    assert manifest["claimed"] is True
    assert all(packed["images"] > 0 for packed in manifest["records"])


def repack(path: Path, change: Callable[[Entries], Any], mode: int = stat.S_IFREG, **options: Any) -> None:
    with zipfile.ZipFile(path) as file:
        entries = {name: file.read(name) for name in file.namelist()}
    change(entries)
    with zipfile.ZipFile(path, "w", **options) as file:
        for name, content in entries.items():
            info = zipfile.ZipInfo(name)
            info.external_attr = ((mode if name != MANIFEST else stat.S_IFREG) | 0o644) << 16
            info.compress_type = options.get("compression", zipfile.ZIP_STORED)
            file.writestr(info, content)


def _tamper(entries: Entries) -> None:
    name = next(name for name in entries if name.endswith(".parquet"))
    entries[name] = entries[name][:-1] + b"x"


def _unclaim(entries: Entries) -> None:
    manifest = json.loads(entries[MANIFEST])
    manifest["claimed"] = False
    entries[MANIFEST] = json.dumps(manifest).encode()


def _forge(entries: Entries) -> None:
    manifest = json.loads(entries[MANIFEST])
    manifest["records"][0]["digest"] = "0" * 64
    entries[MANIFEST] = json.dumps(manifest).encode()


def _more_images(entries: Entries) -> None:
    manifest = json.loads(entries[MANIFEST])
    manifest["records"][0]["images"] += 1
    entries[MANIFEST] = json.dumps(manifest).encode()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda e: e.update({"../evil.json": b"{}"}), r"'\.\./evil\.json': no name of a record's file"),
        (lambda e: e.update({"/etc/evil.json": b"{}"}), "no name of a record's file"),
        (lambda e: e.update({"folder/evil.json": b"{}"}), "no name of a record's file"),
        (lambda e: e.update({"evil.py": b""}), "no name of a record's file"),
        (lambda e: e.update({"items.parquet": b""}), "no name of a record's file"),
        (lambda e: e.update({"records.parquet": b""}), "no name of a record's file"),
        (lambda e: e.update({"more.json": b"{}"}), "more.json: packed but not named"),
        (lambda e: e.pop(MANIFEST), "has no submission.json"),
        (lambda e: e.pop(next(n for n in e if n.endswith(".webp"))), "named but not packed"),
        (_tamper, "is not the file that was packed"),
        (_unclaim, "claimed: Input should be True"),
        (_forge, "is not the record that was packed"),
        (_more_images, "images: are not those of its item rows"),
        (lambda e: e.update({"big.json": b" " * (5 * 2**20)}), "too large for its kind"),
    ],
)  # fmt: skip
def test_a_submission_that_is_not_as_submit_packs_it_is_refused(
    submission: Path, tmp_path: Path, change: Callable[[Entries], Any], said: str
) -> None:
    repack(submission, change)
    target = tmp_path / "unpacked"
    target.mkdir()
    with pytest.raises(UserError, match=said) as caught:
        unpack(submission, target)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "evil.json").exists()


def test_links_and_bombs_are_refused(submission: Path, tmp_path: Path) -> None:
    target = tmp_path / "unpacked"
    target.mkdir()
    repack(submission, lambda entries: None, mode=stat.S_IFLNK)
    with pytest.raises(UserError, match="is a link"):
        unpack(submission, target)
    repack(
        submission, lambda e: e.update({"bomb.webp": bytes(100 * 2**20)}), compression=zipfile.ZIP_DEFLATED
    )
    assert submission.stat().st_size < 2**20
    with pytest.raises(UserError, match=r"bomb\.webp: 104,857,600 bytes; too large"):
        unpack(submission, target)
    assert list(target.iterdir()) == []


def test_a_header_that_lies_about_the_size_is_found(submission: Path, tmp_path: Path) -> None:
    repack(submission, lambda e: e.update({"bomb.webp": bytes(20 * 2**20)}), compression=zipfile.ZIP_DEFLATED)
    raw = bytearray(submission.read_bytes())
    size = (20 * 2**20).to_bytes(4, "little")
    while size in raw:
        at = raw.index(size)
        raw[at : at + 4] = (1000).to_bytes(4, "little")
    submission.write_bytes(bytes(raw))
    target = tmp_path / "unpacked"
    target.mkdir()
    with pytest.raises(UserError):
        unpack(submission, target)


def test_what_is_no_zip_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "x.zip").write_bytes(b"PK\x03\x04 nothing")
    with pytest.raises(UserError, match="not a readable submission"):
        unpack(tmp_path / "x.zip", tmp_path)


@pytest.mark.parametrize("broken", ["stream", "name"])
def test_a_corrupt_zip_is_one_line(submission: Path, tmp_path: Path, broken: str) -> None:
    target = tmp_path / "unpacked"
    target.mkdir()
    repack(submission, lambda e: e.update({"x\u00e9.json": b"{}" * 1000}), compression=zipfile.ZIP_DEFLATED)
    raw = submission.read_bytes()
    if broken == "name":
        raw = raw.replace("x\u00e9.json".encode(), b"x\xff\xfe.json")
    else:
        at = zipfile.ZipFile(submission).getinfo(MANIFEST).header_offset + 30 + len(MANIFEST)
        raw = raw[:at] + b"\xff" * 20 + raw[at + 20 :]
        raw = raw.replace("x\u00e9.json".encode(), b"xyz.json")
    submission.write_bytes(raw)
    with pytest.raises(UserError, match="not a readable submission") as caught:
        unpack(submission, target)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("what", ["record", "case", "file"])
def test_a_manifest_that_names_one_twice_is_refused(submission: Path, tmp_path: Path, what: str) -> None:
    with zipfile.ZipFile(submission) as file:
        contents = {name: file.read(name) for name in file.namelist()}
    manifest = json.loads(contents[MANIFEST])
    first = dict(manifest["records"][0])
    if what == "case":
        first["cell"] = first["cell"].upper()
    if what == "file":
        first["cell"] = "another"
    manifest["records"].append(first)
    contents[MANIFEST] = json.dumps(manifest).encode()
    with zipfile.ZipFile(tmp_path / "twice.zip", "w") as file:
        for name, content in contents.items():
            file.writestr(name, content)
    (tmp_path / "out").mkdir()
    with pytest.raises(UserError, match=r"names '.*' twice"):
        unpack(tmp_path / "twice.zip", tmp_path / "out")
