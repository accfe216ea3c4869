"""Task files in third parties' packages; imports no torch."""

import importlib.util
from collections.abc import Sequence
from pathlib import Path

from ..errors import UserError
from ..planning.tasks import TaskFile, build_tasks, read_task_file
from ..registry import build_registry


def read_plugin_tasks(shipped: Sequence[TaskFile]) -> tuple[list[TaskFile], dict[str, str]]:
    """Return the task files of plug-ins, and plug-in -> reason for those that are left out."""
    files: list[TaskFile] = []
    entries = build_registry("tasks", lambda: iter(()))
    broken = dict(entries.broken)
    for entry in entries.values():
        try:
            spec = importlib.util.find_spec(entry.module)
            file = read_task_file(Path(str(spec and spec.origin)).with_name(entry.file))
            build_tasks(shipped, [*files, file])
        except (UserError, OSError, ValueError) as error:
            broken[entry.name] = f"task plug-in {entry.name!r} of {entry.distribution}: {error}"
        else:
            files.append(file)
    return files, broken
