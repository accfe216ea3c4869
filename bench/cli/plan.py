"""`list`, `doctor` and `run --dry-run`: tables of registered names, of a plan and of its needs."""

import argparse
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import UserError
from ..models.hub import Source
from ..planning.plan import read_suite
from ..planning.tasks import Task, complete_name
from ..registry import KINDS, Entry, Registry
from ..running.catalog import list_broken, registry, suites_folder, task_registry
from ..running.dry_run import count_attacked, estimate_tasks, needs
from ..worlds.protocol import World
from .common import FAILED, add_machine, add_places, open_console, read_session

if TYPE_CHECKING:
    from rich.table import Table

MOST_NAMED = 10
"""Targets of a task that `list` names."""


def show_plan(
    suite: Any,
    cells: Sequence[Any],
    worlds: Mapping[str, World],
    attacks: Sequence[Any] = (),
    jobs: int = 1,
) -> int:
    """Print the work, time and needs of a suite; return 1 where something is missing.

    attacks: on its models.
    """
    from rich.table import Table

    lots = estimate_tasks(cells, worlds)
    table = Table(title=f"{suite.name}: the plan", title_justify="left", box=None, pad_edge=False)
    table.add_column("task", overflow="fold")
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
    if attacks:
        print(
            f"attacks: {len(attacks)} attacked records, at most {count_attacked(attacks)} images under "
            "attack, and those that attacks draw and learn from"
        )
    show_cost(cells, worlds, jobs)
    tasks = list({cell.task.id: cell.task for cell in cells}.values())
    return show_needs(needs(tasks, worlds))


def show_cost(cells: Sequence[Any], worlds: Mapping[str, World], jobs: int) -> None:
    """Print the time of a plan by the rates of this machine, for one worker, for `jobs` and for more."""
    from ..running.dry_run import estimate_work
    from ..running.session import choose_device
    from ..running.sharing.cost import describe_cost, find_rates

    device = choose_device(None)
    for name, world in worlds.items():
        own = [cell for cell in cells if cell.task.file.world == name]
        if not own:
            continue
        rates = find_rates(world.id, device)
        if rates is None:
            print(
                f"time: unmeasured for {world.id} on this machine; `unlearnbench calibrate --task "
                f"{own[0].task.id}` measures it in a minute"
            )
            continue
        lines = describe_cost(estimate_work(own, worlds, rates), rates, sorted({1, jobs, 8, 64}))
        print("\n".join([f"time of {world.id}, at most (images in the store are not drawn again):", *lines]))


def calibrate(options: argparse.Namespace) -> int:
    """Measure this machine's rates on the model of a task, and keep them."""
    from tempfile import TemporaryDirectory

    from ..running.session import make_runner
    from ..running.sharing.cost import METHOD, describe_load, keep_rates, measure_rates

    task = task_registry(options.world_folder)[complete_name(options.task)]
    with TemporaryDirectory() as folder:
        session = replace(read_session(options), store=Path(folder) / "store")
        runner = make_runner(session, Path(folder) / "records", {task.file.world})
        rates = measure_rates(runner, task, registry("methods")[METHOD], options.seconds)
    place = keep_rates(rates)
    print(f"{rates.world} on {rates.device_name}, {rates.threads} CPU threads:")
    print(f"drawing {rates.drawing:.4g} s an image, judging {rates.judging:.4g} s an image")
    print(f"a training step {rates.step:.4g} s for an image of its batch, opening {rates.opening:.1f} s")
    print(f"memory {rates.memory / 2**30:.1f} GiB; kept in {place}")
    if busy := describe_load():
        print(busy)
    return 0


def add_calibrate(commands: Any) -> None:
    parser = commands.add_parser("calibrate", help="measure how fast this machine is, for run --dry-run")
    parser.add_argument("--task", default="classes/cat-face", help="a task of the model to measure")
    parser.add_argument("--seconds", type=float, default=60.0, help="how long to measure (default 60)")
    add_places(parser, "--model")
    add_machine(parser)
    parser.set_defaults(run=calibrate, store=None)


def show_needs(sources: Sequence[Source]) -> int:
    """Print every need with its location, or with its remedy; return 1 where something is missing."""
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


def show_list(options: argparse.Namespace) -> int:
    """Print one kind of what there is, or how much there is of each; imports no torch."""
    kinds = (*KINDS, "suites")
    if options.kind and options.kind not in kinds:
        raise UserError(f"nothing named {options.kind!r} to list; kinds: {', '.join(kinds)}")
    wanted = [options.kind] if options.kind else list(kinds)
    if options.kind:
        tables = make_tables(wanted, task_registry, registry, suites_folder())
        narrowed = [narrow_table(table, options.word or "") for table in tables]
    else:
        narrowed = [_overview(kinds)]
    for table in narrowed:
        open_console().print(table)
    for line in list_broken(kind for kind in wanted if kind in KINDS):
        print(line)
    return 0


def narrow_table(table: "Table", word: str) -> "Table":
    """Return a table with only the rows that hold a word; raises UserError where none does."""
    cells = [list(column.cells) for column in table.columns]
    kept = [k for k, row in enumerate(zip(*cells, strict=True)) if word.lower() in " ".join(row).lower()]
    if not kept:
        raise UserError(f"list {table.title}: no entry holds {word!r}")
    narrowed = _empty_table(str(table.title), *(str(column.header) for column in table.columns))
    narrowed.columns[0].no_wrap = table.columns[0].no_wrap
    for k in kept:
        narrowed.add_row(*(column[k] for column in cells))
    return narrowed


def _overview(kinds: Sequence[str]) -> "Table":
    """Return a table of the kinds: how many there are of each, and the first of their names."""
    table = _empty_table("unlearnbench list KIND [WORD] shows one kind", "kind", "number", "names")
    for kind in kinds:
        if kind == "suites":
            names = [path.stem for path in sorted(suites_folder().glob("*.toml"))]
        else:
            names = list(task_registry()) if kind == "tasks" else list(registry(kind))
        more = ", ..." if len(names) > MOST_NAMED else ""
        table.add_row(kind, str(len(names)), ", ".join(names[:MOST_NAMED]) + more)
    return table


def make_tables(
    kinds: list[str],
    tasks: Callable[[], Registry[Task]],
    registry: Callable[[str], Registry[Entry]],
    suites: Path,
) -> "list[Table]":
    """Return one table for each kind, with one-line summaries and papers."""
    tables = []
    for kind in kinds:
        if kind == "tasks":
            tables.append(_task_table(tasks()))
        elif kind == "suites":
            tables.append(_suite_table(suites))
        else:
            tables.append(_entry_table(kind, registry(kind)))
    return tables


def _empty_table(title: str, *columns: str) -> "Table":
    from rich.table import Table

    table = Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold", no_wrap=column == columns[0])
    return table


def _entry_table(kind: str, entries: Registry[Entry]) -> "Table":
    if kind == "methods":
        return _method_table(entries)
    if kind == "attacks":
        return _attack_table(entries)
    table = _empty_table(kind, "name", "version", "summary", "paper")
    for entry in entries.values():
        table.add_row(entry.name, str(entry.version), entry.summary, _short(entry.paper))
    return table


def _attack_table(entries: Registry[Entry]) -> "Table":
    table = _empty_table("attacks", "", "moves", "access", "a unit of budget", "pipelines")
    table.columns[0].no_wrap = False
    for entry in entries.values():
        about = f"{entry.name}\n  {entry.summary}" + (f" ({_short(entry.paper)})" if entry.paper else "")
        pipelines = ", ".join(entry.pipelines) or "all"
        table.add_row(about, entry.moves, entry.access, entry.unit, pipelines)
    return table


def _method_table(entries: Registry[Entry]) -> "Table":
    table = _empty_table("methods", "", "changes", "needs", "pipelines", "presets")
    table.columns[0].no_wrap = False
    for entry in entries.values():
        changes = [*entry.trains, *(["drawing"] if entry.apply else [])]
        sets = (changes, entry.needs, entry.pipelines or ["all"], entry.presets)
        about = f"{entry.name}\n  {entry.summary}" + (f" ({_short(entry.paper)})" if entry.paper else "")
        table.add_row(about, *(", ".join(values) for values in sets))
    return table


def _short(paper: str) -> str:
    """Return a paper's address as readers name it: `arXiv 2308.14761`."""
    return paper.replace("https://arxiv.org/abs/", "arXiv ")


def _task_table(tasks: Registry[Task]) -> "Table":
    table = _empty_table("tasks", "name", "role", "forgets", "paper")
    for task in tasks.values():
        named = task.concept.targets
        more = f" and {len(named) - MOST_NAMED} more" if len(named) > MOST_NAMED else ""
        targets = ", ".join(named[:MOST_NAMED]) + more
        table.add_row(task.id, task.concept.role, targets, task.file.paper)
    return table


def _suite_table(folder: Path) -> "Table":
    table = _empty_table("suites", "name", "tasks", "methods", "summary")
    for path in sorted(folder.glob("*.toml")):
        suite = read_suite(path)
        table.add_row(
            suite.name, str(len(suite.tasks or suite.sequence)), str(len(suite.methods)), suite.summary
        )
    return table
