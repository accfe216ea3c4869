"""Compute the unpacked size of a parquet file from the headers of its pages, before any page is unpacked.

What a file's footer states is not believed: a reader unpacks what the page headers say. Format: the Thrift
compact protocol and `PageHeader` of https://github.com/apache/parquet-format.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as parquet

from ..errors import UserError

UNPACKED_BYTES = 256 * 2**20
"""Most bytes that the pages of a file may unpack to, all together."""
MOST_GROUPS = 10_000
HEADER_BYTES = 1 << 16
DEPTH = 8
DATA, INDEX, DICTIONARY, DATA_V2 = range(4)
HEADERS = {DATA: (5, 1, 2), DICTIONARY: (7, 1, 2), DATA_V2: (8, 1, 4)}
"""Type of a page -> fields of PageHeader, and in it of the number of values and of the encoding."""
ENCODINGS = {0: "PLAIN", 2: "PLAIN_DICTIONARY", 3: "RLE", 8: "RLE_DICTIONARY", 9: "BYTE_STREAM_SPLIT"}
"""Encodings in which an unpacked value is at most as large as in its page or its dictionary."""


@dataclass
class _Reader:
    """A cursor over Thrift's compact protocol; raises ValueError on anything odd."""

    data: memoryview
    place: int = 0

    def byte(self) -> int:
        if self.place >= len(self.data):
            raise ValueError("a page header is cut short")
        self.place += 1
        return self.data[self.place - 1]

    def varint(self) -> int:
        value = shift = 0
        while True:
            byte = self.byte()
            value |= (byte & 0x7F) << shift
            shift += 7
            if not byte & 0x80:
                return value
            if shift > 70:
                raise ValueError("a page header holds a number that is too long")

    def signed(self) -> int:
        value = self.varint()
        return (value >> 1) ^ -(value & 1)

    def skip(self, count: int) -> None:
        self.place += count
        if self.place > len(self.data):
            raise ValueError("a page header is cut short")

    def value(self, kind: int, depth: int) -> Any:
        if kind in (1, 2):  # true, false
            return kind == 1
        if kind == 3:
            return self.byte()
        if kind in (4, 5, 6):
            return self.signed()
        if kind == 7:
            self.skip(8)
            return None
        if kind == 8:
            self.skip(self.varint())
            return None
        if kind == 12:
            return self.struct(depth + 1)
        raise ValueError("a page header holds a field of an unknown kind")

    def struct(self, depth: int = 0) -> dict[int, Any]:
        if depth > DEPTH:
            raise ValueError("a page header is nested too deeply")
        fields: dict[int, Any] = {}
        number = 0
        while head := self.byte():
            number = number + (head >> 4) if head >> 4 else self.signed()
            fields[number] = self.value(head & 0x0F, depth)
        return fields


def check_pages(path: Path, metadata: parquet.FileMetaData, most_rows: int) -> None:
    """Raise UserError where a file unpacks to more than UNPACKED_BYTES, or has nested or unusual columns.

    most_rows: of the file. Every column has one value a row. The file is read whole: callers check its size.
    """
    if metadata.num_rows > most_rows or metadata.num_row_groups > MOST_GROUPS:
        groups = f"{metadata.num_rows:,} rows in {metadata.num_row_groups:,} groups"
        raise UserError(f"{path}: {groups}; at most {most_rows:,} rows")
    total = 0
    try:
        content = memoryview(path.read_bytes())
        for group in range(metadata.num_row_groups):
            rows = metadata.row_group(group)
            for number in range(rows.num_columns):
                total += _unpacked(content, rows.column(number), rows.num_rows)
                if total > UNPACKED_BYTES:
                    raise UserError(f"{path}: unpacks to more than {UNPACKED_BYTES:,} bytes")
    except (ValueError, OSError) as error:
        raise UserError(f"{path}: not a readable parquet file: {error}") from None


def _unpacked(content: memoryview, column: Any, rows: int) -> int:
    """Return the bytes that a column's pages unpack to."""
    starts = [column.data_page_offset]
    if column.has_dictionary_page and column.dictionary_page_offset:
        starts.append(column.dictionary_page_offset)
    place = min(starts)
    end, total, values = place + column.total_compressed_size, 0, 0
    while values < rows or place < end:
        if place < 0:
            raise ValueError("a page lies before the file's beginning")
        reader = _Reader(content[place : place + HEADER_BYTES])
        header = reader.struct()
        kind = header.get(1)
        unpacked, packed = header.get(2), header.get(3)
        if kind not in HEADERS or not _is_size(unpacked) or not _is_size(packed):
            raise ValueError(f"{column.path_in_schema}: a page of an unknown kind or size")
        field, count, encoding = HEADERS[kind]
        own = header.get(field)
        if not isinstance(own, dict) or own.get(encoding) not in ENCODINGS or not _is_size(own.get(count)):
            raise ValueError(f"{column.path_in_schema}: a page in an unusual encoding")
        values += 0 if kind == DICTIONARY else own[count]
        total += int(unpacked or 0)
        place += reader.place + int(packed or 0)
        if values > rows:
            raise ValueError(f"{column.path_in_schema}: holds more values than there are rows")
        if total > UNPACKED_BYTES:
            break
    return total


def _is_size(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**31
