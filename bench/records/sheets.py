"""Read contact sheets and check their digests.

A record that is written today carries the digest of its sheet. The sheets of records that were published
before are listed in the SHA256SUMS of their folder, which `pack` writes.
"""

import io
import re
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

from PIL import Image, UnidentifiedImageError

from ..errors import UserError
from .packed.record_table import find_json
from .record import Record, read_items, read_record
from .rows import Stamp, find_file, stamp
from .sealed import MENDED, SHEET, sha256
from .untrusted import SHEET_BYTES, SHEET_PIXELS

SUMS = "SHA256SUMS"
LINE = re.compile(r"([0-9a-f]{64})  ([^/\\]+(?:/[^/\\]+)?)")


def read_sums(folder: Path) -> Mapping[str, str]:
    """Return what a folder of records lists: file name -> sha256. Raises UserError on a broken line."""
    file = folder / SUMS
    try:
        state = file.stat()
    except OSError:
        return {}
    return _read_sums(file, (state.st_mtime_ns, state.st_size, state.st_ino))


@lru_cache(maxsize=16)
def _read_sums(file: Path, _: tuple[int, int, int]) -> Mapping[str, str]:
    found: dict[str, str] = {}
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{file}: cannot be read: {error}") from None
    for number, line in enumerate(lines, start=1):
        match = LINE.fullmatch(line)
        if match is None or match[2] in found:
            raise UserError(f"{file}: line {number}: is no `sha256  name`, or names a file twice")
        found[match[2]] = match[1]
    return found


def listed_digest(file: Path, claimed: str = "claimed") -> str | None:
    """Return the digest that its folder lists for a file, None where it lists none."""
    folder, name = file.parent, file.name
    if folder.name == claimed and (folder.parent / SUMS).exists():
        folder, name = folder.parent, f"{claimed}/{name}"
    return read_sums(folder).get(name)


def bound_sheet(path: Path, record: Record) -> str | None:
    """Return the digest that a record's (CELL.json) contact sheet must have, None where none is known."""
    return record.files.get(SHEET) or listed_digest(path.with_suffix(".webp"))


def read_sheet(path: Path, record: Record) -> bytes:
    """Return the contact sheet of a record (CELL.json): a row a point, a column a caption, square tiles.

    Sizes are checked before anything is unpacked. Raises UserError naming the file where it is missing,
    damaged, too large, of another shape, or not the one that the record was written with.
    """
    file = path.with_suffix(".webp")
    try:
        if file.stat().st_size > SHEET_BYTES:
            raise UserError(f"{file}: {file.stat().st_size:,} bytes; a sheet has at most {SHEET_BYTES:,}")
        content = file.read_bytes()
    except FileNotFoundError:
        raise UserError(f"{file}: missing, though {path.name} lists a sheet; {MENDED}") from None
    except OSError as error:
        raise UserError(f"{file}: cannot be read: {error.strerror}") from None
    bound = bound_sheet(path, record)
    if bound is not None and bound != sha256(content):
        raise UserError(f"{file}: is not the sheet of {path.name} (digest differs); {MENDED}")
    width, height = _check_image(file, content)
    columns, rows = len(record.sheet), len(record.points)
    if width * rows != height * columns:
        raise UserError(f"{file}: sheet: {width} x {height} px is not {rows} rows of {columns} square tiles")
    return content


def _stated_size(content: bytes) -> tuple[int, int]:
    """Return the width and height in a WebP's header; ValueError where it is none, or is an animation."""
    kind = content[12:16]
    if content[:4] != b"RIFF" or content[8:12] != b"WEBP" or len(content) < 30:
        raise ValueError("not a WebP header")
    if kind == b"VP8X":
        if content[20] & 2:
            raise ValueError("a film of several pictures")
        return 1 + int.from_bytes(content[24:27], "little"), 1 + int.from_bytes(content[27:30], "little")
    if kind == b"VP8 ":
        return tuple(int.from_bytes(content[i : i + 2], "little") & 0x3FFF for i in (26, 28))  # type: ignore[return-value]
    if kind == b"VP8L":
        bits = int.from_bytes(content[21:25], "little")
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    raise ValueError("not a WebP header")


def _check_image(file: Path, content: bytes) -> tuple[int, int]:
    """Return the size of an image after decoding all of it."""
    try:
        width, height = _stated_size(content)  # a decoder allocates the whole image when it opens it
        if width * height > SHEET_PIXELS:
            raise UserError(f"{file}: {width} x {height} px; a sheet has at most {SHEET_PIXELS:,} pixels")
        with Image.open(io.BytesIO(content), formats=["WEBP"]) as image:
            image.load()
            return image.size
    except (OSError, UnidentifiedImageError, Image.DecompressionBombError, ValueError) as error:
        raise UserError(f"{file}: not a readable webp image; {MENDED} ({error!s:.80})") from None


def check_whole(path: Path, record: Record) -> None:
    """Raise UserError naming the file where a record's item rows or its sheet are missing or damaged."""
    files = (find_json(path), find_file(path), path.with_suffix(".webp"))
    _check(path, tuple(stamp(file) if file.exists() else None for file in files))


@lru_cache(maxsize=4096)
def _check(path: Path, _: tuple[Stamp | None, ...]) -> None:
    record = read_record(path)
    read_items(path, record)
    if record.sheet:
        read_sheet(path, record)
