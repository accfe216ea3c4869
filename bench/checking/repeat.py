"""Rebuild the cell of a record: task, prompts, method, configuration, seed and noise."""

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pandas as pd

from ..errors import UserError
from ..models.outside import check_there
from ..names import name_model
from ..planning.plan import REFERENCES, Cell, MethodRow, Suite
from ..planning.sequences import read_turn
from ..planning.tasks import PromptSizes, Task
from ..records.record import Record
from ..registry import Entry, Registry
from ..worlds.protocol import World
from .expected import Expectations, asked_share, guess_sizes, noise_of

FLOOR = re.compile(r"below ([0-9.]+)$")


def find_cell(
    record: Record,
    items: pd.DataFrame,
    tasks: Registry[Task],
    methods: Registry[Entry],
    world: World,
    suite: Suite | None,
    models: Sequence[str] = (),
) -> Cell:
    """Return the cell of a record from its fields; its command is never run.

    suite: the shipped suite that it names, if any. models: of an evaluated record, the models that it names.
    Raises UserError where the package gives other prompts, or a model is lacking.
    """
    task = tasks[record.task.id]
    if record.task.anchor != task.concept.anchor:
        task = replace(task, concept=task.concept.model_copy(update={"anchor": record.task.anchor}))
    said, row = record.sequence, _row(record, items)
    turn = None if said is None else read_turn(said.tasks, said.step, tasks.__getitem__)
    plain = Suite(
        name=record.suite,
        tasks=[task.id],
        methods=[row],
        seeds=[record.seed],
        sheets=None if record.sheet else [],
        data=record.data,
        sizes=_sizes(record, items, task, world, suite),
        unscored_below=_floor(record, suite),
        headline=record.headline,
    ).model_copy(update={"choice_sha256": record.choice, "declaration_sha256": record.declaration})
    outside = _models(record, models)
    if outside or row.name in REFERENCES:
        return Cell(plain, task, row, None, record.seed, outside, record.interval_version, turn)
    row = _as_in_suite(row, suite, methods)
    version = record.interval_version
    return Cell(plain, task, row, methods[row.name], record.seed, interval_version=version, turn=turn)


def _row(record: Record, items: pd.DataFrame) -> MethodRow:
    shown = next((point.step for point in record.points if point.shown), None)
    if shown is None and not (items["split"] == "indirect").any():
        shown = 0  # without indirect images or prompts this changes nothing
    config = {} if record.method.reference else record.method.config
    name, label = record.method.name, record.method.label
    return MethodRow(name=name, config=config, noise=noise_of(record), shown=shown, label=label)


def _as_in_suite(row: MethodRow, suite: Suite | None, methods: Registry[Entry]) -> MethodRow:
    """Return the row with the configuration as its suite writes it where both are equal, so that the file
    name is equal too."""
    kind = methods[row.name].load_config()
    for other in suite.methods if suite is not None else ():
        # build both, so that settings of later versions have their defaults
        if (other.name, other.label) == (row.name, row.label) and kind(**other.config) == kind(**row.config):
            return row.model_copy(update={"config": other.config})
    return row


def _sizes(record: Record, items: pd.DataFrame, task: Task, world: World, suite: Suite | None) -> PromptSizes:
    known = [suite.sizes] if suite is not None else []
    found = Expectations().find(record, task, world, [*known, *guess_sizes(items, asked_share(record, task))])
    if found is None:
        raise UserError(
            f"{record.cell}.json: prompts_sha256: this version gives {task.id} other prompts; "
            f"repeat it with the version that made it (commit {record.commit})"
        )
    return found[1]


def _floor(record: Record, suite: Suite | None) -> float:
    if suite is not None:
        return suite.unscored_below
    stated = [FLOOR.search(point.unscored) for point in record.points if point.unscored]
    return float(stated[0].group(1)) if stated and stated[0] else 0.0


def _models(record: Record, models: Sequence[str]) -> tuple[str, ...]:
    config = record.method.config
    named = config.get("points") or ([config["model"]] if "model" in config else [])
    if record.method.reference or not isinstance(named, list) or not named:
        if models:
            raise UserError(f"--model: {record.cell} was made by a method; it takes no model")
        return ()
    if [name_model(model) for model in models] != named and [Path(model).name for model in models] != named:
        raise UserError(
            f"--model: give the models that the record names, in order: {', '.join(map(str, named))}"
        )
    for model in models:
        check_there(model)
    return tuple(models)
