"""`run` and `evaluate`: options, and what they do."""

import argparse
import sys
from pathlib import Path
from typing import Any

from ..errors import UserError
from ..planning.draws import seed_in
from ..planning.tasks import PromptSizes, Task, complete_name
from ..running.catalog import registry, suites_folder, task_registry
from ..running.session import make_runner, open_worlds
from ..worlds.protocol import World
from .common import FAILED, add_output, add_places


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
        from ..planning.plan import check_options_seeds

        check_options_seeds("--seeds", options.seeds)
        change["seeds"] = options.seeds
        change["methods"] = [row.model_copy(update={"seeds": []}) for row in rows]
    return suite.model_copy(update=change)


def _narrow_rows(suite: Any, options: argparse.Namespace) -> list[Any]:
    from ..planning.plan import REFERENCES, MethodRow

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
    from ..measuring.needed import check_floor
    from ..planning.plan import find_references, find_suite, plan_cells, take_choice
    from ..running.jobs import end_with_parent, run_parts, take_part

    suite = narrow_suite(take_choice(find_suite(options.suite, suites_folder()), suites_folder()), options)
    check_floor(suite)
    if options.part:
        end_with_parent()
        suite = take_part(suite, options.part)
    tasks = task_registry(options.world_folder)
    cells = plan_cells(suite, tasks, registry("methods"))
    if options.dry_run:
        from .plan import show_plan

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
    from .boards import build_page

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
    from ..records.record import copy_record

    root = Path(__file__).resolve().parents[2]
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


def _add_time_limit(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--cell-timeout",
        type=float,
        metavar="SECONDS",
        help="a cell that takes longer has failed (default: none)",
    )
    parser.add_argument("--abandoned", action="append", help=argparse.SUPPRESS)  # cells that never ended


def add_run(commands: Any) -> None:
    run = commands.add_parser("run", help="run a suite (default: the demo) and make its leaderboard")
    run.add_argument("--suite", default="demo", help="a suite's name or TOML file")
    run.add_argument("--task", action="append", help="only this task (family/concept[@world]); repeatable")
    run.add_argument("--method", action="append", help="only this method; repeatable")
    run.add_argument("--config", metavar="PRESET", help="settings of the methods named by --method: paper")
    run.add_argument("--skip", action="append", help="leave this method or reference out; repeatable")
    run.add_argument("--seeds", type=int, nargs="+", help="training seeds")
    run.add_argument("--jobs", type=int, default=1, help="processes that share the suite's tasks (default 1)")
    run.add_argument("--part", help=argparse.SUPPRESS)  # what --jobs gives each of its processes
    run.add_argument("--dry-run", action="store_true", help="print the plan and what it needs, run nothing")
    add_places(run, "--model")
    run.add_argument("--publish", action="store_true", help="also copy the records to results/")
    add_output(run)
    _add_time_limit(run)
    run.set_defaults(run=run_suite)


def add_evaluate(commands: Any) -> None:
    evaluate = commands.add_parser("evaluate", help="score models of yours on a task")
    models = evaluate.add_mutually_exclusive_group(required=True)
    what = "a diffusers folder or hub id, a LoRA, or a Python function (module:generate)"
    models.add_argument("--model", help=what)
    models.add_argument(
        "--points", nargs="+", metavar="MODEL", help="several, such as checkpoints: a frontier"
    )
    evaluate.add_argument("--task", required=True, help="family/concept[@world]")
    evaluate.add_argument("--name", help="its name on the leaderboard (default: the first model's)")
    evaluate.add_argument("--seed", type=int, default=0, help="number of the training run (default 0)")
    sizes = evaluate.add_mutually_exclusive_group()
    sizes.add_argument(
        "--like", type=Path, metavar="RECORD", help="as many prompts and the noise of a record"
    )
    sizes.add_argument("--policy", help="as many prompts as a policy of `check` says: a baseline for it")
    add_places(evaluate, "--base-model")
    add_output(evaluate)
    _add_time_limit(evaluate)
    evaluate.set_defaults(run=evaluate_models)


def _read_sizes(options: argparse.Namespace, task: Task, world: World) -> tuple[PromptSizes, int]:
    """Return numbers of prompts and the seed of the noise: a policy's, a record's, or the default."""
    if options.policy:
        from ..gate.policy import read_policy

        return read_policy(options.policy).sizes, 0
    if not options.like:
        return PromptSizes(), 0
    from ..checking.expected import find_sizes, noise_of
    from ..records.load import load_one

    entry = load_one(options.like)
    if entry.record.task.id != task.id:
        raise UserError(f"--like {options.like}: is of {entry.record.task.id}, not of {task.id}")
    return find_sizes(entry.record, entry.items, task, world, str(options.like)), noise_of(entry.record)


def evaluate_models(options: argparse.Namespace) -> int:
    """Score models as they are: one point each, all of them one row of the board."""
    from ..models.outside import check_there, name_models
    from ..names import check_name, name_model
    from ..planning.plan import REFERENCES, Cell, MethodRow, Suite, check_options_seeds
    from ..stats.frontier import MAX_POINTS

    check_options_seeds("--seed", [options.seed])
    task = task_registry(options.world_folder)[complete_name(options.task)]
    models = tuple(options.points or [options.model])
    if len(models) > MAX_POINTS:
        raise UserError(f"--points: {len(models)} given; a method declares at most {MAX_POINTS}")
    for model in models:
        check_there(model)
    name_models(models)
    names = [name_model(model) for model in models]
    name = names[0] if options.name is None else check_name("--name", options.name)
    if name in REFERENCES or name in registry("methods"):
        raise UserError(f"--name {name}: is a method of this package; give your models another name")
    folder = options.out or Path("runs") / "evaluate"
    runner = make_runner(options, folder, {task.file.world})
    config = {"points": names} if options.points else {"model": names[0]}
    sizes, noise = _read_sizes(options, task, runner.worlds[task.file.world])
    none, row = MethodRow(name="none", noise=noise), MethodRow(name=name, config=config, noise=noise)
    suite = Suite(name="evaluate", tasks=[task.id], methods=[none, row], sizes=sizes)
    cells = [
        Cell(suite, task, none, None, 0),
        Cell(suite, task, row, None, options.seed, models),
    ]
    _refuse_another(runner, cells[1])
    return finish(runner.run(cells), folder)


def _refuse_another(runner: Any, cell: Any) -> None:
    """Raise UserError where the cell's record is there already, measured on other models of this name."""
    from ..models.outside import kind_of
    from ..records.record import read_record

    path = runner.folder / f"{cell.stem}.json"
    if any(kind_of(model) == "function" for model in cell.models) or not path.exists():
        return  # what a function says of itself may change with every process
    try:
        record = read_record(path)
    except UserError:  # damaged: it is measured again
        return
    world = runner.worlds[cell.task.file.world]
    found = [runner._holder(world, model).fingerprint for model in cell.models]
    if record.status == "ok" and [point.fingerprint for point in record.points] != found:
        raise UserError(
            f"{path}: holds the numbers of another model of the name {cell.row.name}; give --name or another "
            "--out, or delete it"
        )
