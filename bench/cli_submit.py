"""What the subcommands about submissions do: validate, submit, rerun, retract, attack."""

import argparse
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from .bundle import pack, unpack
from .cli_commands import (
    FAILED,
    open_console,
    open_folder_world,
    open_worlds,
    registry,
    suites_folder,
    task_registry,
)
from .errors import UserError
from .records import read_record, record_digest
from .statements import CLAIMED, LABELS, check_statement, list_records, read_statement, read_statements
from .statements import FOLDER as STATEMENTS
from .untrusted import TABLE

POOLED, POOLED_FILE = "pooled", "fd.json"
"""Where `bench/pool.py` writes; read at a start, which that module's imports would slow."""


def validate_records(options: argparse.Namespace) -> int:
    """Check records, folders of them and submissions; print what fails. 0: all passed, 1: one failed."""
    from ..leaderboard.terminal_checks import make_check_table

    known, submissions = make_known(options), [path for path in options.paths if path.suffix == ".zip"]
    found: dict[Path, list[Any]] = {}
    for path in submissions:
        if not path.is_file():
            raise UserError(f"{path}: no such submission")
        found |= _validate_submission(path, known)
    paths = [path for path in options.paths if path not in submissions]
    said = [path for path in paths if path.suffix == ".json" and path.is_file() and is_statement(path)]
    records = find_records([path for path in paths if path not in said])
    for path in records:
        found[path] = check_record(path, known)
    beside = [*said, *find_tables(records), *find_statements(records), *find_strays(paths, records)]
    for path in dict.fromkeys(beside):
        found[path] = [check_beside(path)]
    open_console().print(make_check_table(found))
    for path, checks in found.items():
        for check in checks:
            if check.state != "passed":
                print(f"{check.state}: {path.name}: {check.name}: {check.detail}")
    failed = sum(any(check.state == "failed" for check in checks) for checks in found.values())
    print(f"{len(found)} records, {failed} failed")
    return FAILED if failed else 0


def check_record(path: Path, known: Any) -> list[Any]:
    """Return the checks of a record; one that lies among the claimed must be a claim."""
    from ..leaderboard.validate import Check, validate

    checks = validate(path, known)
    if path.parent.name == CLAIMED and checks[0].state == "passed" and read_record(path).source != "reported":
        checks.append(Check("names", "failed", "source: lies among the claimed, but is not 'reported'"))
    return checks


def _validate_submission(path: Path, known: Any) -> dict[Path, list[Any]]:
    from ..leaderboard.validate import Check, validate

    with TemporaryDirectory() as scratch:
        try:
            records = unpack(path, Path(scratch))
        except UserError as error:
            return {path: [Check("files", "failed", str(error))]}
        return {path / record.name: validate(record, known) for record in records}


def is_statement(path: Path) -> bool:
    """Return whether a JSON file's place and name are those of what lies beside records."""
    return path.parent.name == STATEMENTS or path.name.endswith(LABELS) or _is_pooled(path)


def _is_pooled(path: Path) -> bool:
    return (path.parent.name, path.name) == (POOLED, POOLED_FILE)


def check_beside(path: Path) -> Any:
    """Return the check of what lies beside records: statements, labels, pooled FD, a table of item rows.

    What it is about must lie there; any other JSON file has no business among records.
    """
    from ..leaderboard.beside import check_pooled, check_published, check_table
    from ..leaderboard.validate import Check

    try:
        if _is_pooled(path):
            check_pooled(path)
        elif path.name == TABLE:
            check_table(path)
        elif path.name.endswith(LABELS):
            check_published(path)
        elif path.parent.name == STATEMENTS:
            check_statement(read_statement(path), _by_digest(path.parent.parent))
            read_statements(path.parent.parent)  # together they may go round in a circle
        else:
            raise UserError(
                f"{path}: lies where no record is read; records lie in SUITE/ or SUITE/{CLAIMED}/"
            )
    except UserError as error:
        return Check("files", "failed", str(error))
    return Check("files", "passed")


def _by_digest(folder: Path) -> dict[str, Any]:
    found = {}
    for path in (*list_records(folder), *list_records(folder / CLAIMED)):
        try:
            record = read_record(path)
        except UserError:  # its own checks say so
            continue
        found[record_digest(record)] = record
    return found


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


def pack_records(options: argparse.Namespace) -> int:
    """Pack records into one file; nothing is written where one of them fails its checks."""
    from ..leaderboard.validate import validate

    if options.out.suffix != ".zip":
        raise UserError(f"--out {options.out}: a submission's name ends in .zip")
    known, paths = make_known(options), find_records(options.records)
    failed = 0
    for path in paths:
        for check in validate(path, known):
            if check.state == "failed":
                failed += 1
                print(f"failed: {path.name}: {check.name}: {check.detail}")
    if failed:
        print("nothing was packed")
        return FAILED
    submission = pack(paths, options.out)
    images = sum(packed.images for packed in submission.records)
    print(f"claimed: {len(submission.records)} records of {images} images: {options.out}")
    return 0


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


def make_known(options: argparse.Namespace) -> Any:
    """Return what this package knows, for `validate`."""
    from ..leaderboard.known import Known
    from .plan import read_suite, resolve_presets, take_choice

    folder: Path | None = getattr(options, "world_folder", None)
    own = None if folder is None else open_folder_world(folder).name

    @cache
    def find_suite(name: str) -> Any:
        path = suites_folder() / f"{name}.toml"
        if not path.is_file():
            return None
        return resolve_presets(take_choice(read_suite(path), suites_folder()), registry("methods"))

    @cache
    def open_world(name: str) -> Any:
        if folder is not None and name == own:
            return open_folder_world(folder)
        world = registry("worlds")[name].load()()
        return open_worlds({name}, options)[name] if hasattr(world, "placed") else world

    return Known(task_registry(folder), registry("methods"), registry("metrics"), open_world, find_suite)
