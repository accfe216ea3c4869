"""What a plan would compute, and what this machine lacks for it; opens, draws and downloads nothing."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import UserError
from ..models.hub import Source
from ..planning.plan import Cell
from ..planning.tasks import Task, samples_of
from ..registry import IMAGES
from ..unlearning.writing import OTHERS
from ..worlds.protocol import World
from .sharing.cost import Rates, Work, passes_of

if TYPE_CHECKING:  # planning imports no torch
    from .attacking.suite_attacks import SuiteAttack
    from .runner import Runner


@dataclass(frozen=True)
class TaskEstimate:
    """The amount of work of one task of a plan. training: images that a real model draws to train on.

    images: number of images to evaluate, at most; those already in the store are included.
    """

    task: str
    cells: int
    steps: int
    training: int
    images: int


def estimate_tasks(cells: Sequence[Cell], worlds: Mapping[str, World]) -> list[TaskEstimate]:
    """Return one estimate for each task of a plan, in its order."""
    found: dict[str, list[Cell]] = {}
    for cell in cells:
        found.setdefault(cell.task.id, []).append(cell)
    return [_estimate_task(task, own, worlds[own[0].task.file.world]) for task, own in found.items()]


def _estimate_task(task: str, cells: Sequence[Cell], world: World) -> TaskEstimate:
    is_drawn = any(cell.entry is not None and set(cell.entry.needs) & set(IMAGES) for cell in cells)
    steps, points = zip(*(_steps_and_points(cell) for cell in cells), strict=True)
    return TaskEstimate(
        task,
        len(cells),
        sum(steps),
        2 * world.training_draws if is_drawn else 0,
        sum(n * _images(cell) for n, cell in zip(points, cells, strict=True)),
    )


def leave_out_done(
    runner: "Runner", cells: Sequence[Cell], resume: Path | None = None
) -> tuple[list[Cell], dict[Path, int]]:
    """Return the cells that are still to be measured, and the number of records that count as done by folder.

    Records count in the runner's folder, and those in `resume` as `Runner.resume` takes them. The cell of a
    model that is not on this machine is still to be measured: its key is not known.
    """
    left: list[Cell] = []
    done: dict[Path, int] = {}
    for cell in cells:
        places = [runner.folder, *([resume] if resume else [])]
        place = next((folder for folder in places if _is_done(runner, cell, folder)), None)
        if place is None:
            left.append(cell)
        else:
            done[place] = done.get(place, 0) + 1
    return left, done


def _is_done(runner: "Runner", cell: Cell, folder: Path) -> bool:
    from ..records.packed.record_table import has_record  # imports pyarrow, without which `list` starts

    path = folder / f"{cell.stem}.json"
    if not has_record(path):
        return False
    try:
        key = runner.cell_key(cell)
    except UserError:
        return False
    return runner.is_done(path, key) if folder == runner.folder else runner.counts(path, key, cell.suite.name)


def leave_out_attacked(
    runner: "Runner", attacks: Sequence["SuiteAttack"], resume: Path | None = None
) -> list["SuiteAttack"]:
    """Return the attacks without a record, in the runner's folder or in `resume`."""
    from ..records.statements import ATTACKED  # imports pandas, without which `list` starts
    from .attacking.suite_attacks import pending_attacks

    left = list(attacks)
    for folder in (runner.folder, *([resume] if resume else [])):
        if left and (folder / ATTACKED).is_dir():
            left = pending_attacks(replace(runner, folder=folder), left)
    return left


def _steps_and_points(cell: Cell) -> tuple[int, int]:
    if cell.entry is None:
        return 0, max(1, len(cell.models))
    config = cell.build_config()
    return int(getattr(config, "steps", 1)), len(getattr(config, "checkpoints", (1,)))


def count_attacked(attacks: Sequence["SuiteAttack"]) -> int:
    """Return the number of images under some attacks, at most; what attacks draw for themselves is not in it.

    Further noises of a prompt and the points on an attack's way are in it.
    """
    found = 0
    for attack in attacks:
        entry, config = attack.planned.entry, attack.planned.config
        if entry.moves != "nothing":
            prompts = _most_forget(attack.cell.task, attack.cell.suite.sizes.forget)
            curve = [step for step in getattr(config, "checkpoints", ()) if step < config.budget]
            found += _forget_images(attack.cell) * (1 + len(curve))
            found += prompts * config.budget if entry.moves == "noise" else 0
    return found


def _images(cell: Cell) -> int:
    sizes = cell.suite.sizes
    retain = sizes.retain_same + _most_others(cell.task, sizes.retain_other) + sizes.retain_given
    indirect = sizes.indirect if cell.task.concept.indirect else 0
    return _forget_images(cell) + retain + indirect


def _forget_images(cell: Cell) -> int:
    sizes = cell.suite.sizes
    return _most_forget(cell.task, sizes.forget) * samples_of(cell.task, "forget", sizes)


def _most_forget(task: Task, asked: int) -> int:
    """Return the greatest number of forget prompts: a published file's rows, or what the templates give."""
    if task.file.protocol is not None:
        return min(asked, task.file.protocol.rows or task.file.protocol.images or asked)
    templates = task.file.templates  # embedded worlds have their own elsewhere
    return min(asked, len(templates) * len(task.concept.targets)) if templates else asked


def _most_others(task: Task, asked: int) -> int:
    """Return the greatest number of prompts about other things: captions, or the templates' few."""
    if task.file.captions is not None:
        return min(asked, task.file.captions.rows or asked)
    return min(asked, sum(len(things) for things in OTHERS.values())) if task.file.names else asked


def estimate_work(cells: Sequence[Cell], worlds: Mapping[str, World], rates: Rates) -> Work:
    """Return the work of a plan. A training is one part, and so is the judging of a cell."""
    estimates = estimate_tasks(cells, worlds)
    longest = 0.0
    for cell in cells:
        _, points = _steps_and_points(cell)
        longest = max(longest, passes_of(cell) * rates.step, points * _images(cell) * rates.judging)
    images = sum(lot.images + lot.training for lot in estimates)
    return Work(images, sum(passes_of(cell) for cell in cells), longest)


def needs(tasks: Sequence[Task], worlds: Mapping[str, World]) -> list[Source]:
    """Return what tasks need and this project does not ship, each once; embedded worlds need nothing."""
    found: dict[str, Source] = {}
    for task in tasks:
        world = worlds[task.file.world]
        for source in world.sources(task):
            found.setdefault(source.where, source)
    return list(found.values())
