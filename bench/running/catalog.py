"""Everything that is registered: tasks, methods, metrics, judges, worlds and suites, with plug-ins."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import UserError
from ..planning.draws import DrawingTasks
from ..planning.own import read_own_tasks
from ..planning.tasks import TaskFile, build_tasks, read_task_files
from ..registry import KINDS, Entry, Registry, builtin_registry, package_folder
from ..worlds.protocol import World, check_world
from .plugin_tasks import read_plugin_tasks

if TYPE_CHECKING:
    from ..worlds.images.world import ImagesWorld

PACKAGES = {
    "methods": "unlearnbench.methods",
    "attacks": "unlearnbench.bench.attacks",
    "metrics": "unlearnbench.bench.metrics",
    "judges": "unlearnbench.bench.judges",
    "worlds": "unlearnbench.bench.worlds",
}


def registry(kind: str) -> Registry[Entry]:
    """Return the registry of methods, attacks, metrics, judges or worlds, plug-ins included."""
    return builtin_registry(kind, PACKAGES[kind])


def task_registry(world_folder: Path | None = None, task_files: Sequence[Path] = ()) -> DrawingTasks:
    """Return the registry of tasks: the package's TOML files, those of plug-ins, of a made world, of a user.

    It also finds tasks that a seed draws, by name. The tasks in world_folder are used where no other file has
    tasks of its world. A plug-in's file that cannot be read, or that names an existing task, is in `broken`.
    task_files: a user's own files, or folders of them; one that cannot be read raises UserError.
    """
    shipped = read_task_files([package_folder("unlearnbench.tasks")])
    others, broken = read_plugin_tasks(shipped)
    made = ""
    if world_folder is not None:
        own = open_folder_world(world_folder).task_file()
        made = own.world
        if own.world not in _worlds([*shipped, *others]):
            others.append(own)
    # what a seed draws from a shipped world depends on no plug-in
    drawn = [*shipped, *(file for file in others if not _worlds([file]) & _worlds(shipped))]
    tasks = DrawingTasks(build_tasks(shipped, others), drawn, open_world)
    tasks.broken.update(broken)
    mine = read_own_tasks(task_files, shipped, tasks, lambda name: name == made or registry("worlds")[name])
    for name, task in mine.items():
        tasks.add(name, task)
    return tasks


def _worlds(files: Iterable[TaskFile]) -> set[str]:
    return {world for file in files for world in (file.world, *file.also)}


def open_world(name: str) -> World:
    """Return a world by its name; UserError where it does not open, or lacks a member of `World`."""
    entry = registry("worlds")[name]
    try:
        world = entry.load()()
    except UserError:
        raise
    except Exception as error:  # a third party's code, or a subclass of World that lacks a member
        raise UserError(f"world {name} (from {entry.distribution}): does not open: {error}") from error
    return check_world(world, f"{name} (from {entry.distribution})")


def open_folder_world(folder: Path) -> "ImagesWorld":
    """Return the world that `pretrain images` wrote into a folder."""
    from ..worlds.images.world import open_folder

    return open_folder(folder)


def list_broken(kinds: Iterable[str] = KINDS) -> list[str]:
    """Return one line for each plug-in of some kinds that cannot be used, with the reason."""
    lines = []
    for kind in kinds:
        entries: Registry[Any] = task_registry() if kind == "tasks" else registry(kind)
        lines += [f"broken {kind.rstrip('s')}: {reason}" for reason in entries.broken.values()]
    return lines


def suites_folder() -> Path:
    return package_folder("unlearnbench.tasks") / "suites"
