"""Prompts of a crossed design (UnlearnCanvas): each pairs a name of the target's kind with one of another."""

import hashlib
import itertools
import math
from collections.abc import Iterator, Sequence, Set

from ...errors import UserError
from ...planning.tasks import Crossed, PromptSizes, Task
from ...types import Prompt, Split
from ...unlearning.writing import Wording
from ..prompts import halve

WORDINGS = (
    "{subject} in {style} style", "a {style} style picture of {subject}", "{style} style, {subject}",
    "an image of {subject} done in {style} style", "{subject}, {style} style, in detail",
    "a large {style} style image that shows {subject}", "{subject} as {style} style would show them",
    "a close view of {subject} in {style} style", "{subject} from far away, {style} style",
    "a {style} style poster with {subject}", "{subject} at the centre, in {style} style",
    "a page of a book in {style} style: {subject}", "{subject} on a plain ground, {style} style",
    "a bright image of {subject} in {style} style", "a dark image of {subject} in {style} style",
    "a square picture in {style} style, {subject} in it",
)  # fmt: skip
"""Wordings of training prompts; no evaluation prompt has one of these wordings."""


def cross_prompts(task: Task, sizes: PromptSizes) -> list[Prompt]:
    """Return the evaluation prompts of a task with `crossed`: each asks for two attributes and has a seed.

    The forget split holds the target with every other name and seed; the retain split holds every other pair.
    A smaller number is filled evenly: no name is repeated before every name was used.
    """
    crossed, names = _crossed(task), _mixed(task, task.file.names)
    targets = task.concept.targets
    given = [n for n in names if n in task.concept.given.get(task.file.target_kind, []) and n not in targets]
    fresh = [name for name in names if name not in (*targets, *given)]
    others = _mixed(task, crossed.names)
    parts = [
        _take(task, targets, others, sizes.forget, "forget"),
        _take(task, fresh, others, sizes.retain_same),
        _take(task, given, others, sizes.retain_given, given=True),
    ]
    return halve(list(itertools.chain.from_iterable(parts)))


def write_crossed(task: Task, count: int, avoid: Set[str] = frozenset()) -> Wording:
    """Return `count` forget and as many retain prompts to train on, none of those in `avoid`.

    They pair the target, and each given name in turn, with all names of the other kind. Raises UserError
    where no name is given, or the wordings give fewer prompts.
    """
    kind, concept = task.file.target_kind, task.concept
    given = [name for name in concept.given.get(kind, []) if name not in concept.targets]
    if not given:
        raise UserError(f"{task.id}: given: names no {kind} to retain")
    crossed, anchors = _crossed(task), [concept.anchor_of(target) for target in concept.targets]
    target = list(_worded(crossed, concept.targets))
    anchored = list(_worded(crossed, [anchor or "" for anchor in anchors]))
    pairs = [pair for pair in zip(target, anchored, strict=True) if pair[0] not in avoid][:count]
    retain = [text for text in _worded(crossed, given) if text not in avoid][:count]
    if min(len(pairs), len(retain)) < count:
        found = min(len(pairs), len(retain))
        raise UserError(f"{task.id}: its wordings give {found} training prompts, not {count}; ask for fewer")
    forget, instead = zip(*pairs, strict=True)
    return Wording(forget, tuple(retain), instead if all(anchors) else ())


def _crossed(task: Task) -> Crossed:
    assert task.file.crossed is not None
    return task.file.crossed


def _mixed(task: Task, names: Sequence[str]) -> list[str]:
    """Return names in an arbitrary order, so that the first few are a sample and not the alphabet's start."""
    return sorted(names, key=lambda name: hashlib.sha256(f"{task.file.family}|{name}".encode()).digest())


def _take(
    task: Task,
    names: Sequence[str],
    others: Sequence[str],
    count: int,
    split: Split = "retain",
    given: bool = False,
) -> Iterator[Prompt]:
    crossed, kind = _crossed(task), task.file.target_kind
    for own, other, seed in itertools.islice(_grid(names, others, crossed.seeds), count):
        asked: dict[str, str] = {kind: own, crossed.kind: other}
        text = crossed.template.format(**{k: name.replace("_", " ") for k, name in asked.items()})
        told = f"{task.id}|{split}|{text}|{seed}"
        yield Prompt(
            id=hashlib.sha256(told.encode()).hexdigest()[:16],
            text=text,
            split=split,
            asked=asked,
            target_kind=kind,
            targets=tuple(task.concept.targets) if split == "forget" else (),
            relation="target" if split == "forget" else "crossed",
            given=given,
            half="A",
            seed=seed,
        )


def _grid(
    names: Sequence[str], others: Sequence[str], seeds: Sequence[int]
) -> Iterator[tuple[str, str, int]]:
    """Yield every (name, other, seed) once: names in turn, the others as evenly as that allows.

    Each round of names continues with the others where the last round ended. A stride without a common factor
    with their number pairs every name with every other; on each repetition the seed advances.
    """
    stride = next(n for n in itertools.count(max(1, len(names))) if math.gcd(n, len(others)) == 1)
    for step in range(len(others) * len(seeds)):
        for i, name in enumerate(names):
            place = (step * stride + i) % len(others)
            yield name, others[place], seeds[(step // len(others) + place + i) % len(seeds)]


def _worded(crossed: Crossed, names: Sequence[str]) -> Iterator[str]:
    """Yield training prompts about names, each in turn with all of the other kind, in all wordings."""
    kind = "style" if crossed.kind == "subject" else "subject"
    for step in range(len(crossed.names) * len(WORDINGS)):
        turn, place = divmod(step, len(crossed.names))
        wording = WORDINGS[(turn + place) % len(WORDINGS)]
        for name in names:
            pair = {kind: name, crossed.kind: crossed.names[place]}
            yield wording.format(**{k: crossed.called.get(n, n).replace("_", " ") for k, n in pair.items()})
