"""The layout of a folder of records: records, statements, labels, pooled values, tables."""

from collections.abc import Iterable, Iterator
from pathlib import Path

from ..errors import UserError
from .packed.record_table import RECORDS, has_record, list_packed
from .statements import ATTACKED, CLAIMED, LABELS, MANIFEST, list_records
from .statements import FOLDER as STATEMENTS
from .untrusted import TABLE

POOLED, POOLED_FILE = "pooled", "fd.json"
"""File of `bench/measuring/pool.py`, repeated here because importing that module is slow."""


def is_statement(path: Path) -> bool:
    """Return whether a path is where a statement, a label file or a file of pooled values may be."""
    return path.parent.name == STATEMENTS or path.name.endswith(LABELS) or is_pooled(path)


def is_pooled(path: Path) -> bool:
    return (path.parent.name, path.name) == (POOLED, POOLED_FILE)


def find_statements(records: Iterable[Path]) -> list[Path]:
    """Return the statements, labels and pooled values of the folders of some records and claims."""
    own = dict.fromkeys(path.parent for path in records)
    homes = dict.fromkeys(folder.parent if folder.name == CLAIMED else folder for folder in own)
    labels = [path for folder in {**own, **homes} for path in sorted(folder.glob(f"*{LABELS}"))]
    pooled = [path for folder in homes if (path := folder / POOLED / POOLED_FILE).exists()]
    return labels + [p for folder in homes for p in sorted((folder / STATEMENTS).glob("*.json"))] + pooled


def find_tables(records: Iterable[Path]) -> list[Path]:
    """Return the tables of item rows and of records of the folders of some records."""
    folders = dict.fromkeys(path.parent for path in records)
    return [table for folder in folders for name in (RECORDS, TABLE) if (table := folder / name).exists()]


def find_record_tables(paths: Iterable[Path]) -> list[Path]:
    """Return every table of records in some folders, whether records are read there or not."""
    return [found for path in paths if path.is_dir() for found in sorted(path.rglob(RECORDS))]


def find_strays(paths: Iterable[Path], records: Iterable[Path]) -> list[Path]:
    """Return every other JSON file in some folders of records, packed or not, so that none is ignored."""
    known = set(records)
    below = [found for path in paths if path.is_dir() for found in sorted(path.rglob("*.json"))]
    below += [found for table in find_record_tables(paths) for found in list_packed(table.parent)]
    return [path for path in below if path not in known and path.name != MANIFEST]


def find_records(paths: Iterable[Path]) -> list[Path]:
    """Return the records under some paths (files, folders of records, folders of those), each once."""
    found: list[Path] = []
    for path in paths:
        if path.is_dir():
            here = [record for folder in _folders(path) for record in list_records(folder)]
            if not here:
                raise UserError(f"{path}: no records (*.json) in it")
            found += here
        elif path.suffix == ".json" and has_record(path) and not is_statement(path):
            found.append(path)
        else:
            raise UserError(f"{path}: no such record; give CELL.json, a folder of records or a submission")
    return list(dict.fromkeys(found))


def find_apart(path: Path) -> list[Path]:
    """Return the files of a folder of attacked records, statements or pooled values; of any other, none."""
    if path.is_dir() and path.name == ATTACKED:
        return list_records(path)
    return sorted(path.glob("*.json")) if path.is_dir() and path.name in (STATEMENTS, POOLED) else []


def find_attacked(paths: Iterable[Path]) -> list[Path]:
    """Return the attacked records of some folders of records, which `find_records` leaves out."""
    folders = [found for path in paths if path.is_dir() for found in sorted(path.rglob(ATTACKED))]
    return list(dict.fromkeys(path for folder in folders for path in list_records(folder)))


def _folders(path: Path) -> Iterator[Path]:
    """Yield the folders that may hold records: a folder, those in it, and the claims of each."""
    for folder in [path, *sorted(f for f in path.iterdir() if f.is_dir())]:
        if folder.name not in (STATEMENTS, POOLED, ATTACKED) and (folder.name != CLAIMED or folder == path):
            yield folder
            if (folder / CLAIMED).is_dir():
                yield folder / CLAIMED
