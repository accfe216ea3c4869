"""`doctor`: is this installation complete, and what do tasks need that is not on this machine?"""

import argparse
import os
import shutil
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import TYPE_CHECKING

from ...environment import find_commit
from ...errors import UserError
from ...planning.tasks import complete_name
from ...running.catalog import list_broken, registry
from ...running.dry_run import needs
from ...running.session import WorldSettings, choose_device, open_tasks, open_worlds
from ...store import default_folder
from ..common import FAILED, read_world
from ..plan import show_needs

if TYPE_CHECKING:
    from packaging.requirements import Requirement

GIB = 2**30


def run_doctor(options: argparse.Namespace) -> int:
    """Print the needs of the named tasks, or the state of the installation; 1 where something is missing."""
    if options.task:
        return check_tasks(options)
    faults = 0
    for line, is_fault in describe_installation(options.store or default_folder()):
        print(line)
        faults += is_fault
    for line in [*list_broken(), *describe_worlds(read_world(options))]:
        print(line)
    print("the installation is complete" if not faults else f"{faults} faults of the installation")
    return FAILED if faults else 0


def check_tasks(options: argparse.Namespace) -> int:
    """Print the needs of tasks, and whether each is on this machine."""
    known = open_tasks(read_world(options))
    tasks = [known[complete_name(name)] for name in options.task]
    worlds = open_worlds({task.file.world for task in tasks}, read_world(options))
    for line in list_broken():
        print(line)
    return show_needs(needs(tasks, worlds))


def describe_installation(store: Path) -> Iterator[tuple[str, bool]]:
    """Yield lines about versions, device and cache, each with whether it is a fault."""
    import platform

    import psutil

    commit = find_commit()
    where = f", commit {commit}" if commit else ""
    yield f"unlearnbench {version('unlearnbench')}{where}; Python {platform.python_version()}", False
    for extra, wanted in _requirements():
        yield from _describe_package(extra, wanted)
    memory = psutil.virtual_memory()
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    sizes = f"{memory.total / GIB:.0f} GiB of memory, {memory.available / GIB:.0f} free"
    yield f"device: {choose_device(None)}; {cores} CPU cores; {sizes}", False
    yield describe_store(store), False


def _requirements() -> list[tuple[str, "Requirement"]]:
    """Return the declared requirements, each with its extra; "" = needed by every installation."""
    from packaging.requirements import Requirement

    found = []
    for text in requires("unlearnbench") or ():
        one = Requirement(text)
        marker = str(one.marker or "")
        extra = marker.partition('extra == "')[2].rstrip('"')
        if extra != "dev":
            found.append((extra, one))
    return found


def _describe_package(extra: str, wanted: "Requirement") -> Iterator[tuple[str, bool]]:
    """Yield a line where a package is missing or too old; a missing one of an extra is no fault."""
    for_what = f" (for unlearnbench[{extra}])" if extra else ""
    remedy = f"pip install '{wanted.name}{wanted.specifier}'"
    try:
        found = version(wanted.name)
    except PackageNotFoundError:
        yield f"{wanted.name}: not installed{for_what}; {remedy}", not extra
        return
    if not wanted.specifier.contains(found, prereleases=True):
        yield f"{wanted.name} {found}: {wanted.specifier} is needed{for_what}; {remedy}", True
    elif not extra:
        yield f"{wanted.name} {found}", False


def describe_store(folder: Path) -> str:
    """Return a line with a cache's place, its size, and the free space on its disk."""
    sizes = (
        [entry.stat().st_size for entry in folder.rglob("*") if entry.is_file()] if folder.exists() else []
    )
    there = next(path for path in (folder, *folder.parents) if path.exists())
    free = shutil.disk_usage(there).free / GIB
    return f"cache: {folder}: {len(sizes)} files, {sum(sizes) / GIB:.2f} GiB; {free:.0f} GiB free on the disk"


def describe_worlds(settings: WorldSettings) -> Iterator[str]:
    """Yield one line for each world: how many tasks it has, and what is missing for them."""
    by_world: dict[str, list] = {}
    for task in open_tasks(settings).values():
        by_world.setdefault(task.file.world, []).append(task)
    for name, tasks in by_world.items():
        title = f"{name}: {len(tasks)} tasks"
        if name not in registry("worlds"):
            yield f"{title}: no world of this name is installed"
            continue
        try:
            found = needs(tasks, open_worlds({name}, WorldSettings()))
        except UserError as error:
            yield f"{title}: {error}"
            continue
        lacking = [source.what for source in found if source.folder is None or source.fault]
        state = (
            "ready" if not lacking else f"{len(lacking)} of {len(found)} missing: {'; '.join(lacking[:4])}"
        )
        more = f"; and {len(lacking) - 4} more" if len(lacking) > 4 else ""
        remedy = "" if not lacking else f" (unlearnbench doctor --task {tasks[0].id})"
        yield f"{title}: {state}{more}{remedy}"
