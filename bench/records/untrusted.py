"""Read records from other people: refuse large, unusual or dangerous files before reading their content.

Every refusal is one UserError that names the file, the field and the remedy. Nothing here trusts a length, a
type or a name that the file states about itself.
"""

import json
import re
import unicodedata
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as compute
import pyarrow.parquet as parquet

from ..errors import UserError
from ..types import ITEM_COLUMNS, OPTIONAL_COLUMNS
from .packed.record_table import JSON_BYTES, RECORDS, RECORDS_BYTES, find_json, read_bytes
from .parquet_pages import check_pages

PARQUET_BYTES = 16 * 2**20
SHEET_BYTES = 16 * 2**20
MOST_ROWS = 200_000
"""Item rows that a record may have, all points together."""
TEXT_LENGTH = 10_000
"""Characters of the longest string that a record may hold; the longest prompts known have some 1,000."""
TABLE = "items.parquet"
"""The one file of a folder that may hold the item rows of all its records."""
TABLE_BYTES = 64 * 2**20
TABLE_ROWS = 2_000_000
TEXT_BYTES = 64 * 2**20
"""Most bytes of all texts of a record's item rows, each counted in every row that holds it."""
MOST_DEPTH = 30
"""Most levels of objects and lists in a record."""
SHEET_PIXELS = 50_000_000
TABLES = {TABLE: TABLE_BYTES, RECORDS: RECORDS_BYTES}
LIMITS = {".json": JSON_BYTES, ".parquet": PARQUET_BYTES, ".webp": SHEET_BYTES}
FILE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,199}")
STRING = re.compile(rb'"(?:[^"\\]|\\.)*+"', re.DOTALL)
"""A string of JSON; one character takes at most six bytes there."""
NUMBERS = {"point": pa.types.is_integer, "sample": pa.types.is_integer, "seed": pa.types.is_integer,
           "given": pa.types.is_boolean, "target_found": pa.types.is_boolean,
           "alignment": pa.types.is_floating, "alignment_shuffled": pa.types.is_floating,
           "flatness": pa.types.is_floating,
           **dict.fromkeys(OPTIONAL_COLUMNS, pa.types.is_floating)}  # fmt: skip
"""Column of item rows -> the type that it must have; every other one is text."""
TEXTS = [name for name in ("point", *ITEM_COLUMNS) if name not in NUMBERS]
NULLS = ("alignment", "alignment_shuffled", "flatness", *OPTIONAL_COLUMNS)
"""Columns that may hold nulls in addition to ANSWERS: not computed, or not defined for every row."""
ANSWERS = ("found_subject", "found_style", "found_background", "target_found")


def check_size(path: Path) -> None:
    """Raise UserError unless a path is an ordinary file of a size that a record's file may have."""
    if path.is_symlink():
        raise UserError(f"{path}: is a link; a record's files are ordinary files")
    if not path.is_file():
        raise UserError(f"{path}: no such file")
    limit, size = TABLES.get(path.name) or LIMITS[path.suffix], path.stat().st_size
    if size > limit:
        what = "the table of a folder's records" if path.name in TABLES else f"a record's {path.suffix} file"
        raise UserError(f"{path}: {size:,} bytes; {what} has at most {limit:,}")


def check_file_name(path: Path) -> None:
    """Raise UserError unless a file's name is one that `run` could have given it."""
    if not FILE_NAME.fullmatch(path.name) or ".." in path.name:
        raise UserError(
            f"{path.name!a}: name: only letters, digits and . _ - may stand in a record's file name"
        )


def read_untrusted_json(path: Path) -> dict[str, Any]:
    """Return the object in a JSON file after checking every text and number.

    Raises UserError for a file or a string too long, a key given twice, NaN or Infinity, control
    characters, and what is not JSON at all.
    """
    check_file_name(path)
    check_size(find_json(path))
    raw = read_bytes(path)
    if any(match.end() - match.start() > 6 * TEXT_LENGTH for match in STRING.finditer(raw)):
        raise UserError(f"{path}: holds a string of more than {TEXT_LENGTH:,} characters")
    try:
        content = json.loads(
            raw.decode("utf-8"),
            object_pairs_hook=_no_key_twice,
            parse_constant=_refuse_constant,
            parse_float=_finite,
        )
    except (UnicodeDecodeError, RecursionError, ValueError) as error:
        reason = "nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise UserError(f"{path}: not JSON that a record may be: {reason}") from None
    if not isinstance(content, dict):
        raise UserError(f"{path}: (top level): a record is a JSON object")
    if _is_deep(content):
        raise UserError(f"{path}: not JSON that a record may be: nested too deeply")
    for field, text in walk_texts(content):
        complaint = find_problems_in_text(text)
        if complaint:
            raise UserError(f"{path}: {field}: {complaint}")
    return content


def _is_deep(content: Any) -> bool:
    """Return whether values are nested in more than MOST_DEPTH levels."""
    level = [content]
    for _ in range(MOST_DEPTH):
        level = [
            value
            for part in level
            for value in (part.values() if isinstance(part, dict) else part)
            if isinstance(value, dict | list)
        ]
        if not level:
            return False
    return True


def _no_key_twice(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f"the key {ascii(twice)[:60]} stands twice in one object")
    return found


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is no number that was measured; what is missing is null")


def _finite(text: str) -> float:
    number = float(text)
    if number in (float("inf"), float("-inf")):
        raise ValueError(f"{text[:40]} is out of range")
    return number


def walk_texts(content: Any, field: str = "") -> Iterator[tuple[str, str]]:
    """Yield (dotted field, text) of every string in nested values, keys included."""
    if isinstance(content, str):
        yield field or "(top level)", content
    elif isinstance(content, dict):
        for key, value in content.items():
            where = f"{field}.{key:.60}" if field else f"{key:.60}"
            yield f"{field or '(top level)'} (a key)", key
            yield from walk_texts(value, where)
    elif isinstance(content, list):
        for position, value in enumerate(content):
            yield from walk_texts(value, f"{field}.{position}")


def find_problems_in_text(text: str) -> str | None:
    """Return what is wrong with any text of a record, None where nothing is.

    Control and direction-changing characters show a reader another text than the file holds; line feeds
    may occur in the text of an error.
    """
    if len(text) > TEXT_LENGTH:
        return f"a string of {len(text):,} characters; at most {TEXT_LENGTH:,}"
    if text.isprintable():  # no character of the categories below
        return None
    for character in text:
        if character not in "\n\t" and unicodedata.category(character) in ("Cc", "Cf", "Cs", "Co"):
            return f"holds the character U+{ord(character):04X}, which cannot be seen; leave it out"
    return None


def read_untrusted_items(path: Path, most_rows: int) -> pa.Table:
    """Return the item rows of a parquet file as an Arrow table; its texts are dictionaries.

    Only `point` and the columns of ITEM_COLUMNS and OPTIONAL_COLUMNS with plain types, no metadata (an Arrow
    schema could ask for a pickle to be opened), no more than `most_rows`. Raises UserError naming the file
    and the column.
    """
    return _read_rows(path, most_rows, ["point", *ITEM_COLUMNS])


def read_untrusted_table(path: Path) -> pa.Table:
    """Return the rows of a folder's table, checked as a record's file is; `cell` names a row's record."""
    return _read_rows(path, TABLE_ROWS, ["cell", "point", *ITEM_COLUMNS])


def _read_rows(path: Path, most_rows: int, columns: Sequence[str]) -> pa.Table:
    texts = [name for name in columns if name not in NUMBERS]
    check_size(path)
    try:
        with parquet.ParquetFile(path) as file:
            _check_parquet(path, file, most_rows, columns)
        with parquet.ParquetFile(path, read_dictionary=texts) as file:  # every one of them is there now
            table = file.read()
        if path.name != TABLE:
            check_texts(path, table)
    except (OSError, pa.ArrowException) as error:
        raise UserError(f"{path}: not a readable parquet file: {str(error).splitlines()[0]}") from None
    for name in table.column_names:
        if table.column(name).null_count and name not in (*ANSWERS, *NULLS):
            raise UserError(f"{path}: {name}: holds nulls; every row of a record has one")
    for name in texts:
        column = table.column(name)
        for chunk in column.chunks if pa.types.is_dictionary(column.type) else []:
            for text in chunk.dictionary.to_pylist():
                complaint = find_problems_in_text(text) if text is not None else None
                if complaint:
                    raise UserError(f"{path}: {name}: {complaint}")
    return table


def _check_parquet(path: Path, file: parquet.ParquetFile, most_rows: int, columns: Sequence[str]) -> None:
    metadata, schema = file.metadata, file.schema_arrow
    if metadata.metadata:
        raise UserError(
            f"{path}: carries metadata ({ascii(min(metadata.metadata))[:40]}); a record's has none"
        )
    names = [name for name in schema.names if name not in OPTIONAL_COLUMNS]
    odd = sorted(set(names) ^ set(columns)) or [n for n in schema.names if schema.names.count(n) > 1]
    if odd:
        what = "lacks the column" if odd[0] in columns else "has an unknown column"
        raise UserError(f"{path}: {what} {ascii(odd[0])[:60]}; its columns are: {', '.join(columns)}")
    for field in schema:
        kind = field.type.value_type if pa.types.is_dictionary(field.type) else field.type
        empty = pa.types.is_null(kind) and field.name in ANSWERS  # a judge that never answers this kind
        if not empty and not NUMBERS.get(field.name, pa.types.is_string)(kind):
            raise UserError(f"{path}: {field.name}: is of type {kind}, not of the type that a record's has")
    if metadata.num_rows > most_rows:
        whose = "the table of a folder's records" if path.name == TABLE else "a record"
        raise UserError(f"{path}: {metadata.num_rows:,} rows; {whose} has at most {most_rows:,}")
    check_pages(path, metadata, most_rows)


def check_parquet(path: Path, most_rows: int) -> parquet.FileMetaData:
    """Return a file's metadata; UserError, before anything is unpacked, where it takes too much memory."""
    limit = TABLE_BYTES if path.name == TABLE else PARQUET_BYTES
    try:
        if path.stat().st_size > limit:
            size = path.stat().st_size
            raise UserError(f"{path}: {size:,} bytes; a file of item rows has at most {limit:,}")
        with parquet.ParquetFile(path) as file:
            check_pages(path, file.metadata, most_rows)
            return file.metadata
    except (OSError, pa.ArrowException) as error:
        raise UserError(f"{path}: not a readable parquet file: {str(error).splitlines()[0]}") from None


def check_texts(path: Path, table: pa.Table) -> None:
    """Raise UserError where the texts of a record's rows take more than TEXT_BYTES once they are spelt out.

    table: with texts as dictionaries, whose size does not depend on repetition.
    """
    total = 0
    for column in table.columns:
        if not pa.types.is_dictionary(column.type):
            continue
        for chunk in column.chunks:
            lengths = compute.binary_length(chunk.dictionary)
            total += compute.sum(lengths.take(chunk.indices)).as_py() or 0
    if total > TEXT_BYTES:
        raise UserError(f"{path}: its texts take {total:,} bytes; those of a record at most {TEXT_BYTES:,}")
