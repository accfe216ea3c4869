"""Files of item rows: one record's own `CELL.parquet`, or `items.parquet` with those of a whole folder.

The prompts of a suite are the same in every record of a task; in one table they are told once, which halves
what a published board takes.
"""

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as compute
import pyarrow.parquet as parquet
from numpy.typing import NDArray

from ..errors import UserError
from ..types import ITEM_COLUMNS
from .untrusted import ANSWERS, MOST_ROWS, TABLE, TABLE_ROWS, TEXTS, check_parquet, check_texts

FLOATS = ("alignment", "alignment_shuffled", "flatness")
DISTINCT = (*FLOATS, "target_score", "image_sha256")
"""Columns of item rows whose values rarely repeat, so that a dictionary would cost space."""
PAGE_BYTES = 1 << 24
"""Page size of a table: one page holds a whole column, because compression works within a page."""
Stamp = tuple[int, int, int]
"""Identity of a file's content: time of its last change in ns, size in bytes, inode."""


@dataclass(frozen=True)
class Table:
    """The rows of a folder's records, without `cell`. places: cell -> (its first row, number of its rows)."""

    rows: pa.Table
    places: Mapping[str, tuple[int, int]]

    @cached_property
    def frame(self) -> pd.DataFrame:
        """The rows as a frame, made once: the rows of a cell are a slice of it, which copies nothing."""
        return _to_frame(self.rows)


def write_items(items: pd.DataFrame, path: Path) -> None:
    """Write a record's item rows as small as parquet allows: boards are kept in git."""
    _write(to_arrow(items), path)


def write_table(tables: Mapping[str, pa.Table], path: Path) -> None:
    """Write the rows of several cells (one schema) as one table, cell by cell; equal rows, equal bytes."""
    parts = [
        tables[cell].add_column(0, "cell", pa.array([cell] * len(tables[cell]), pa.string()))
        for cell in sorted(tables)
    ]
    table = pa.concat_tables(parts).combine_chunks()
    _write(
        table,
        path,
        column_encoding=dict.fromkeys(FLOATS, "BYTE_STREAM_SPLIT"),
        data_page_size=PAGE_BYTES,
        dictionary_pagesize_limit=PAGE_BYTES,
    )


def _write(table: pa.Table, path: Path, **options: Any) -> None:
    parquet.write_table(
        table,
        path,
        compression="zstd",
        compression_level=19,
        use_dictionary=[column for column in table.column_names if column not in DISTINCT],
        write_statistics=False,
        store_schema=False,
        **options,
    )


def to_arrow(items: pd.DataFrame) -> pa.Table:
    """Return item rows as an Arrow table, without pandas' metadata."""
    return pa.Table.from_pandas(items, preserve_index=False).replace_schema_metadata(None)


def fill_types(table: pa.Table) -> pa.Table:
    """Return rows with the types of a table; a column without any answer has no type of its own."""
    fields = []
    for field in table.schema:
        if pa.types.is_null(field.type) and field.name in ANSWERS:
            field = field.with_type(pa.string() if field.name in TEXTS else pa.bool_())
        elif pa.types.is_large_string(field.type):
            field = field.with_type(pa.string())
        fields.append(field)
    return table.cast(pa.schema(fields))


def find_file(path: Path) -> Path:
    """Return the file that holds the item rows of a record (CELL.json): its own, else its folder's table.

    Where neither is there it is the record's own, which is missing then.
    """
    own, table = path.with_suffix(".parquet"), path.with_name(TABLE)
    return table if table.exists() and not own.exists() else own


def has_rows(path: Path, cell: str) -> bool:
    """Return whether a cell's item rows are there, in a file of their own or in its folder's table."""
    file = find_file(path)
    return file.exists() and (file.name != TABLE or cell in open_table(file).places)


def read_rows(path: Path, cell: str) -> pd.DataFrame | None:
    """Return the rows of a cell (CELL.json) as its file holds them, None where they are missing.

    Texts are columns of objects, None where there is none. Column types and the order of the rows are the
    same for a file of its own and for a folder's table. Raises UserError for a file that cannot be read.
    """
    file = find_file(path)
    if not has_rows(path, cell):
        return None
    if file.name == TABLE:
        table = open_table(file)
        check_texts(file, table.rows.slice(*table.places[cell]))
        return take_rows(table, cell)
    metadata = check_parquet(file, MOST_ROWS)
    try:
        names = [field.name for field in metadata.schema.to_arrow_schema() if not _is_flat(field.type)]
        with parquet.ParquetFile(file, metadata=metadata, read_dictionary=names) as opened:
            rows = opened.read(use_threads=False)  # threads cost more than they save: files are small
    except (OSError, ValueError, pa.ArrowException) as error:
        raise UserError(f"{file}: not a readable parquet file: {error}") from None
    check_texts(file, rows)
    return _to_frame(rows)


def _is_flat(kind: pa.DataType) -> bool:
    """Return whether each value of a type takes the same few bytes."""
    return bool(pa.types.is_primitive(kind) or pa.types.is_boolean(kind) or pa.types.is_null(kind))


def open_table(file: Path) -> Table:
    """Return a folder's table, cached until the file changes; raises UserError like `read_rows`."""
    return _open_table(file, stamp(file))


def stamp(file: Path) -> Stamp:
    """Return the stamp of a file, which changes with its content."""
    state = file.stat()
    return state.st_mtime_ns, state.st_size, state.st_ino


@lru_cache(maxsize=2)
def _open_table(file: Path, _: Stamp) -> Table:
    check_parquet(file, TABLE_ROWS)
    try:
        names = parquet.read_schema(file).names
        lacking = [name for name in ("cell", "point", *ITEM_COLUMNS) if name not in names]
        if lacking:
            raise UserError(f"{file}: lacks the columns {', '.join(lacking)}")
        rows = parquet.read_table(file, read_dictionary=["cell", *TEXTS])  # texts are spelt out cell by cell
    except (OSError, ValueError, pa.ArrowException) as error:
        raise UserError(f"{file}: not a readable parquet file: {error}") from None
    cells = rows["cell"].to_numpy()
    bounds = [0, *(np.flatnonzero(cells[1:] != cells[:-1]) + 1).tolist(), len(cells)]
    places: dict[str, tuple[int, int]] = {}
    for first, end in pairwise(bounds if len(cells) else []):
        if cells[first] in places:
            raise UserError(f"{file}: cell: the rows of {cells[first]!a:.80} do not lie together")
        places[cells[first]] = (first, end - first)
    return Table(rows.drop_columns(["cell"]), places)


def take_rows(table: Table, cell: str) -> pd.DataFrame:
    """Return the rows of a cell of a table with the types that a file of its own would give them."""
    first, count = table.places[cell]
    items = table.frame.iloc[first : first + count].reset_index(drop=True)
    mixed = [n for n in ANSWERS if n not in TEXTS and n in items and items[n].dtype == object]
    complete = {name: bool for name in mixed if count and items[name].notna().all()}
    return items.astype(complete) if complete else items


def _to_frame(rows: pa.Table) -> pd.DataFrame:
    """Return an Arrow table as a frame; equal texts of a column share one object, so that rows stay small."""
    arrays = {name: _to_array(column) for name, column in zip(rows.column_names, rows.columns, strict=True)}
    index = pd.RangeIndex(len(rows))
    columns = {  # without its type given, a column of texts would become one of Arrow's strings
        name: pd.Series(array, index, dtype=object, copy=False) if array.dtype == object else array
        for name, array in arrays.items()
    }
    return pd.DataFrame(columns, index, copy=False)


def _to_array(column: pa.ChunkedArray) -> NDArray[Any]:
    """Return (rows,) the values of a column; None for a missing text or answer, NaN for a missing number."""
    if pa.types.is_null(column.type):
        return np.full(len(column), None, dtype=object)
    if not pa.types.is_dictionary(column.type):
        return np.array(column.to_numpy())  # a copy: what Arrow lends cannot be written to
    parts = [_share_texts(chunk.dictionary)[_codes(chunk)] for chunk in column.chunks]
    return np.concatenate(parts) if parts else np.array([], dtype=object)


def _share_texts(dictionary: pa.Array) -> NDArray[np.object_]:
    """Return (texts + 1,) the texts of a dictionary and None; equal texts of all records share one object."""
    texts = dictionary.to_pylist()
    if pa.types.is_string(dictionary.type) and not dictionary.null_count:
        texts = list(map(sys.intern, texts))
    return np.array([*texts, None], object)


def _codes(chunk: pa.DictionaryArray) -> NDArray[np.int64]:
    """Return (rows,) places in the dictionary, -1 where a row has no value."""
    codes = compute.fill_null(chunk.indices.cast(pa.int64()), -1)
    return np.asarray(codes.to_numpy(zero_copy_only=False))
