"""Is all that belongs to a record there, and as it was written?"""

from functools import lru_cache
from pathlib import Path

from .record import Record, read_items, read_record
from .rows import Stamp, find_file, stamp
from .sealed import read_sheet


def check_whole(path: Path, record: Record) -> None:
    """Raise UserError naming the file where a record's item rows or its sheet are missing or damaged."""
    files = (path, find_file(path), path.with_suffix(".webp"))
    _check(path, tuple(stamp(file) if file.exists() else None for file in files))


@lru_cache(maxsize=4096)
def _check(path: Path, _: tuple[Stamp | None, ...]) -> None:
    record = read_record(path)
    read_items(path, record)
    if record.sheet:
        read_sheet(path, record)
