"""What `doctor` and `run --dry-run` do: a plan, what it needs, and what of that is not here."""

import argparse
from collections.abc import Sequence
from typing import Any

from .cli_commands import FAILED, list_broken, open_console, open_worlds, task_registry
from .dry_run import count_lots, needs
from .hub import Source
from .tasks import complete_name


def show_plan(suite: Any, cells: Sequence[Any], worlds: dict[str, Any]) -> int:
    """Print what a suite would do and need; return 1 where something is missing."""
    from rich.table import Table

    lots = count_lots(cells, worlds)
    table = Table(title=f"{suite.name}: the plan", title_justify="left", box=None, pad_edge=False)
    table.add_column("task", no_wrap=True)
    for column in ("cells", "training steps", "training images", "evaluated images, at most"):
        table.add_column(column, justify="right")
    for lot in lots:
        table.add_row(lot.task, str(lot.cells), str(lot.steps), str(lot.training), str(lot.images))
    table.add_row(
        "in all",
        str(sum(lot.cells for lot in lots)),
        str(sum(lot.steps for lot in lots)),
        str(sum(lot.training for lot in lots)),
        str(sum(lot.images for lot in lots)),
        style="bold",
    )
    open_console().print(table)
    print("time: unmeasured on this machine; images in the store are not drawn again")
    tasks = list({cell.task.id: cell.task for cell in cells}.values())
    return show_needs(needs(tasks, worlds))


def show_needs(sources: Sequence[Source]) -> int:
    """Print what is needed, where it is or what brings it here; return 1 where something is missing."""
    if not sources:
        print("nothing is needed beyond what ships with the package")
        return 0
    missing = 0
    for source in sources:
        place = source.folder
        fault = source.fault
        missing += place is None or bool(fault)
        licence = f"licence: {source.licence}" if source.licence else "licence and size: on its own page"
        state = f"MISSING; {source.remedy}" if place is None else f"here: {place}"
        if fault:
            state = f"NOT WHOLE; {fault}"
        print(f"{source.what} ({source.where}; {licence}): {state}")
    print(f"{missing} of {len(sources)} missing" if missing else "nothing is missing")
    return FAILED if missing else 0


def check_task(options: argparse.Namespace) -> int:
    """Print what tasks need and whether it is here."""
    known = task_registry(options.world_folder)
    tasks = [known[complete_name(name)] for name in options.task]
    worlds = open_worlds({task.file.world for task in tasks}, options)
    for line in list_broken():
        print(line)
    return show_needs(needs(tasks, worlds))
