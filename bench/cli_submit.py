"""What the subcommands about submissions do: validate, submit, rerun, retract, attack."""

import argparse
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from .bundle import pack, unpack
from .cli_commands import FAILED, open_console, open_worlds, registry, suites_folder, task_registry
from .errors import UserError
from .records import read_record, record_digest
from .statements import CLAIMED, LABELS, check_statement, list_records, read_statement
from .statements import FOLDER as STATEMENTS


def validate_records(options: argparse.Namespace) -> int:
    """Check records, folders of them and submissions; print what fails. 0: all passed, 1: one failed."""
    from ..leaderboard.terminal_checks import make_check_table

    known = make_known(options)
    found: dict[Path, list[Any]] = {}
    for path in options.paths:
        if path.suffix == ".zip" and path.exists():
            found |= _validate_submission(path, known)
    for path in find_records([path for path in options.paths if path.suffix != ".zip"]):
        found[path] = check_record(path, known)
    for path in find_statements(found):
        found[path] = [_check_statement(path)]
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


def _check_statement(path: Path) -> Any:
    """Return the check of a statement: what it is about must lie beside it; labels must be a person's."""
    from ..leaderboard.labels import check_published
    from ..leaderboard.validate import Check

    folder = path.parent.parent
    try:
        if path.name.endswith(LABELS):
            check_published(path)
            return Check("files", "passed")
        statement = read_statement(path)
        check_statement(statement, _by_digest(folder))
    except UserError as error:
        return Check("files", "failed", str(error))
    return Check("files", "passed")


@cache
def _by_digest(folder: Path) -> dict[str, Any]:
    near = [*list_records(folder), *list_records(folder / CLAIMED)]
    return {record_digest(record): record for record in map(read_record, near)}


def find_statements(records: Iterable[Path]) -> list[Path]:
    """Return the statements and labels that lie beside some records."""
    folders = dict.fromkeys(path.parent for path in records)
    labels = [path for folder in folders for path in sorted(folder.glob(f"*{LABELS}"))]
    return labels + [path for folder in folders for path in sorted((folder / STATEMENTS).glob("*.json"))]


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
            folders = (
                [path] if list_records(path) else [path, *sorted(f for f in path.iterdir() if f.is_dir())]
            )
            here = [
                r for folder in folders for place in (folder, folder / CLAIMED) for r in list_records(place)
            ]
            if not here:
                raise UserError(f"{path}: no records (*.json) in it")
            found += here
        elif path.suffix == ".json" and path.exists():
            found.append(path)
        else:
            raise UserError(f"{path}: no such record; give CELL.json, a folder of records or a submission")
    return list(dict.fromkeys(path for path in found if path.parent.name not in (STATEMENTS, "pooled")))


def make_known(options: argparse.Namespace) -> Any:
    """Return what this package knows, for `validate`."""
    from ..leaderboard.validate import Known
    from .plan import read_suite, take_choice

    @cache
    def find_suite(name: str) -> Any:
        path = suites_folder() / f"{name}.toml"
        return take_choice(read_suite(path), suites_folder()) if path.is_file() else None

    @cache
    def open_world(name: str) -> Any:
        world = registry("worlds")[name].load()()
        return open_worlds({name}, options)[name] if hasattr(world, "placed") else world

    return Known(task_registry(), registry("methods"), registry("metrics"), open_world, find_suite)
