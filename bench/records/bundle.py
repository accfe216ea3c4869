"""A submission: records with item rows, sheets and digests in one file, equal bytes for equal records.

What is packed is a claim: its records' source is `reported` until somebody else has run them again.
"""

import hashlib
import json
import stat
import tempfile
import zipfile
import zlib
from collections import Counter
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Literal

import pandas as pd
from pydantic import BaseModel, Field

from ..config import STRICT, build
from ..errors import UserError
from ..files import replace_file
from .chosen import refuse_unranked
from .record import Record, read_items, read_record, record_digest, write_record
from .rows import write_items
from .sheets import read_sheet
from .statements import MANIFEST
from .untrusted import FILE_NAME, LIMITS, MOST_ROWS, TABLES, read_untrusted_items, read_untrusted_json

MOST_FILES = 3000
MOST_BYTES = 512 * 2**20
END_BYTES = 22 + 2**16
"""Maximum length of the end of a zip: its last record and a comment."""
ENTRY_BYTES = 1024
"""Most bytes of an entry of a zip's directory, on average."""
EPOCH = (1980, 1, 1, 0, 0, 0)
"""Time of every packed file: the earliest of the format, so that bytes do not depend on the clock."""
Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class Packed(BaseModel):
    """One record of a submission. files: name -> sha256. images_sha256: over its images' own, row by row."""

    model_config = STRICT
    cell: str = Field(max_length=200)
    digest: Digest
    files: dict[str, Digest]
    images: int = Field(ge=0)
    images_sha256: Digest


class Submission(BaseModel):
    """The manifest of a submission."""

    model_config = STRICT
    schema_version: Literal[1] = 1
    claimed: Literal[True] = True
    unlearnbench: str = Field(max_length=40)
    records: list[Packed] = Field(min_length=1, max_length=MOST_FILES // 3)


def pack(paths: Sequence[Path], target: Path) -> Submission:
    """Write a submission of these records (CELL.json), return its manifest; UserError on a broken one.

    Files are stored, not compressed: they are small already, and compressors differ in their bytes.
    """
    cells = [path.stem for path in paths]
    twice = sorted({cell for cell in cells if cells.count(cell) > 1})
    if twice:
        raise UserError(f"{twice[0]}.json: two records of this name; submit them apart")
    with tempfile.TemporaryDirectory() as scratch:
        packed: list[Packed] = []
        contents: dict[str, bytes] = {}
        for path in sorted(paths, key=lambda path: path.stem):
            own, files = _pack_one(path, Path(scratch))
            packed.append(own)
            contents |= files
    submission = Submission(unlearnbench=version("unlearnbench"), records=packed)
    text = json.dumps(submission.model_dump(mode="json"), indent=1, sort_keys=True) + "\n"
    whole = {MANIFEST: text.encode(), **dict(sorted(contents.items()))}
    replace_file(target, lambda scratch: _write_zip(whole, scratch))
    return submission


def _write_zip(contents: dict[str, bytes], target: Path) -> None:
    with zipfile.ZipFile(target, "w") as file:
        for name, content in contents.items():
            entry = zipfile.ZipInfo(name, EPOCH)
            entry.external_attr = (stat.S_IFREG | 0o644) << 16
            entry.create_system = 3
            file.writestr(entry, content)


def _pack_one(path: Path, scratch: Path) -> tuple[Packed, dict[str, bytes]]:
    record = read_record(path)
    refuse_unranked(path, record)
    record = record.model_copy(update={"source": "reported"})
    items = read_items(path, record)
    sheet = read_sheet(path, record) if record.sheet else None
    written = write_record(record, None, sheet, scratch, seal=True)
    contents = {path.name: written.read_bytes()}
    if items is not None:
        rows = (
            scratch / f"{path.stem}.parquet"
        )  # written again, so that rows from a folder's table give the same bytes
        write_items(items, rows)
        contents[rows.name] = rows.read_bytes()
    if sheet is not None:
        contents[f"{path.stem}.webp"] = sheet
    digests = {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()}
    images, digest = _images(items)
    return Packed(
        cell=record.cell, digest=record_digest(record), files=digests, images=images, images_sha256=digest
    ), contents


def _images(items: pd.DataFrame | None) -> tuple[int, str]:
    rows = [] if items is None else items["image_sha256"].tolist()
    return len(rows), hashlib.sha256("\n".join(rows).encode()).hexdigest()


def unpack(path: Path, folder: Path) -> list[Path]:
    """Write the files of a submission into an empty folder; return its records' paths.

    Nothing is written but plain files of a record's kinds and sizes, straight into `folder`. Raises
    UserError, naming file and entry, for paths, links, bombs, digests that differ, files nobody named.
    """
    try:
        _check_directory(path)
        with zipfile.ZipFile(path) as file:
            entries = _check_entries(path, file.infolist())
            for entry in entries:
                (folder / entry.filename).write_bytes(_read(path, file, entry))
    except (OSError, zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, zlib.error,
            UnicodeDecodeError) as error:  # fmt: skip
        raise UserError(f"{path}: not a readable submission: {error}") from None
    submission = build(Submission, read_untrusted_json(folder / MANIFEST), f"{path}: {MANIFEST}")
    (folder / MANIFEST).unlink()
    _refuse_twice(path, submission)
    named = {name for packed in submission.records for name in packed.files}
    there = {entry.filename for entry in entries} - {MANIFEST}
    if named != there:
        odd = min(named ^ there)
        raise UserError(
            f"{path}: {odd}: {'named but not packed' if odd in named else 'packed but not named'}"
        )
    return [_check_packed(path, folder, packed) for packed in submission.records]


def _check_directory(path: Path) -> None:
    """Raise UserError, before reading it, where a zip lists more entries than a submission may have."""
    size = path.stat().st_size
    with path.open("rb") as file:
        file.seek(max(0, size - END_BYTES))
        end = file.read()
    place = end.rfind(b"PK\x05\x06")
    if place < 0 or len(end) < place + 22:
        raise UserError(f"{path}: not a readable submission: File is not a zip file")
    length = int.from_bytes(end[place + 12 : place + 16], "little")
    if size > 2 * MOST_BYTES or length > MOST_FILES * ENTRY_BYTES or b"PK\x06\x07" in end[:place][-20:]:
        raise UserError(f"{path}: unpacks to more than {MOST_FILES:,} files or {MOST_BYTES:,} bytes")


def _refuse_twice(path: Path, submission: Submission) -> None:
    """Raise UserError where a manifest names a record or a file twice, whatever the case of its letters."""
    cells = [packed.cell.lower() for packed in submission.records]
    files = [name.lower() for packed in submission.records for name in packed.files]
    for names in (cells, files):
        if twice := sorted(name for name in set(names) if names.count(name) > 1):
            raise UserError(f"{path}: {MANIFEST}: names {twice[0][:80]!a} twice")


def _check_entries(path: Path, entries: list[zipfile.ZipInfo]) -> list[zipfile.ZipInfo]:
    names = [entry.filename for entry in entries]
    counts = Counter(name.lower() for name in names)
    if len(names) > MOST_FILES or sum(entry.file_size for entry in entries) > MOST_BYTES:
        raise UserError(f"{path}: unpacks to more than {MOST_FILES:,} files or {MOST_BYTES:,} bytes")
    if MANIFEST not in names:
        raise UserError(f"{path}: has no {MANIFEST}; `unlearnbench submit` writes one")
    for entry in entries:
        name, mode = entry.filename, entry.external_attr >> 16
        if not FILE_NAME.fullmatch(name) or ".." in name or Path(name).suffix not in LIMITS or name in TABLES:
            raise UserError(
                f"{path}: {ascii(name)[:80]}: no name of a record's file; nothing lies in folders"
            )
        if counts[name.lower()] > 1:
            raise UserError(f"{path}: {name}: is there twice")
        if stat.S_IFMT(mode) not in (0, stat.S_IFREG):
            raise UserError(f"{path}: {name}: is a link or no ordinary file")
        if entry.flag_bits & 1 or entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise UserError(f"{path}: {name}: is encrypted or packed in an unusual way")
        if entry.file_size > LIMITS[Path(name).suffix]:
            raise UserError(f"{path}: {name}: {entry.file_size:,} bytes; too large for its kind")
    return entries


def _read(path: Path, file: zipfile.ZipFile, entry: zipfile.ZipInfo) -> bytes:
    """Return an entry's bytes. The limit of its kind holds whatever its header says."""
    limit = LIMITS[Path(entry.filename).suffix]
    with file.open(entry) as stream:
        content = stream.read(limit + 1)
    if len(content) > limit or len(content) != entry.file_size:
        raise UserError(f"{path}: {entry.filename}: unpacks to another size than it states")
    return content


def _check_packed(path: Path, folder: Path, packed: Packed) -> Path:
    target = folder / f"{packed.cell}.json"
    if target.name not in packed.files:
        raise UserError(f"{path}: {packed.cell[:80]!r}: its record is not among its files")
    for name, digest in packed.files.items():
        if hashlib.sha256((folder / name).read_bytes()).hexdigest() != digest:
            raise UserError(f"{path}: {name}: is not the file that was packed (digest differs)")
    record = build(Record, read_untrusted_json(target), f"{path}: {target.name}")
    if record.source != "reported":
        raise UserError(
            f"{path}: {target.name}: source: is {record.source!r}; what is submitted is 'reported'"
        )
    if record_digest(record) != packed.digest:
        raise UserError(f"{path}: {target.name}: is not the record that was packed (digest differs)")
    _check_images(path, target, record, packed)
    return target


def _check_images(path: Path, target: Path, record: Record, packed: Packed) -> None:
    """Raise UserError where the manifest and the item rows name different images."""
    items = None
    if record.items_sha256 is not None:
        table = read_untrusted_items(target.with_suffix(".parquet"), MOST_ROWS)
        items = table.select(["image_sha256"]).to_pandas()
    if _images(items) != (packed.images, packed.images_sha256):
        raise UserError(f"{path}: {target.name}: images: are not those of its item rows (digest differs)")
