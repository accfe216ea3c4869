"""Check what a record says of its place in a sequence."""

from collections.abc import Iterator

from ..errors import UserError
from ..planning.sequences import Turn, read_turn
from ..planning.tasks import Task
from ..records.record import Record
from ..registry import Registry


def turn_of(record: Record, tasks: Registry[Task]) -> Turn | None:
    """Return a record's place in a sequence, None where it is of a single task.

    Raises UserError where its requests are no sequence.
    """
    said = record.sequence
    return None if said is None else read_turn(said.tasks, said.step, tasks.__getitem__)


def targets_of(record: Record, tasks: Registry[Task]) -> list[str]:
    """Return the targets of a record's task; in a sequence those of the requests that were done."""
    turn = turn_of(record, tasks)
    return tasks[record.task.id].concept.targets if turn is None else turn.targets


def find_problems_in_sequence(record: Record, tasks: Registry[Task]) -> Iterator[str]:
    """Yield where a record's place in a sequence contradicts its task or its method."""
    try:
        turn = turn_of(record, tasks)
    except UserError as error:
        yield str(error)
        return
    if turn is None:
        return
    if turn.whole.id != record.task.id:
        yield f"sequence.tasks: their combination is {turn.whole.id}, the record is of {record.task.id}"
    if (turn.step == 0) != record.method.reference:
        yield f"sequence.step: {turn.step}; a reference has step 0, and nothing else has"
