"""Files of a user's own that belong to no package: task files, and the methods and judges in single files."""

import hashlib
import importlib.util
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from ..errors import UserError
from ..registry import NEEDED, Entry, builtin_registry, make_entry, read_register
from .tasks import Task, TaskFile, build_tasks, read_task_file

OWN = "a file of yours"
"""Distribution that an entry of a single file names."""


def find_task_files(places: Sequence[Path]) -> list[Path]:
    """Return the TOML files of some places: files, and folders of them; UserError where there is none."""
    found: list[Path] = []
    for place in places:
        here = sorted(place.glob("*.toml")) if place.is_dir() else [place]
        if not here:
            raise UserError(f"--task-file {place}: no task file (*.toml) in it")
        found += here
    return list(dict.fromkeys(found))


def read_own_tasks(
    places: Sequence[Path],
    shipped: Sequence[TaskFile],
    taken: Iterable[str],
    check_world: Callable[[str], object],
) -> dict[str, Task]:
    """Return name -> task of a user's files and folders of them. taken: names of all other tasks.

    check_world: raises UserError for a name that no world has.

    A task's retain prompts show no target of its own file and none of `shipped`: what else is in the folder
    changes no number. A judge that is named as a Python file (`judge = "mine.py@1"`) lies next to the task
    file. Raises UserError naming file and field, also for a name that is taken.
    """
    known = set(taken)
    found: dict[str, Task] = {}
    for path in find_task_files(places):
        file, judge = _open_judge_file(path, read_task_file(path))
        _check_worlds(path, file, check_world)
        for name, task in _tasks_of(path, file, shipped, known | found.keys()).items():
            found[name] = replace(task, is_own=True, judge_entry=judge)
    return found


def _check_worlds(path: Path, file: TaskFile, check_world: Callable[[str], object]) -> None:
    for field, names in (("world", [file.world]), ("also", file.also)):
        try:
            for name in names:
                check_world(name)
        except UserError as error:
            raise UserError(f"{path}: {field}: {error}") from None


def _tasks_of(path: Path, file: TaskFile, shipped: Sequence[TaskFile], taken: set[str]) -> dict[str, Task]:
    names = [f"{file.family}/{c.name}@{world}" for world in (file.world, *file.also) for c in file.concepts]
    twice = next((name for name in names if name in taken or names.count(name) > 1), None)
    if twice is not None:
        raise UserError(f"{path}: concepts.name: {twice} is the name of another task; choose another one")
    tasks = build_tasks(shipped, [file])
    return {name: tasks[name] for name in names}


def _open_judge_file(path: Path, file: TaskFile) -> tuple[TaskFile, Entry | None]:
    """Return a task file whose judge has its own name, and the entry of a judge that is named as a file."""
    place, _, version = file.judge.partition("@")
    if not place.endswith(".py"):
        return file, None
    try:
        entry = read_own_entry(path.parent / place, "judges")
    except UserError as error:
        raise UserError(f"{path}: judge: {error}") from None
    if version != str(entry.version):
        raise UserError(f"{path}: judge: {file.judge!r}: {place} has version {entry.version}")
    return file.model_copy(update={"judge": f"{entry.name}@{entry.version}"}), entry


def read_own_entry(path: Path, kind: str) -> Entry:
    """Return the entry of a Python file with a REGISTER, and let its module be imported by the entry's name.

    kind: `methods` or `judges`. Raises UserError naming the file where it is not there, has no complete
    REGISTER, or has the name of what is installed. The file's code runs when the entry is loaded.
    """
    if not path.is_file():
        raise UserError(f"{path}: no such file; `unlearnbench new {kind.rstrip('s')} NAME` writes one")
    try:
        register = read_register(path)
    except (SyntaxError, ValueError) as error:
        raise UserError(f"{path}: cannot be read as Python: {error}") from None
    except UserError as error:
        raise UserError(f"{path}: {error}") from None
    if register is None:
        raise UserError(f"{path}: has no REGISTER, by which a {kind.rstrip('s')} says what it is")
    try:
        entry = make_entry(path.stem, _module_name(path), register, OWN)
    except UserError as error:
        raise UserError(f"{path}: {error}") from None
    lacking = [key for key in NEEDED[kind] if not getattr(entry, key)]
    if lacking:
        raise UserError(f"{path}: REGISTER names no `{lacking[0]}`")
    package = {"methods": "unlearnbench.methods", "judges": "unlearnbench.bench.judges"}[kind]
    if entry.name in builtin_registry(kind, package):
        raise UserError(f"{path}: {entry.name} is installed already; give the file or its `name` another one")
    _load(path, entry.module)
    return entry


def _module_name(path: Path) -> str:
    """Return a name that no installed module and no other file has."""
    stem = "".join(letter if letter.isalnum() else "_" for letter in path.stem)
    return f"own_{stem}_{hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:8]}"


def _load(path: Path, name: str) -> None:
    """Import a file as a module of this name, once."""
    if name in sys.modules:
        return
    spec = importlib.util.spec_from_file_location(name, path.resolve())
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except KeyboardInterrupt:
        del sys.modules[name]
        raise
    except BaseException as error:  # a user's code may even exit
        del sys.modules[name]
        raise UserError(f"{path}: does not load: {type(error).__name__}: {error}") from error
