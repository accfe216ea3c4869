"""Tables of what is registered; imports no torch."""

from collections.abc import Callable
from pathlib import Path

from rich.table import Table

from .plan import read_suite
from .registry import Entry, Registry
from .tasks import Task


def make_tables(
    kinds: list[str],
    tasks: Callable[[], Registry[Task]],
    registry: Callable[[str], Registry[Entry]],
    suites: Path,
) -> list[Table]:
    """Return one table a kind, with one-line summaries and papers."""
    tables = []
    for kind in kinds:
        if kind == "tasks":
            tables.append(_task_table(tasks()))
        elif kind == "suites":
            tables.append(_suite_table(suites))
        else:
            tables.append(_entry_table(kind, registry(kind)))
    return tables


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold", no_wrap=column == columns[0])
    return table


def _entry_table(kind: str, entries: Registry[Entry]) -> Table:
    more = ("needs", "pipelines", "presets") if kind == "methods" else ()
    table = _table(kind, "name", "version", "summary", "paper", *more)
    for entry in entries.values():
        cells = [", ".join(entry.needs), ", ".join(entry.pipelines) or "all", ", ".join(entry.presets)]
        table.add_row(entry.name, str(entry.version), entry.summary, entry.paper, *cells[: len(more)])
    return table


def _task_table(tasks: Registry[Task]) -> Table:
    table = _table("tasks", "name", "role", "forgets", "paper")
    for task in tasks.values():
        targets = ", ".join(task.concept.targets)
        table.add_row(task.id, task.concept.role, targets, task.file.paper)
    return table


def _suite_table(folder: Path) -> Table:
    table = _table("suites", "name", "tasks", "methods", "summary")
    for path in sorted(folder.glob("*.toml")):
        suite = read_suite(path)
        table.add_row(suite.name, str(len(suite.tasks)), str(len(suite.methods)), suite.summary)
    return table
