"""Packing: write the item rows and the JSON of a folder's records into one table each without loss."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import pandas as pd
import pyarrow as pa

from ...errors import UserError
from ...files import write_file
from ..chosen import refuse_unranked
from ..record import Record, items_digest, read_items, read_record
from ..rows import Stamp, Table, fill_types, open_table, stamp, take_rows, to_arrow
from ..sealed import SHEET, sha256
from ..sheets import SUMS, read_sheet
from ..statements import CLAIMED, list_records
from ..untrusted import TABLE
from .record_table import RECORDS, open_records, read_bytes, write_records


@dataclass(frozen=True)
class Rows:
    """The verified item rows of a record. own: its file of rows with its stamp, None where it has none."""

    record: Record
    items: pd.DataFrame
    table: pa.Table
    own: tuple[Path, Stamp] | None


def list_sheets(folder: Path) -> dict[str, str]:
    """Return the digests, by file name, of the contact sheets of records that do not carry them themselves.

    Raises UserError where a sheet is damaged, or not the one that was listed before.
    """
    found: dict[str, str] = {}
    for home in (folder, folder / CLAIMED):
        for path in list_records(home):
            record = read_record(path)
            sheet = read_sheet(path, record) if record.sheet else None
            if sheet is not None and SHEET not in record.files:
                found[path.with_suffix(".webp").relative_to(folder).as_posix()] = sha256(sheet)
    return found


def write_sums(folder: Path, found: dict[str, str]) -> None:
    """Write the list of the digests of a folder's sheets, where there are any."""
    if found:
        write_file(folder / SUMS, "".join(f"{digest}  {name}\n" for name, digest in sorted(found.items())))


def read_folder(folder: Path) -> list[Rows]:
    """Return the item rows of a folder's records by cell; UserError where they differ from their record."""
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder of records")
    paths = list_records(folder)
    if not paths:
        raise UserError(f"{folder}: no records (*.json) in it")
    if (folder / TABLE).exists():
        strange = sorted(open_table(folder / TABLE).places.keys() - {path.stem for path in paths})
        if strange:
            raise UserError(
                f"{folder / TABLE}: has rows of {strange[0]}, of which no record lies here; put "
                f"{strange[0]}.json back"
            )
    found = [_read(path) for path in paths]
    return [rows for rows in found if rows is not None]


def _read(path: Path) -> Rows | None:
    record, file = read_record(path), path.with_suffix(".parquet")
    refuse_unranked(path, record)
    if record.cell != path.stem:
        raise UserError(f"{path}: cell: is {record.cell!r}, but the file is named {path.stem!r}")
    own = (file, stamp(file)) if file.exists() else None
    items = read_items(path, record)
    return None if items is None else Rows(record, items, fill_types(to_arrow(items)), own)


def choose_rows(found: list[Rows]) -> list[Rows]:
    """Return the records with the columns of the existing table, else the columns of most records.

    One table has one type a column: the others keep their files, for no value of theirs may change.
    """
    kinds = {rows.record.cell: str(rows.table.schema) for rows in found if _fits(rows)}
    in_table = {rows.record.cell for rows in found if rows.own is None}  # their only copy
    most = Counter(kinds[cell] for cell in in_table & kinds.keys() or kinds).most_common(1)
    chosen = [rows for rows in found if most and kinds.get(rows.record.cell) == most[0][0]]
    if lost := sorted(in_table - {rows.record.cell for rows in chosen}):
        raise UserError(f"{TABLE}: the rows of {lost[0]} cannot be packed anew; nothing was changed")
    return chosen


def _fits(rows: Rows) -> bool:
    """Return whether a table can hold rows without loss: it needs at least one row, and usual types."""
    whole = Table(rows.table, {rows.record.cell: (0, len(rows.table))})
    return len(rows.items) > 0 and take_rows(whole, rows.record.cell).equals(rows.items)


def verify_table(scratch: Path, chosen: list[Rows]) -> None:
    """Raise UserError before any change unless the table gives back every record's rows."""
    table = open_table(scratch)
    for rows in chosen:
        again = take_rows(table, rows.record.cell)
        if items_digest(again) != rows.record.items_sha256 or not again.equals(rows.items):
            raise UserError(f"the table does not give {rows.record.cell}'s rows back; nothing was packed")


def count_bytes(folder: Path) -> int:
    """Return the size of a folder's item rows in bytes."""
    return sum(path.stat().st_size for path in folder.glob("*.parquet") if path.name != RECORDS)


def pack_json(folder: Path) -> tuple[int, int, int]:
    """Move the JSON of a folder's records into its table; return their number, and bytes before and after.

    A file is deleted once the table gave every record back byte for byte and took its place in the folder.
    Raises UserError before any change where the table would not, or holds another record of a file's name.
    """
    paths, target = list_records(folder), folder / RECORDS
    own = {path: stamp(path) for path in paths if path.exists()}
    contents = {path.stem: read_bytes(path) for path in paths}
    with TemporaryDirectory() as place:
        write_records(contents, Path(place) / RECORDS)
        _verify_json(folder, Path(place), contents)
        content = (Path(place) / RECORDS).read_bytes()
    if not target.exists() or target.read_bytes() != content:
        write_file(target, content)
    for path, state in own.items():
        if stamp(path) == state:  # unless rewritten meanwhile
            path.unlink()
    return len(paths), sum(map(len, contents.values())), len(content)


def _verify_json(folder: Path, place: Path, contents: dict[str, bytes]) -> None:
    """Raise UserError unless the table in `place` gives back every record of a folder."""
    try:
        again = dict(open_records(place))
    except UserError as error:
        said = str(error).removeprefix(f"{place / RECORDS}: ")
        raise UserError(
            f"{folder}: its records do not fit into a table: {said}; nothing was packed"
        ) from None
    if again != contents:
        raise UserError(f"{folder}: the table does not give its records back; nothing was packed")
