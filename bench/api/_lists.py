"""Lists of everything to choose from: tasks, methods, metrics, judges, worlds and suites."""

from .bench.planning.plan import Suite, read_suite
from .bench.planning.tasks import Task
from .bench.registry import Entry
from .bench.running.catalog import registry, suites_folder, task_registry


def list_tasks(world: str | None = None) -> list[Task]:
    """Return the tasks in the order of their names, those of plug-ins included.

    world: only tasks of this world, such as `emoji`.

    >>> [task.id for task in unlearnbench.list_tasks("emoji")][:1]
    ['celebrities/fairy@emoji']
    """
    return [task for task in task_registry().values() if world in (None, task.file.world)]


def list_methods() -> list[Entry]:
    """Return the methods that `run` and `unlearn` know by name: name, summary, paper, presets, needs."""
    return registry("methods").values()


def list_metrics() -> list[Entry]:
    """Return the metrics: name, version, summary and `direction` (`up` or `down` is better)."""
    return registry("metrics").values()


def list_judges() -> list[Entry]:
    """Return the judges: networks that name the contents of an image."""
    return registry("judges").values()


def list_worlds() -> list[Entry]:
    """Return the worlds: base models with their prompts, judges and reference images."""
    return registry("worlds").values()


def list_suites() -> list[Suite]:
    """Return the suites that `run` knows by name."""
    return [read_suite(path) for path in sorted(suites_folder().glob("*.toml"))]
