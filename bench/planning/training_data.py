"""What a suite's `data` says about the sets that methods train on."""

import re

from ..errors import UserError
from ..types import RETAIN_SUBJECTS, DataChoice
from .combined import is_combined
from .tasks import Task

NARROW_SUBJECTS = 2
"""A narrow set shows as many images, of two subjects in one wording."""


def forget_data(data: DataChoice) -> DataChoice:
    """Return the choice of the forget set: only `narrow` changes it."""
    return data if data == "narrow" else "diverse"


def has_one_wording(data: DataChoice) -> bool:
    """Return whether the retain set's captions have one wording: `retain-N` has those of `diverse`."""
    return data in ("narrow", "narrow-retain")


def number_of_subjects(data: DataChoice) -> int | None:
    """Return N of `retain-N`, None for the other choices."""
    match = re.fullmatch(RETAIN_SUBJECTS, data)
    return None if match is None else int(match[1])


def given_subjects(task: Task) -> list[str]:
    """Return the subjects that a task's retain set may show, in the order of the task's file."""
    return [name for name in task.concept.given.get("subject", []) if name not in task.concept.targets]


def check_data(task: Task, data: DataChoice) -> None:
    """Raise UserError where a task has no such training sets."""
    if data == "narrow" and is_combined(task.id):
        raise UserError(f"{task.id}: data: 'narrow' shows {NARROW_SUBJECTS} subjects, not every target")
    wanted, has = number_of_subjects(data), len(given_subjects(task))
    if wanted is not None and wanted > has:
        raise UserError(
            f"{task.id}: data: {data!r} takes {wanted} subjects of the task's `given`, which names {has}"
        )
