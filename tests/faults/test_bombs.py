"""Files that would exhaust a machine: each is refused in one line, within a stated memory."""

import contextlib
import io
import shutil
import struct
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as parquet
import pytest
from PIL import Image

from unlearnbench.bench.errors import UserError
from unlearnbench.bench.records.bundle import unpack
from unlearnbench.bench.records.parquet_pages import check_pages
from unlearnbench.bench.records.untrusted import read_untrusted_json
from unlearnbench.bench.types import ITEM_COLUMNS

from ..leaderboard.synthetic import make_record, write

MEMORY = 700 * 2**20
"""What reading one file may take above what the packages take."""
ROWS = 190_000


def _rows(length: int = 0) -> pa.Table:
    """Return item rows of which every text column repeats one text of this length."""
    _, items, _ = make_record("none")
    row = pa.Table.from_pandas(items.iloc[:1], preserve_index=False)
    columns = {}
    for field in row.schema:
        if (length and pa.types.is_string(field.type)) or pa.types.is_large_string(field.type):
            one = pa.array(["x" * length])
            columns[field.name] = pa.DictionaryArray.from_arrays(pa.array(np.zeros(ROWS, "int32")), one)
        else:
            value = row[field.name][0].as_py()
            kind = pa.bool_() if pa.types.is_null(field.type) else field.type
            columns[field.name] = pa.array([value] * ROWS, kind)
    return pa.table(columns)


def _dictionary(path: Path) -> None:
    parquet.write_table(_rows(10_000), path, compression="zstd", store_schema=False)


def _unknown_column(path: Path) -> None:
    one = pa.DictionaryArray.from_arrays(pa.array(np.zeros(ROWS, "int32")), pa.array(["x" * 50_000]))
    parquet.write_table(_rows().append_column("more", one), path, compression="zstd", store_schema=False)


def _delta(path: Path) -> None:
    table = pa.table({"prompt": pa.array(["x" * 5000] * 20_000)})
    parquet.write_table(table, path, use_dictionary=False, column_encoding="DELTA_BYTE_ARRAY")


def _pages(path: Path) -> None:
    table = pa.table({"prompt": pa.array(["x" * 10_000] * 40_000)})
    parquet.write_table(table, path, use_dictionary=False, compression="zstd")


def _nested(path: Path) -> None:
    lists = pa.array([[None] * 20_000_000], pa.list_(pa.int8()))
    parquet.write_table(pa.table({"prompt": lists}), path, compression="zstd")


def _many_rows(path: Path) -> None:
    parquet.write_table(pa.table({"point": np.zeros(60_000_000, "int64")}), path, compression="zstd")


def _cell(path: Path) -> None:
    """Write a folder's table whose names of cells alone would take gigabytes."""
    one = pa.DictionaryArray.from_arrays(pa.array(np.zeros(ROWS, "int32")), pa.array(["c" * 50_000]))
    table = _rows().append_column("cell", one)
    path.unlink(missing_ok=True)
    parquet.write_table(table, path.with_name("items.parquet"), compression="zstd", store_schema=False)


def _sheet(path: Path) -> None:
    Image.MAX_IMAGE_PIXELS = None
    buffer = io.BytesIO()
    Image.new("RGB", (16383, 16383)).save(buffer, "WEBP", lossless=True, quality=0, method=0)
    path.with_suffix(".webp").write_bytes(buffer.getvalue())


def _film(path: Path) -> None:
    frame = Image.new("RGB", (64, 64))
    more = [Image.new("RGB", (64, 64), "red")] * 50
    frame.save(path.with_suffix(".webp"), "WEBP", save_all=True, append_images=more)


BOMBS: dict[str, Callable[[Path], None]] = {
    "dictionary of one long text": _dictionary,
    "column of another name": _unknown_column,
    "texts that share their beginnings": _delta,
    "pages of equal texts": _pages,
    "one row with a long list": _nested,
    "many rows": _many_rows,
    "names of cells": _cell,
    "sheet of 268 million pixels": _sheet,
    "film": _film,
}
READ = """
import resource, sys
from pathlib import Path
resource.setrlimit(resource.RLIMIT_AS, (12 * 2**30, 12 * 2**30))
from unlearnbench.bench.checking.known import make_known
from unlearnbench.bench.errors import UserError
from unlearnbench.bench.records.load import load_one
from unlearnbench.bench.checking.validate import validate
import argparse, pandas, pyarrow.parquet
bomb, whole = map(Path, sys.argv[1:])
load_one(whole)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    load_one(bomb)
    print("read")
except UserError as error:
    print("refused:", error)
check = validate(bomb, make_known())[0]
print(check.state, check.detail)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="peak memory in other units")
@pytest.mark.parametrize("name", BOMBS)
def test_a_record_with_a_bomb_is_refused_within_the_memory(tmp_path: Path, name: str) -> None:
    whole = write(tmp_path / "whole", "balanced")
    shutil.copytree(tmp_path / "whole", tmp_path / "bomb")
    bomb = tmp_path / "bomb" / whole.name
    BOMBS[name](bomb.with_suffix(".parquet"))
    command = [sys.executable, "-c", READ, str(bomb), str(whole)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    read, checked, taken = done.stdout.splitlines()
    assert read.startswith("refused:"), read
    assert checked.startswith("failed"), checked
    assert int(taken) * 1024 < MEMORY, f"{int(taken) / 1024:.0f} MiB"


def test_a_footer_that_lies_is_not_believed(tmp_path: Path) -> None:
    """The page headers say what is unpacked, whatever the footer states."""
    path = tmp_path / "a.parquet"
    _pages(path)

    class Footer:
        def __init__(self, real: object) -> None:
            self.real = real

        def __getattr__(self, name: str) -> object:
            found = getattr(self.real, name)
            if name in ("row_group", "column"):
                return lambda number: Footer(found(number))
            return 1 if name in ("total_byte_size", "total_uncompressed_size") else found

    with pytest.raises(UserError, match="unpacks to more than"):
        check_pages(path, Footer(parquet.ParquetFile(path).metadata), 10**6)  # type: ignore[arg-type]


def test_a_page_before_the_beginning_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    path.write_bytes(b"PAR1" * 10)
    column = SimpleNamespace(
        data_page_offset=-36,
        has_dictionary_page=False,
        total_compressed_size=100,
        path_in_schema="prompt",
    )
    group = SimpleNamespace(num_columns=1, num_rows=1, column=lambda _: column)
    footer = SimpleNamespace(num_rows=1, num_row_groups=1, row_group=lambda _: group)
    with pytest.raises(UserError, match="before the file's beginning"):
        check_pages(path, footer, 100)  # type: ignore[arg-type]


@pytest.mark.parametrize("place", range(0, 60, 3))
def test_damaged_page_headers_are_one_line(tmp_path: Path, place: int) -> None:
    path = tmp_path / "a.parquet"
    pd.DataFrame({"a": np.arange(50), "b": ["x"] * 50}).to_parquet(path)
    metadata = parquet.ParquetFile(path).metadata
    content = bytearray(path.read_bytes())
    content[4 + place] ^= 0xFF
    path.write_bytes(content)
    with contextlib.suppress(UserError):  # nothing else comes out, and it ends
        check_pages(path, metadata, 100)


@pytest.mark.parametrize("depth", [40, 500, 900, 100_000])
@pytest.mark.parametrize("opening", ["[", '{"a":'])
def test_deep_json_is_one_line(tmp_path: Path, depth: int, opening: str) -> None:
    path = tmp_path / "a.json"
    closing = "]" if opening == "[" else "}"
    path.write_text('{"x": ' + opening * depth + "1" + closing * depth + "}")
    with pytest.raises(UserError, match="nested too deeply"):
        read_untrusted_json(path)


def test_a_zip_with_very_many_entries_is_not_listed(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("submission.json", "{}")
    content = bytearray(path.read_bytes())
    place = content.rfind(b"PK\x05\x06")
    content[place + 12 : place + 16] = struct.pack("<I", 200 * 2**20)
    path.write_bytes(content)
    with pytest.raises(UserError, match="unpacks to more than"):
        unpack(path, tmp_path)
    many = tmp_path / "b.zip"
    with zipfile.ZipFile(many, "w") as file:
        for number in range(66_000):
            file.writestr(f"{number}.json", "")
    with pytest.raises(UserError, match="unpacks to more than"):
        unpack(many, tmp_path)


def test_the_bombs_have_a_records_columns() -> None:
    assert set(ITEM_COLUMNS) < set(_rows().column_names)
