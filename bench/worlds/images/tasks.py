"""The tasks of a world of labelled images: each class is forgotten in turn (class-wise forgetting)."""

from collections.abc import Sequence

import numpy as np

from ...planning.tasks import ConceptSpec, TaskFile
from .spec import make_name

GIVEN = 2 / 3
"""Share of the other classes in a method's retain set; retention is judged on the rest, too."""
SUITE = """name = "{world}"
summary = "each class of {world} forgotten in turn"
tasks = [{tasks}]
seeds = [0, 1]
headline = "H"

[sizes]
forget = 16
forget_samples = 4
retain_same = 48
retain_other = 0
retain_given = 96
indirect = 0

[[methods]]
name = "none"

[[methods]]
name = "finetune"
config = {{ steps = 60, checkpoints = [60], rate = 1e-4, batch = 16 }}
seeds = [0]

[[methods]]
name = "gradient_sum"
config = {{ steps = 60, checkpoints = [30, 60], rate = 1e-4, batch = 16 }}

[[methods]]
name = "balanced"
config = {{ steps = 60, checkpoints = [30, 60], rate = 1e-4, batch = 16 }}

[[methods]]
name = "anchor_sum"
config = {{ steps = 60, checkpoints = [30, 60], rate = 1e-4, batch = 16 }}

[[methods]]
name = "anchor_balanced"
config = {{ steps = 60, checkpoints = [30, 60], rate = 1e-4, batch = 16 }}
"""


def make_tasks(world: str, classes: Sequence[str], confused: np.ndarray, judge: str) -> TaskFile:
    """Return a world's tasks. confused: (classes, classes) counts of true against named, by the judge.

    The anchor of a class is the one that the judge confuses it with most; ties go to the next class in order.
    The given classes are the anchor and those that follow it, two thirds of all others.
    """
    concepts = []
    for i, name in enumerate(classes):
        others = [j % len(classes) for j in range(i + 1, i + len(classes))]
        anchor = max(others, key=lambda j: (int(confused[i, j]), -others.index(j)))
        turned = others[others.index(anchor) :] + others[: others.index(anchor)]
        given = [classes[j] for j in turned[: max(1, round(GIVEN * len(others)))]]
        concepts.append(
            ConceptSpec(
                name=make_name(name),
                role="evaluated",
                targets=[name],
                anchor=classes[anchor],
                given={"subject": given},
            )
        )
    return TaskFile(
        family="classes",
        world=world,
        version=1,
        summary=f"each class of {world}, forgotten one at a time",
        judge=judge,
        target_kind="subject",
        concepts=concepts,
    )


def make_suite(tasks: TaskFile) -> str:
    """Return the suite of a world's tasks as TOML."""
    names = [f'"{tasks.family}/{concept.name}@{tasks.world}"' for concept in tasks.concepts]
    return SUITE.format(world=tasks.world, tasks=", ".join(names))
