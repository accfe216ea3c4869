"""Sequences: requests to forget, one after another on the same model. Every step is a cell of its own.

A step trains on its own request, from the weights that the step before left. What it is measured on does not
change from step to step: the prompts of the combination of all requests. Forget prompts of requests that are
still to come are left out, and their targets count as any other concept.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from pydantic import Field

from ..errors import UserError
from ..registry import Entry
from ..store import content_key
from ..types import RecordPart
from .combined import is_combined, join, split_name
from .tasks import Task

FEWEST = 2


class SequenceInfo(RecordPart):
    """A step of a sequence. tasks: all requests, in their order. step: how many of them were done; 0 = none.

    Training cost is that of the step; a point's distance is that to the base.
    """

    tasks: list[str]
    step: int = Field(ge=0)


@dataclass(frozen=True)
class Turn:
    """Where a cell stands in a sequence. requests: all, in their order. step: how many are done; 0 = none.

    whole: the combination of all requests.
    """

    requests: tuple[Task, ...]
    step: int
    whole: Task

    @property
    def names(self) -> list[str]:
        """The requests' names, in their order."""
        return [task.id for task in self.requests]

    @property
    def targets(self) -> list[str]:
        """Targets of the requests that are done; those of all where none is."""
        done = self.requests[: self.step] if self.step else self.requests
        return [target for task in done for target in task.concept.targets]

    @property
    def asked(self) -> Task:
        """The combination of all requests with the targets of those that are done only: what is to be
        forgotten by now."""
        concept = self.whole.concept.model_copy(update={"targets": self.targets})
        return replace(self.whole, concept=concept)

    @property
    def request(self) -> Task:
        """The request of this step, its retain set without targets of the other requests.

        It shows what counts as `given` in the combination; of up to four requests nothing is left out.
        """
        task, whole = self.requests[self.step - 1], self.whole
        given = {
            kind: [name for name in names if name in whole.concept.given.get(kind, ())]
            for kind, names in task.concept.given.items()
        }
        concept = task.concept.model_copy(update={"given": given})
        return replace(task, concept=concept, suite_targets=whole.suite_targets)


def read_turn(names: list[str], step: int, find: Callable[[str], Task]) -> Turn:
    """Return a step of the sequence of these tasks; raises UserError where they make none.

    find: returns a task by its complete name.
    """
    if len(names) < FEWEST:
        raise UserError(f"sequence: {', '.join(names)}: a sequence has {FEWEST} requests or more")
    if not 0 <= step <= len(names):
        raise UserError(f"sequence: step {step}: of {len(names)} requests")
    requests = [find(name) for name in names]
    parts = [find(part) for task in requests for part in parts_of(task.id)]
    return Turn(tuple(requests), step, join(f"sequence {' '.join(names)}", parts))


def plan_turns(suite: str, names: list[str], forget: int, find: Callable[[str], Task]) -> list[Turn]:
    """Return the steps of a suite's sequence, from 0 on. forget: its number of forget prompts.

    Raises UserError like `read_turn`, and where targets would have unequal numbers of prompts.
    """
    first = read_turn(names, 0, find)
    if forget % len(first.targets):
        raise UserError(
            f"{suite}: sizes.forget: {forget} prompts for {len(first.targets)} targets; take a multiple, so "
            "that each has as many"
        )
    return [replace(first, step=step) for step in range(len(names) + 1)]


def check_method(suite: str, entry: Entry) -> Entry:
    """Return a method; raises UserError where a request could not start from what it leaves."""
    if entry.apply:
        raise UserError(
            f"{suite}: sequence: {entry.name} acts while images are drawn: it leaves no weights that a later "
            "request could start from; run its tasks at once (several targets in one task)"
        )
    return entry


def cell_parts(
    config: Mapping[str, Any], noise: int, data: str, label: str, turn: tuple[Sequence[str], int] | None
) -> tuple[str, str]:
    """Return the six digits by which the files of a method's configurations differ in name, and the ending of
    a step's. turn: names and step of a sequence."""
    named = {"label": label} if label else {}
    fields = {"config": config, "noise": noise, "data": data, **named}
    if turn is None:
        return content_key(fields)[:6], ""
    names, step = turn
    return content_key(fields | {"sequence": list(names)})[:6], f".{step}of{len(names)}"


def parts_of(name: str) -> list[str]:
    """Return the names of the tasks that a task combines; its own where it is no combination."""
    return split_name(name) if is_combined(name) else [name]
