"""What `evaluate` does: somebody's models on a task, beside the world's base model."""

import argparse
from pathlib import Path

from .cli_commands import finish, make_runner, registry, task_registry
from .errors import UserError
from .stats.frontier import MAX_POINTS
from .tasks import complete_name


def evaluate_models(options: argparse.Namespace) -> int:
    """Score models as they are: one point each, all of them one row of the board."""
    from .outside import check_there, name_models, short_name
    from .plan import REFERENCES, Cell, MethodRow, Suite

    task = task_registry(options.world_folder)[complete_name(options.task)]
    models = tuple(options.points or [options.model])
    if len(models) > MAX_POINTS:
        raise UserError(f"--points: {len(models)} given; a method declares at most {MAX_POINTS}")
    for model in models:
        check_there(model)
    name_models(models)
    names = [short_name(model) for model in models]
    name = options.name or names[0]
    if name in REFERENCES or name in registry("methods"):
        raise UserError(f"--name {name}: is a method of this package; give your models another name")
    folder = options.out or Path("runs") / "evaluate"
    runner = make_runner(options, folder, {task.file.world})
    config = {"points": names} if options.points else {"model": names[0]}
    row = MethodRow(name=name, config=config)
    suite = Suite(name="evaluate", tasks=[task.id], methods=[MethodRow(name="none"), row])
    cells = [
        Cell(suite, task, MethodRow(name="none"), None, 0),
        Cell(suite, task, row, None, options.seed, models),
    ]
    return finish(runner.run(cells), folder)
