"""What the subcommands about submissions do: validate, submit, rerun, retract, attack."""

import argparse
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

from .cli_commands import FAILED, open_console, open_worlds, registry, suites_folder, task_registry
from .errors import UserError


def validate_records(options: argparse.Namespace) -> int:
    """Check records, folders of them and submissions; print what fails. 0: all passed, 1: one failed."""
    from ..leaderboard.terminal_checks import make_check_table
    from ..leaderboard.validate import validate

    known = make_known(options)
    found: dict[Path, list[Any]] = {}
    for path in find_records(options.paths):
        found[path] = validate(path, known)
    open_console().print(make_check_table(found))
    for path, checks in found.items():
        for check in checks:
            if check.state != "passed":
                print(f"{check.state}: {path.name}: {check.name}: {check.detail}")
    failed = sum(any(check.state == "failed" for check in checks) for checks in found.values())
    print(f"{len(found)} records, {failed} failed")
    return FAILED if failed else 0


def find_records(paths: Iterable[Path]) -> list[Path]:
    """Return the records under some paths (files, folders of records, folders of those), each once."""
    found: list[Path] = []
    for path in paths:
        if path.is_dir():
            here = sorted(path.glob("*.json")) or sorted(path.glob("*/*.json"))
            if not here:
                raise UserError(f"{path}: no records (*.json) in it")
            found += here
        elif path.suffix == ".json" and path.exists():
            found.append(path)
        else:
            raise UserError(f"{path}: no such record; give CELL.json, a folder of records or a submission")
    return list(dict.fromkeys(found))


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
