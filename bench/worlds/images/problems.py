"""From a task of a world of labelled images to its evaluation prompts and to the problem for a method."""

import hashlib
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from ...errors import UserError
from ...planning.tasks import PromptSizes, Task, concept_kind
from ...planning.training_data import (
    NARROW_SUBJECTS,
    check_data,
    forget_data,
    has_one_wording,
    number_of_subjects,
)
from ...types import DataChoice, Problem, Prompt, TrainingSet
from ..prompts import TRAINING_IMAGES, anchors_of, halve_strata
from ..recipe.negatives import from_bytes
from ..seeds import seeded
from .spec import ClassCaptioner


def check_task(task: Task, classes: Sequence[str]) -> list[str]:
    """Return the classes in a task's retain set; raises UserError for a name that is no class."""
    given = task.concept.given.get("subject", [])
    anchors = [task.concept.anchor_of(target) for target in task.concept.targets]
    for name in (*task.concept.targets, *anchors, *given):
        if name is not None and name not in classes:
            raise UserError(
                f"{task.id}: the world {task.file.world} has no class {name!r}; "
                f"its classes: {', '.join(classes)}"
            )
    if not set(given) - set(task.concept.targets):
        raise UserError(f"{task.id}: `given` leaves the retain set empty")
    return [name for name in given if name not in task.concept.targets]


def build_prompts(captioner: ClassCaptioner, task: Task, sizes: PromptSizes) -> list[Prompt]:
    """Return the evaluation prompts: of the target, of classes not given, and of given ones.

    Every other class is of the target's own family, so there are no prompts of another family.
    """
    given = check_task(task, captioner.classes)
    targets = task.concept.targets
    fresh = [name for name in captioner.classes if name not in (*targets, *given)]
    groups = (("forget", targets, sizes.forget), ("retain", fresh, sizes.retain_same))
    prompts = [p for split, names, n in groups for p in _write(captioner, task, split, names, n, False)]
    return halve_strata([*prompts, *_write(captioner, task, "retain", given, sizes.retain_given, True)])


def _write(
    captioner: ClassCaptioner, task: Task, split: str, names: Sequence[str], count: int, given: bool
) -> list[Prompt]:
    """Return prompts for the names in turn; each wording of a name is used once before any is repeated."""
    pairs = [(wording, name) for wording in captioner.words.evaluation for name in names]
    prompts = []
    for wording, name in pairs[:count]:
        text = captioner.caption(captioner.classes.index(name), wording)
        aimed = split == "forget"
        prompts.append(
            Prompt(
                id=hashlib.sha256(f"{task.id}|{split}|{text}".encode()).hexdigest()[:16],
                text=text,
                split="forget" if aimed else "retain",
                asked={"subject": name},
                target_kind="subject",
                targets=tuple(task.concept.targets) if aimed else (),
                relation="target" if aimed else "same",
                given=given,
                half="A",
            )
        )
    return prompts


def build_problem(
    captioner: ClassCaptioner,
    images: Tensor,
    labels: Tensor,
    task: Task,
    data: DataChoice,
    seed: int,
) -> Problem:
    """Return the problem that a method gets: training images and wordings of target and given classes.

    images: (n, 3, P, P) uint8 with labels (n,). data: with `narrow` and `narrow-retain` the retain set shows
    two given classes in one wording, with `retain-N` N of them in all; with `narrow` the forget set has one
    wording, too.
    """
    given = check_task(task, captioner.classes)
    generator = seeded("problem", task.id, forget_data(data), seed)
    check_data(task, data)
    kept = given[: NARROW_SUBJECTS if has_one_wording(data) else number_of_subjects(data)]
    anchor, anchors = anchors_of(task.concept)
    own = anchors or ((anchor,) * len(task.concept.targets) if anchor else ())
    swaps = dict(zip(task.concept.targets, own, strict=bool(own)))

    def collect(names: Sequence[str], swaps: Mapping[str, str], data: DataChoice) -> TrainingSet:
        wanted = torch.tensor([captioner.classes.index(name) for name in names])
        rows = torch.isin(labels, wanted).nonzero()[:, 0]
        rows = rows[torch.randint(len(rows), (TRAINING_IMAGES,), generator=generator)]
        wordings = captioner.words.train[:1] if has_one_wording(data) else captioner.words.train
        which = torch.randint(len(wordings), (TRAINING_IMAGES,), generator=generator).tolist()
        shown = labels[rows].tolist()
        prompts = tuple(captioner.caption(i, wordings[w]) for i, w in zip(shown, which, strict=True))
        swapped: tuple[str, ...] = ()
        if swaps:
            aims = [captioner.classes.index(swaps[captioner.classes[i]]) for i in shown]
            swapped = tuple(captioner.caption(i, wordings[w]) for i, w in zip(aims, which, strict=True))
        return TrainingSet(prompts, from_bytes(images[rows]), swapped)

    return Problem(
        task=task.id,
        concept=task.concept.name,
        anchor=anchor,
        anchors=anchors,
        forget_set=collect(task.concept.targets, swaps, forget_data(data)),
        retain_set=collect(kept, {}, data),
        data=data,
        seed=seed,
        generator=seeded("training", task.id, seed),
        targets=tuple(task.concept.targets),
        retained=tuple(kept),
        kind=concept_kind(task),
    )
