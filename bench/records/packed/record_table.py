"""Read the JSON of records: files of their own, `CELL.json`, or rows of their folder's `records.parquet`.

The path of a packed record is the path that its own file would have; every reader of records takes either.
"""

import re
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pyarrow as pa
import pyarrow.parquet as parquet

from ...config import read_whole
from ...errors import UserError
from ..parquet_pages import check_pages

RECORDS = "records.parquet"
"""The one file of a folder that may hold the JSON of all its records."""
RECORDS_BYTES = 64 * 2**20
MOST_RECORDS = 20_000
JSON_BYTES = 4 * 2**20
"""Size in bytes of the largest JSON of a record."""
SCHEMA = pa.schema(
    [pa.field("cell", pa.string(), nullable=False), pa.field("record", pa.binary(), nullable=False)]
)
CELL = re.compile(r"(?!submission$)[A-Za-z0-9_][A-Za-z0-9._-]{0,194}(?<!\.labels)")
"""Name of a record: no folder in it, and no name of another kind of file."""
PAGE_BYTES = 1 << 26
"""Page size of a table: one page holds a whole column, because compression works within a page."""


def write_records(contents: Mapping[str, bytes], path: Path) -> None:
    """Write the JSON of records by cell as one table, sorted by cell; equal records, equal bytes."""
    cells = sorted(contents)
    table = pa.table([cells, [contents[cell] for cell in cells]], schema=SCHEMA)
    parquet.write_table(
        table,
        path,
        compression="zstd",
        compression_level=19,
        use_dictionary=False,
        write_statistics=False,
        store_schema=False,
        data_page_size=PAGE_BYTES,
    )


def find_json(path: Path) -> Path:
    """Return the file that holds a record (CELL.json): its own, else its folder's table.

    Where neither holds it, this is the record's own file, which is missing then.
    """
    return path.with_name(RECORDS) if not path.exists() and _find_row(path) is not None else path


def has_record(path: Path) -> bool:
    """Return whether a record (CELL.json) is there, in a file of its own or in its folder's table."""
    return path.exists() or _find_row(path) is not None


def refuse_packed(path: Path) -> None:
    """Raise UserError where a record (CELL.json) would be written that its folder's table holds already."""
    if _find_row(path) is not None:
        raise UserError(
            f"{path.with_name(RECORDS)}: holds {path.stem}, and a packed record is never "
            "replaced; give another --out"
        )


def read_bytes(path: Path) -> bytes:
    """Return the JSON of a record (CELL.json), byte for byte as it was written.

    Raises OSError where there is none, and UserError for a broken table, or one that holds another record of
    this name than the record's own file.
    """
    row = _find_row(path)
    if row is not None and not path.exists():
        return row
    own = read_whole(path)
    if row is not None and own != row:
        raise UserError(
            f"{path}: is not the record of this name in {RECORDS}; restore it, or delete one of the two"
        )
    return own


def list_packed(folder: Path) -> list[Path]:
    """Return the paths of the records in a folder's table, sorted; raises UserError for a broken table."""
    return [folder / f"{cell}.json" for cell in open_records(folder)]


def open_records(folder: Path) -> Mapping[str, bytes]:
    """Return the JSON of the records in a folder's table by cell, sorted; nothing where there is no table.

    Cached until the file changes. Sizes, columns, types and names are checked before they are used. Raises
    UserError naming the file and what is wrong with it.
    """
    file = folder / RECORDS
    try:
        state = file.stat()
    except OSError:
        return {}
    return _open(file, (state.st_mtime_ns, state.st_size, state.st_ino))


def _find_row(path: Path) -> bytes | None:
    return open_records(path.parent).get(path.stem) if path.suffix == ".json" else None


@lru_cache(maxsize=4)
def _open(file: Path, stamp: tuple[int, int, int]) -> Mapping[str, bytes]:
    if stamp[1] > RECORDS_BYTES:
        raise UserError(f"{file}: {stamp[1]:,} bytes; a table of records has at most {RECORDS_BYTES:,}")
    try:
        with parquet.ParquetFile(file) as opened:
            _check_columns(file, opened)
            check_pages(file, opened.metadata, MOST_RECORDS)
        # as dictionaries, whose size does not depend on how often a value is repeated
        with parquet.ParquetFile(file, read_dictionary=SCHEMA.names) as opened:
            table = opened.read(use_threads=False)
        cells, contents = (_list_values(file, table, name) for name in SCHEMA.names)
    except (OSError, ValueError, pa.ArrowException) as error:
        raise UserError(f"{file}: not a readable parquet file: {str(error).splitlines()[0]}") from None
    before = ""
    for cell, content in zip(cells, contents, strict=True):
        if not CELL.fullmatch(cell) or ".." in cell:
            raise UserError(f"{file}: cell: {cell!a:.80} is no name of a record")
        if cell <= before:
            said = "is there twice" if cell == before else "is not in the order of the names"
            raise UserError(f"{file}: cell: {cell} {said}")
        if len(content) > JSON_BYTES:
            raise UserError(f"{file}: {cell}: {len(content):,} bytes; a record has at most {JSON_BYTES:,}")
        before = cell
    return MappingProxyType(dict(zip(cells, contents, strict=True)))


def _check_columns(file: Path, opened: parquet.ParquetFile) -> None:
    """Raise UserError where a table has other columns, types or metadata than `write_records` gives it."""
    if opened.metadata.metadata:
        raise UserError(f"{file}: carries metadata ({ascii(min(opened.metadata.metadata))[:40]}); remove it")
    schema = opened.schema_arrow
    if schema.names != SCHEMA.names:
        names = ascii(", ".join(schema.names))[:80]
        raise UserError(f"{file}: its columns are {names}; those of a table of records: cell, record")
    for field in schema:
        if field.type != SCHEMA.field(field.name).type:
            own = SCHEMA.field(field.name).type
            raise UserError(f"{file}: {field.name}: is of type {field.type}, not {own}")


def _list_values(file: Path, table: pa.Table, name: str) -> list[Any]:
    """Return the values of a column; equal ones share one object."""
    column = table.column(name)
    if column.null_count:
        raise UserError(f"{file}: {name}: holds nulls; every row has a value")
    found = []
    for chunk in column.chunks:
        values = chunk.dictionary.to_pylist()
        found += [values[index] for index in chunk.indices.to_pylist()]
    return found
