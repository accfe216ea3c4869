"""Tasks with several concepts to forget at once: `classes/cat-face+guitar@emoji` combines two tasks.

A part without a family has that of the part before it: `classes/cat-face+celebrities/genie+fairy@emoji`. No
file declares a combination, so that none changes a prompt of a task with a file.
"""

import itertools
from collections.abc import Callable, Sequence
from functools import reduce

from pydantic import Field

from ..errors import UserError
from .tasks import ConceptSpec, Task, TaskFile

JOIN = "+"
MOST_GIVEN = 24
"""Most names of a kind in a combination's retain set: half of those that the emoji world retains. Retention
is judged on the others."""
LONGEST = 200
"""Most letters of a combination's name and of the list of its anchors: what a record may hold."""
ALIKE = ("world", "judge", "target_kind", "names", "templates", "wording", "protocol", "captions", "crossed")
"""Fields of task files that the parts of a combination share: one judge answers one kind of question."""


class CombinedSpec(ConceptSpec):
    """Several concepts. anchor: the distinct anchors of all parts, as a text. anchors: target -> anchor."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9+/-]*$")
    anchors: dict[str, str]

    def anchor_of(self, target: str) -> str | None:
        return self.anchors.get(target)


def is_combined(name: str) -> bool:
    """Return whether a task's name is one of a combination."""
    return JOIN in name


def combine(name: str, find: Callable[[str], Task]) -> Task:
    """Return the task of a complete name with several parts. find: returns the task of one part.

    The order of the parts does not matter: they are sorted. Raises UserError where a part is unknown or
    named twice, where the parts have no common judge, and where one part's anchor is another one's target.
    """
    return join(name, [find(part) for part in split_name(name)])


def join(name: str, parts: Sequence[Task]) -> Task:
    """Return the task that forgets all parts at once; raises UserError like `combine`. name: for messages."""
    parts = sorted(parts, key=lambda task: (task.file.family, task.concept.name))
    for one, other in itertools.pairwise(parts):
        if one.id == other.id:
            raise UserError(f"{name}: {one.id} stands twice")
        _check_alike(name, one, other)
    targets = [target for task in parts for target in task.concept.targets]
    for target in targets:
        if targets.count(target) > 1:
            raise UserError(f"{name}: {target!r} is a target of two parts")
    concept = _join_concepts(name, parts, targets)
    names = frozenset[str]()
    shown = reduce(frozenset.union, (task.suite_targets for task in parts), names)
    file = _join_files([task.file for task in parts])
    world = parts[0].file.world
    return Task(f"{_first_family(parts)}/{concept.name}@{world}", file, concept, shown)


def split_name(name: str) -> list[str]:
    """Return the complete names of a combination's parts, in their order."""
    stem, _, world = name.rpartition("@")
    family, found = "", []
    for piece in stem.split(JOIN):
        own, slash, concept = piece.rpartition("/")
        family = own if slash else family
        found.append(f"{family}/{concept}@{world}")
    return found


def _first_family(parts: Sequence[Task]) -> str:
    return parts[0].file.family


def _check_alike(name: str, one: Task, other: Task) -> None:
    for field in ALIKE:
        if getattr(one.file, field) != getattr(other.file, field):
            raise UserError(
                f"{name}: {field}: {one.id} and {other.id} differ, so no one task can measure both; "
                "forget them one after another, in suites of their own"
            )


def _join_concepts(name: str, parts: Sequence[Task], targets: list[str]) -> CombinedSpec:
    anchors = {
        target: anchor
        for task in parts
        for target in task.concept.targets
        if (anchor := task.concept.anchor_of(target)) is not None
    }
    for target, anchor in anchors.items():
        if anchor in targets:
            raise UserError(f"{name}: {anchor!r} is the anchor of {target!r}, and is to be forgotten itself")
    own, family = "", _first_family(parts)
    for task in parts:
        prefix = "" if task.file.family == family else f"{task.file.family}/"
        own, family = f"{own}{JOIN if own else ''}{prefix}{task.concept.name}", task.file.family
    said = ", ".join(dict.fromkeys(anchors.values()))
    if max(len(own), len(said)) > LONGEST:
        raise UserError(
            f"{name[:60]}...: a combination's name and its anchors have at most {LONGEST} letters; "
            "write a task file with all targets"
        )
    return CombinedSpec(
        name=own,
        role="evaluated" if all(task.concept.role == "evaluated" for task in parts) else "tuning",
        targets=targets,
        anchor=said or None,
        given=_join_given([task.concept for task in parts], targets),
        near=list(dict.fromkeys(group for task in parts for group in task.concept.near)),
        anchors=anchors,
    )


def _join_given(concepts: Sequence[ConceptSpec], targets: Sequence[str]) -> dict[str, list[str]]:
    """Return the given names in turn: each part's first (its anchor as a rule), then each one's second."""
    given = {}
    for kind in dict.fromkeys(kind for concept in concepts for kind in concept.given):
        rounds = itertools.zip_longest(*(concept.given.get(kind, []) for concept in concepts))
        names = dict.fromkeys(name for turn in rounds for name in turn if name and name not in targets)
        given[kind] = list(names)[:MOST_GIVEN]
    return given


def _join_files(files: Sequence[TaskFile]) -> TaskFile:
    """Return one file for all parts. Its version goes up with that of any part."""
    families = sorted({file.family for file in files})
    concepts = {concept.name: concept for file in files for concept in file.concepts}
    return files[0].model_copy(
        update={
            "family": JOIN.join(families),
            "version": 1 + sum(file.version - 1 for file in files),
            "summary": f"forget {len(files)} concepts at once",
            "paper": files[0].paper if len({file.paper for file in files}) == 1 else "",
            "concepts": list(concepts.values()),
        }
    )
