"""Concepts of an emoji world drawn from a seed: targets on which no published configuration was tuned.

A draw takes subjects of the family's own groups, or styles, that are no target of a shipped task, tuning
tasks included. The anchor and the given concepts follow the rule of the shipped tasks: the anchor is another
member of the same group and no target; the given concepts are the anchor and one from each of five other
groups.
"""

import hashlib
from collections.abc import Sequence

from ...errors import UserError
from ...planning.tasks import ConceptSpec, TaskFile
from .spec import WorldSpec

MOST = 3
"""Number of concepts in a draw: as many as a family's shipped tasks have; at most half of the candidates."""
GIVEN = 6
FEWEST_NEAR = 3
"""Retained members that a subject's group must have besides it: the anchor, and two that are never given."""


def draw_concepts(spec: WorldSpec, files: Sequence[TaskFile], family: str, seed: int) -> list[ConceptSpec]:
    """Return the concepts that a seed draws for a family of this world; the same seed gives the same ones.

    files: the world's task files. Raises UserError where the world has too few held-out concepts. Categories
    cannot be drawn: a category needs phrases that never name it, and each that has phrases is a shipped
    target.
    """
    file = next((file for file in files if file.family == family), None)
    if file is None:
        raise UserError(f"{family}@draw: {spec.name} has no family of this name")
    if any(concept.indirect or len(concept.targets) > 1 for concept in file.concepts):
        raise UserError(f"{family}@draw: every category of {spec.name} is a shipped target; none is held out")
    taken = {name for other in files for concept in other.concepts for name in concept.targets}
    if file.target_kind == "style":
        free = [name for name in spec.style_names if name not in taken]
        pool = free if len(free) > 2 else []
    else:
        pool = _subjects(spec, files, file, taken)
    number = min(MOST, (len(pool) + 1) // 2)
    if number == 0:
        raise UserError(f"{family}@draw: {spec.name} has too few concepts that no task has as a target")
    drawn = _shuffled(pool, "target", family, seed)[:number]
    make = _style if file.target_kind == "style" else _subject
    return [make(spec, name, taken, (family, seed, name)) for name in drawn]


def _subjects(spec: WorldSpec, files: Sequence[TaskFile], file: TaskFile, taken: set[str]) -> list[str]:
    """Return the subjects that a family may draw: of its own groups, never of another family's."""
    groups = {spec.group_of(name) for concept in file.concepts for name in concept.targets}
    others = {
        spec.group_of(name)
        for other in files
        if other.target_kind == "subject" and other.family != file.family
        for concept in other.concepts
        for name in concept.targets
    }
    special = len(groups) == 1  # celebrities: one group of its own; classes: all that no other family has
    chosen = groups if special else set(spec.subjects) - others
    kept = {
        group: [n for n in spec.subjects[group] if n not in taken]
        for group in spec.subjects
        if group in chosen
    }
    return [name for names in kept.values() if len(names) > FEWEST_NEAR for name in names]


def _subject(spec: WorldSpec, name: str, taken: set[str], salt: tuple[str, int, str]) -> ConceptSpec:
    group = spec.group_of(name)
    near = [other for other in spec.subjects[group] if other not in taken and other != name]
    anchor = _shuffled(near, "anchor", *salt)[0]
    given = [anchor, *_one_a_group(spec, taken | set(near) | {name}, GIVEN - 1, salt)]
    return _concept(salt, name, anchor, {"subject": given}, [group])


def _style(spec: WorldSpec, name: str, taken: set[str], salt: tuple[str, int, str]) -> ConceptSpec:
    styles = _shuffled([s for s in spec.style_names if s not in taken and s != name], "styles", *salt)[:2]
    given = {"style": styles, "subject": _one_a_group(spec, taken, GIVEN, salt)}
    return _concept(salt, name, styles[0], given, [])


def _one_a_group(spec: WorldSpec, without: set[str], number: int, salt: tuple[str, int, str]) -> list[str]:
    """Return one subject from each of `number` groups, drawn, none of them in `without`."""
    groups = {group: [n for n in names if n not in without] for group, names in spec.subjects.items()}
    drawn = _shuffled([group for group, names in groups.items() if names], "groups", *salt)[:number]
    return [_shuffled(groups[group], "given", *salt)[0] for group in drawn]


def _concept(
    salt: tuple[str, int, str], target: str, anchor: str, given: dict[str, list[str]], near: list[str]
) -> ConceptSpec:
    word = "".join(c if c.isalnum() else "-" for c in target.lower())
    return ConceptSpec(
        name=f"draw-{salt[1]}-{word}",
        role="evaluated",
        targets=[target],
        anchor=anchor,
        given=given,
        near=near,
    )


def _shuffled(names: Sequence[str], *salt: object) -> list[str]:
    """Return names ordered by hash: the order looks random and is the same on every machine."""

    def key(name: str) -> bytes:
        return hashlib.sha256("|".join(map(str, ("draw", *salt, name))).encode()).digest()

    return sorted(set(names), key=key)
