"""What each subcommand does. Part of the command line: it may import tasks, methods and leaderboard."""

import argparse
import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from .draws import DrawingTasks, seed_in
from .errors import UserError
from .plugin_tasks import add_plugin_tasks
from .registry import KINDS, Entry, Registry, builtin_registry, package_folder
from .tasks import build_tasks, complete_name, read_task_files

FAILED = 1
"""Exit status where something was measured in vain; a user's mistake is 2."""
PACKAGES = {
    "methods": "unlearnbench.methods",
    "metrics": "unlearnbench.bench.metrics",
    "judges": "unlearnbench.bench.judges",
    "worlds": "unlearnbench.bench.worlds",
}


def registry(kind: str) -> Registry[Entry]:
    """Return the registry of methods, metrics, judges or worlds, plug-ins included."""
    return builtin_registry(kind, PACKAGES[kind])


def task_registry(world_folder: Path | None = None) -> DrawingTasks:
    """Return the registry of tasks: the package's TOML files, those of plug-ins and of a made world.

    Those that a seed draws are found in it by name.
    The folder's own tasks count where its world has no others. A plug-in's file that does not read, or that
    names a task that is there already, is in `broken`.
    """
    files = read_task_files([package_folder("unlearnbench.tasks")])
    broken = add_plugin_tasks(files)
    if world_folder is not None:
        own = open_folder_world(world_folder).task_file()
        if own.world not in {world for file in files for world in (file.world, *file.also)}:
            files.append(own)
    tasks = DrawingTasks(build_tasks(files), files, lambda name: registry("worlds")[name].load()())
    tasks.broken.update(broken)
    return tasks


def open_folder_world(folder: Path) -> Any:
    """Return the world that `pretrain images` left in a folder."""
    from .worlds.images.world import open_folder

    return open_folder(folder)


def list_broken(kinds: Iterable[str] = KINDS) -> list[str]:
    """Return one line for each plug-in of some kinds that cannot be used, and why."""
    lines = []
    for kind in kinds:
        entries: Registry[Any] = task_registry() if kind == "tasks" else registry(kind)
        lines += [f"broken {kind.rstrip('s')}: {reason}" for reason in entries.broken.values()]
    return lines


def suites_folder() -> Path:
    return package_folder("unlearnbench.tasks") / "suites"


def open_console() -> Any:
    """Return what prints tables: as wide as the terminal, or 120 columns where there is none."""
    from rich.console import Console

    return Console() if sys.stdout.isatty() else Console(width=120)


def show_list(options: argparse.Namespace) -> int:
    """Print what there is, kind by kind; imports no torch."""
    from rich.console import Console

    from .listing import make_tables

    kinds = ("tasks", "methods", "metrics", "judges", "worlds", "suites")
    if options.kind and options.kind not in kinds:
        raise UserError(f"nothing named {options.kind!r} to list; kinds: {', '.join(kinds)}")
    console = Console()
    wanted = [options.kind] if options.kind else list(kinds)
    for table in make_tables(wanted, task_registry, registry, suites_folder()):
        console.print(table)
    for line in list_broken(kind for kind in wanted if kind in KINDS):
        print(line)
    return 0


def choose_device(wanted: str | None) -> str:
    """Return the device to run on: the one asked for, or the best there is."""
    import torch

    there = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if wanted is not None:
        if wanted not in there:
            raise UserError(f"--device {wanted}: choose one of {', '.join(there)}")
        if not there[wanted]:
            raise UserError(f"--device {wanted}: not available on this machine")
        return wanted
    return next(name for name in ("cuda", "mps", "cpu") if there[name])


def check_counts(options: argparse.Namespace, *names: str) -> None:
    """Raise UserError where a number that counts something was given below 1."""
    for name in names:
        number = getattr(options, name, None)
        if number is not None and number < 1:
            raise UserError(f"--{name.replace('_', '-')} {number}: must be at least 1")


def set_threads(wanted: int | None, jobs: int = 1) -> int:
    """Set and return the number of CPU threads of each of `jobs` processes."""
    import torch

    check_counts(argparse.Namespace(threads=wanted, jobs=jobs), "threads", "jobs")
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    count = wanted or max(1, cores // jobs)
    torch.set_num_threads(count)
    torch.set_flush_denormal(True)
    return count


def make_runner(options: argparse.Namespace, folder: Path, worlds: set[str]) -> Any:
    """Return a Runner over the opened worlds and all metrics."""
    from .places import quote_places
    from .runner import Runner
    from .running.restart import restarting, told_arguments
    from .store import Store, default_folder

    def say(line: str) -> None:
        print(line, file=sys.stderr, flush=True)

    device = choose_device(options.device)
    opened = open_worlds(worlds, options, device)
    return Runner(
        store=Store(options.store or default_folder(), say),
        folder=folder,
        device=device,
        threads=set_threads(options.threads, getattr(options, "jobs", 1)),
        worlds=opened,
        metrics=registry("metrics"),
        command="unlearnbench " + " ".join(quote_places(told_arguments(options.arguments))),
        say=say,
        cell_timeout=getattr(options, "cell_timeout", None),
        restart=restarting(options.arguments) if getattr(options, "is_program", False) else None,
        abandoned=frozenset(getattr(options, "abandoned", None) or ()),
    )


def open_worlds(names: set[str], options: argparse.Namespace, device: str = "cpu") -> dict[str, Any]:
    """Return worlds by name; a real model's is placed where the options say that its parts lie."""
    known = registry("worlds")
    check_counts(options, "sampling_steps", "training_images", "image_size")
    where = {
        "source": getattr(options, "base_model", None),
        "clip": getattr(options, "clip", None),
        "data": getattr(options, "data", None),
        "steps": getattr(options, "sampling_steps", None),
        "images": getattr(options, "training_images", None),
        "image_size": getattr(options, "image_size", None),
    }
    folder = getattr(options, "world_folder", None)
    own = {} if folder is None else {world.name: world for world in [open_folder_world(folder)]}
    if own.keys() - names:
        raise UserError(f"--world-folder {folder}: the world {min(own)}; no task of this run is in it")
    opened = {name: own[name] if name in own else known[name].load()() for name in sorted(names)}
    real = {
        name: world.placed(device=device, **where)
        for name, world in opened.items()
        if hasattr(world, "placed")
    }
    if any(value is not None for value in where.values()) and not real:
        raise UserError(
            f"{', '.join(sorted(names))}: ships whole; --model, --clip, --data are for real models"
        )
    return opened | real


def narrow_suite(suite: Any, options: argparse.Namespace) -> Any:
    """Return the suite with only the tasks, methods and seeds asked for; checks every name first."""
    tasks = task_registry(getattr(options, "world_folder", None))
    rows = _narrow_rows(suite, options)
    change: dict[str, Any] = {"methods": rows}
    if options.task:
        change["tasks"] = [task.id for name in options.task for task in tasks.expand(complete_name(name))]
        seed = seed_in(options.task)
        change["name"] = suite.name if seed is None else f"{suite.name}-draw-{seed}"
    if options.seeds:
        from .plan import check_options_seeds

        check_options_seeds("--seeds", options.seeds)
        change["seeds"] = options.seeds
        change["methods"] = [row.model_copy(update={"seeds": []}) for row in rows]
    return suite.model_copy(update=change)


def _narrow_rows(suite: Any, options: argparse.Namespace) -> list[Any]:
    from .plan import REFERENCES, MethodRow

    wanted, skipped = options.method or [], options.skip or []
    known = registry("methods")
    for name in (*wanted, *skipped):
        if name not in REFERENCES:
            _ = known[name]
    rows = suite.methods
    if wanted:
        rows = [row for row in rows if row.name in wanted or row.name in REFERENCES]
        rows += [MethodRow(name=name) for name in wanted if name not in {row.name for row in rows}]
    if getattr(options, "config", None):
        if not wanted:
            raise UserError("--config: name the methods that it is for with --method")
        preset = {"config": {"preset": options.config}}
        rows = [row.model_copy(update=preset) if row.name in wanted else row for row in rows]
    rows = [row for row in rows if row.name not in skipped]
    if not rows:
        raise UserError(f"--skip {' '.join(skipped)}: leaves nothing of {suite.name}")
    return rows


def check_configs(cells: list[Any]) -> None:
    """Build every cell's config before anything runs: a mistake is found in the first second."""
    for cell in cells:
        if cell.entry is not None:
            cell.build_config()


def run_suite(options: argparse.Namespace) -> int:
    """Run a suite, print its table, make its page."""
    from .jobs import end_with_parent, run_parts, take_part
    from .needed import check_floor
    from .plan import find_references, find_suite, plan_cells, take_choice

    suite = narrow_suite(take_choice(find_suite(options.suite, suites_folder()), suites_folder()), options)
    check_floor(suite)
    if options.part:
        end_with_parent()
        suite = take_part(suite, options.part)
    tasks = task_registry(options.world_folder)
    cells = plan_cells(suite, tasks, registry("methods"))
    if options.dry_run:
        from .cli_plan import show_plan

        check_configs(cells)
        return show_plan(suite, cells, open_worlds({cell.task.file.world for cell in cells}, options))
    folder = options.out or Path("runs") / suite.name
    runner = make_runner(options, folder, {cell.task.file.world for cell in cells})
    cells = find_references(cells, runner.worlds)
    pending = runner.pending(cells)
    check_configs(pending)
    if options.jobs > 1 and pending:
        records = [folder / f"{c.stem}.json" for c in pending]
        run_parts(options.arguments, options.jobs, runner.threads, records)
    outcomes = runner.run(cells)
    runner.store.prune()
    if options.part:  # the process that started this one makes the page
        return FAILED if any(o.state == "failed" for o in outcomes) else 0
    if any(cell.row.shown for cell in cells) and not any(o.state == "failed" for o in outcomes):
        runner.pool(cells)
    if options.publish:
        publish(outcomes)
    return finish(outcomes, folder)


def finish(outcomes: list[Any], folder: Path) -> int:
    """Make the page, print the table and what happened; return the exit status."""
    from .cli_boards import build_page

    page = build_page([folder], None)
    failed = [o for o in outcomes if o.state == "failed"]
    drawn = sum(o.drawn for o in outcomes)
    unchanged = sum(o.state == "unchanged" for o in outcomes)
    print(f"{len(outcomes)} cells, {unchanged} unchanged, {len(failed)} failed, {drawn} images drawn")
    for outcome in failed:
        print(f"failed: {outcome.path.stem}; see {outcome.path.parent / 'failures'}", file=sys.stderr)
    print(f"leaderboard: {page}")
    return FAILED if failed else 0


def publish(outcomes: list[Any]) -> None:
    """Copy measured records into results/ of the checkout; never overwrites one that differs."""
    from .records import copy_record

    root = Path(__file__).resolve().parent.parent
    if not (root / "pyproject.toml").is_file():
        raise UserError("--publish: works in a checkout of the project alone; copy the records by hand")
    target = root / "results"
    for outcome in outcomes:
        if outcome.state == "failed":
            continue
        folder = target / outcome.path.parent.name
        folder.mkdir(parents=True, exist_ok=True)
        if (folder / outcome.path.name).exists():
            print(f"results: {outcome.path.name} is there already; results are append-only", file=sys.stderr)
            continue
        copy_record(outcome.path, folder)
