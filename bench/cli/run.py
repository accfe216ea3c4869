"""`run` and `evaluate`: their options and actions."""

import argparse
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import UserError
from .common import (
    FAILED,
    add_dtype,
    add_output,
    add_places,
    add_tags,
    read_program,
    read_session,
    read_tags,
    read_world,
)
from .tools.score import add_sizes, only_task

if TYPE_CHECKING:
    from ..._results import Records

CHECKOUT = Path(__file__).resolve().parents[2]
"""The root of the repository, where this package lies in a checkout."""


def run_suite(options: argparse.Namespace) -> int:
    """Run a suite, print its table, make its page."""
    from ... import run
    from ..running.jobs import end_with_parent
    from ..running.sharing.engines import is_remote

    if options.part:
        end_with_parent()
    if options.dry_run:
        return _show_plan(options)
    found = run(
        options.suite,
        **_read_choice(options),
        out=options.out,
        device=options.device,
        threads=options.threads,
        store=options.store,
        cell_timeout=options.cell_timeout,
        dtype=options.dtype,
        offload=options.offload,
        resume=options.resume,
        world=read_world(options),
        limit=options.limit,
        only_failures=options.only_failures,
        tags=read_tags(options),
        _program=read_program(options),
    )
    if options.part:  # the parent process makes the page
        print(f"{found.drawn} images drawn")
        return FAILED if found.failed else 0
    if options.publish:
        publish(found)
    # workers of a cluster say what they drew; processes here only in their logs
    return finish(found, 1 if is_remote(read_program(options)) else options.jobs or 1)


def _read_choice(options: argparse.Namespace) -> dict[str, Any]:
    """Return the part of a suite that is asked for, as keyword arguments of `run`."""
    from ... import method

    if options.config and not options.method:
        raise UserError("--config: name the methods that it is for with --method")
    methods = [method(name, options.config) for name in options.method or ()]
    return {
        "tasks": options.task,
        "methods": methods or None,
        "skip": options.skip or (),
        "seeds": options.seeds,
    }


def _show_plan(options: argparse.Namespace) -> int:
    from ..._suites import check_added_tasks, check_configs, plan_run
    from ..planning.plan import find_references
    from ..running.session import choose_device, open_worlds
    from .plan import show_plan

    choice = _read_choice(options)
    world = read_world(options)
    plan = plan_run(options.suite, **choice, world=world, limit=options.limit)
    check_configs(plan.cells)
    if options.executor == "slurm":
        show_script(options, plan.suite)
    worlds = open_worlds(plan.worlds, world)
    here = [cell for cell in plan.cells if not worlds[cell.task.file.world].is_placed]
    check_added_tasks(here, worlds)  # a real model's prompts may be in files that are not here yet
    attacks: list[Any] = []
    if plan.suite.attacks:  # planning imports no torch without them
        from ..running.attacking.suite_attacks import plan_attacks
        from ..running.catalog import registry

        attacks = plan_attacks(plan.suite, plan.cells, registry("attacks"))
    choose_device(options.device)
    cells, attacks = _leave_out_done(options, plan, attacks)
    status = show_plan(plan.suite, cells, worlds, attacks, options.jobs or 1)
    try:
        find_references(plan.cells, worlds)
    except UserError as error:  # a retrained model that the run would stop for
        print(f"MISSING; {error}")
        return FAILED
    return status


def _leave_out_done(
    options: argparse.Namespace, plan: Any, attacks: list[Any]
) -> tuple[list[Any], list[Any]]:
    """Return the cells and attacks of a plan whose record is not there yet; print how many are."""
    from tempfile import TemporaryDirectory

    from ..records.packed.record_table import has_record
    from ..running.dry_run import leave_out_attacked, leave_out_done
    from ..running.runner import check_resumed
    from ..running.session import make_runner

    folder, resume = options.out or Path("runs") / plan.suite.name, options.resume
    if resume is not None:
        check_resumed(resume)
    if resume is None and not folder.is_dir():
        return plan.cells, attacks
    with TemporaryDirectory() as store:  # the plan makes no store
        session = replace(read_session(options), store=Path(store))
        runner = make_runner(session, folder, plan.worlds)
        cells, done = leave_out_done(runner, plan.cells, resume)
        waiting = leave_out_attacked(runner, attacks, resume)
        elsewhere = _describe_elsewhere(runner, waiting, resume) if waiting and resume else ""
    for place, count in done.items():
        print(f"{place}: {count} of {len(plan.cells)} records count as done")
    others = sum(has_record(resume / f"{cell.stem}.json") for cell in cells) if resume else 0
    if others:
        print(f"{resume}: {others} records have another suite or key: measured again")
    if len(waiting) < len(attacks):
        print(f"{len(attacks) - len(waiting)} of {len(attacks)} attacked records count as done")
    if elsewhere:
        print(elsewhere)
    return cells, waiting


def _describe_elsewhere(runner: Any, attacks: list[Any], resume: Path) -> str:
    from ..running.attacking.suite_attacks import describe_elsewhere

    return describe_elsewhere(replace(runner, folder=resume), attacks)


def show_script(options: argparse.Namespace, suite: Any) -> None:
    """Print the script that a run would hand to Slurm."""
    from ..running.sharing.engines import describe_slurm, plan_workers

    program = read_program(options)
    folder = options.out or Path("runs") / suite.name
    print(describe_slurm(plan_workers(program, folder / "parts", options.threads or suite.threads or 1)))


def finish(found: "Records", jobs: int = 1) -> int:
    """Make the page, print the table and a summary; return the exit status. jobs: processes that drew."""
    from ..running.failures import find_failure
    from .boards import build_page

    page = build_page([found.folder], None)
    failed = found.failed
    counts = f"{found.cells} cells, {found.unchanged} unchanged, {len(failed)} failed"
    attacks = f", {len(found.attacked)} attacked records" if found.attacked else ""
    shared = jobs > 1 and found.unchanged < found.cells
    drawn = f"images drawn: see {found.folder / 'parts'}" if shared else f"{found.drawn} images drawn"
    print(f"{counts}{attacks}, {drawn}")
    for stem in failed:
        print(f"failed: {stem}; see {find_failure(found.folder, stem)}", file=sys.stderr)
    print(f"leaderboard: {page}")
    if found.attacked:
        print(f"attacks: {page.parent / 'attacks.html'}")
    return FAILED if failed else 0


def publish(found: "Records", root: Path = CHECKOUT) -> None:
    """Copy measured and attacked records into results/ of the checkout; never overwrites a different one."""
    from ..records.chosen import copy_record, refuse_unranked
    from ..records.packed.record_table import has_record

    if not (root / "pyproject.toml").is_file():
        raise UserError("--publish: works only in a checkout of the project; copy the records by hand")
    for record in (*found, *found.attacked):
        if record.status == "failed":
            continue
        refuse_unranked(record.path, record)
        folder = root / "results" / record.path.parent.relative_to(found.folder.parent)
        folder.mkdir(parents=True, exist_ok=True)
        if has_record(folder / record.path.name):
            print(f"results: {record.path.name} is there already; results are append-only", file=sys.stderr)
            continue
        copy_record(record.path, folder)


def _add_time_limit(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--cell-timeout",
        type=float,
        metavar="SECONDS",
        help="a cell that takes longer has failed (default: none)",
    )
    parser.add_argument("--abandoned", action="append", help=argparse.SUPPRESS)  # cells that never ended


def add_limit(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--limit", type=int, metavar="N", help="at most N prompts of each set: a first look, never ranked"
    )
    add_tags(parser)


def add_run(commands: Any) -> None:
    parser = commands.add_parser("run", help="run a suite (default: the demo) and make its leaderboard")
    parser.add_argument("--suite", default="demo", help="a suite's name or TOML file")
    parser.add_argument("--task", action="append", help="only this task (family/concept[@world]); repeatable")
    parser.add_argument("--method", action="append", help="only this method; repeatable")
    parser.add_argument("--config", metavar="PRESET", help="settings of the methods named by --method: paper")
    parser.add_argument("--skip", action="append", help="leave this method or reference out; repeatable")
    parser.add_argument("--seeds", type=int, nargs="+", help="training seeds")
    parser.add_argument(
        "--jobs",
        type=int,
        help="processes that share the suite's work (default: 1; one for each of several GPUs; with "
        "--executor local as many as cores and memory allow)",
    )
    parser.add_argument(
        "--executor", choices=("local", "slurm", "ray"), help="what starts the processes (default: local)"
    )
    parser.add_argument(
        "--resource",
        action="append",
        metavar="NAME=VALUE",
        help="what each process asks the executor for, such as timeout_min=240 or num_gpus=0.5; repeatable",
    )
    parser.add_argument("--part", help=argparse.SUPPRESS)  # what --jobs gives each of its processes
    parser.add_argument(
        "--dry-run", action="store_true", help="print the plan and what it needs, run nothing"
    )
    parser.add_argument(
        "--resume", type=Path, metavar="FOLDER", help="records that count as done, such as results/SUITE"
    )
    add_places(parser, "--model")
    add_limit(parser)
    parser.add_argument(
        "--only-failures", action="store_true", help="only the cells that failed when they were last run"
    )
    parser.add_argument("--publish", action="store_true", help="also copy the records to results/")
    add_output(parser)
    add_dtype(parser)
    _add_time_limit(parser)
    parser.set_defaults(run=run_suite)


def add_evaluate(commands: Any) -> None:
    evaluate = commands.add_parser("evaluate", help="score models of yours on a task")
    models = evaluate.add_mutually_exclusive_group(required=True)
    what = "a diffusers folder or hub id, a LoRA, a .safetensors of a UNet or of SD 1.x, or module:generate"
    models.add_argument("--model", help=what)
    models.add_argument(
        "--points", nargs="+", metavar="MODEL", help="several, such as checkpoints: a frontier"
    )
    evaluate.add_argument("--task", help="family/concept[@world] (default: the one task of --task-file)")
    evaluate.add_argument("--name", help="its name on the leaderboard (default: the first model's)")
    evaluate.add_argument("--seed", type=int, default=0, help="number of the training run (default 0)")
    add_sizes(evaluate)
    add_limit(evaluate)
    add_places(evaluate, "--base-model")
    add_output(evaluate)
    add_dtype(evaluate)
    _add_time_limit(evaluate)
    evaluate.set_defaults(run=evaluate_models)


def evaluate_models(options: argparse.Namespace) -> int:
    """Score models as they are: one point for each, all in one row of the board."""
    from ..._models import evaluate_models as score

    folder = "evaluate" if options.limit is None else f"evaluate-limit-{options.limit}"
    found = score(
        options.points or options.model,
        options.task or only_task(options),
        read_session(options),
        options.out or Path("runs") / folder,
        name=options.name,
        seed=options.seed,
        like=options.like,
        policy=options.policy,
        limit=options.limit,
    )
    return finish(found)
