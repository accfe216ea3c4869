"""What `evaluate` does: somebody's models on a task, beside the world's base model."""

import argparse
from pathlib import Path
from typing import Any

from .cli_commands import finish, make_runner, registry, task_registry
from .errors import UserError
from .stats.frontier import MAX_POINTS
from .tasks import PromptSizes, Task, complete_name


def _read_sizes(options: argparse.Namespace, task: Task, world: Any) -> tuple[PromptSizes, int]:
    """Return numbers of prompts and the seed of the noise: a policy's, a record's, or the default."""
    if options.policy:
        from ..leaderboard.policy import read_policy

        return read_policy(options.policy).sizes, 0
    if not options.like:
        return PromptSizes(), 0
    from ..leaderboard.load import load_one
    from .expected import find_sizes, noise_of

    entry = load_one(options.like)
    if entry.record.task.id != task.id:
        raise UserError(f"--like {options.like}: is of {entry.record.task.id}, not of {task.id}")
    return find_sizes(entry.record, entry.items, task, world, str(options.like)), noise_of(entry.record)


def evaluate_models(options: argparse.Namespace) -> int:
    """Score models as they are: one point each, all of them one row of the board."""
    from .names import check_name, name_model
    from .outside import check_there, name_models
    from .plan import REFERENCES, Cell, MethodRow, Suite, check_options_seeds

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
    from .outside import kind_of
    from .records import read_record

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
