"""What lies where in a folder of records: statements, labels, pooled values, tables."""

from collections.abc import Iterable, Iterator
from pathlib import Path

from ..errors import UserError
from .statements import CLAIMED, LABELS, list_records
from .statements import FOLDER as STATEMENTS
from .untrusted import TABLE

POOLED, POOLED_FILE = "pooled", "fd.json"
"""Where `bench/measuring/pool.py` writes; read at a start, which that module's imports would slow."""


def is_statement(path: Path) -> bool:
    """Return whether a JSON file's place and name are those of what lies beside records."""
    return path.parent.name == STATEMENTS or path.name.endswith(LABELS) or is_pooled(path)


def is_pooled(path: Path) -> bool:
    return (path.parent.name, path.name) == (POOLED, POOLED_FILE)


def find_statements(records: Iterable[Path]) -> list[Path]:
    """Return the statements, labels and pooled values that lie beside some records, claimed ones included."""
    own = dict.fromkeys(path.parent for path in records)
    homes = dict.fromkeys(folder.parent if folder.name == CLAIMED else folder for folder in own)
    labels = [path for folder in {**own, **homes} for path in sorted(folder.glob(f"*{LABELS}"))]
    pooled = [path for folder in homes if (path := folder / POOLED / POOLED_FILE).exists()]
    return labels + [p for folder in homes for p in sorted((folder / STATEMENTS).glob("*.json"))] + pooled


def find_tables(records: Iterable[Path]) -> list[Path]:
    """Return the tables of item rows that lie beside some records."""
    folders = dict.fromkeys(path.parent for path in records)
    return [table for folder in folders if (table := folder / TABLE).exists()]


def find_strays(paths: Iterable[Path], records: Iterable[Path]) -> list[Path]:
    """Return every other JSON file below some folders of records: nothing there stays unread."""
    known = set(records)
    below = [found for path in paths if path.is_dir() for found in sorted(path.rglob("*.json"))]
    return [path for path in below if path not in known]


def find_records(paths: Iterable[Path]) -> list[Path]:
    """Return the records under some paths (files, folders of records, folders of those), each once."""
    found: list[Path] = []
    for path in paths:
        if path.is_dir():
            here = [record for folder in _folders(path) for record in list_records(folder)]
            if not here:
                raise UserError(f"{path}: no records (*.json) in it")
            found += here
        elif path.suffix == ".json" and path.exists() and not is_statement(path):
            found.append(path)
        else:
            raise UserError(f"{path}: no such record; give CELL.json, a folder of records or a submission")
    return list(dict.fromkeys(found))


def _folders(path: Path) -> Iterator[Path]:
    """Yield a folder, those in it and the claims of each: where records may lie."""
    for folder in [path, *sorted(f for f in path.iterdir() if f.is_dir())]:
        if folder.name not in (STATEMENTS, POOLED) and (folder.name != CLAIMED or folder == path):
            yield folder
            if (folder / CLAIMED).is_dir():
                yield folder / CLAIMED
