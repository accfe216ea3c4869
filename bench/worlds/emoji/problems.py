"""From a task of an emoji world to its evaluation prompts and to the problem that a method gets."""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Literal

import torch

from ...errors import UserError, suggest
from ...planning.tasks import PromptSizes, Task, concept_kind
from ...planning.training_data import (
    NARROW_SUBJECTS,
    check_data,
    forget_data,
    given_subjects,
    has_one_wording,
    number_of_subjects,
)
from ...types import DataChoice, DrawSettings, Problem, Prompt, Split, TrainingSet
from ..prompts import TRAINING_IMAGES, anchors_of, halve_strata
from ..recipe.parts import Triple
from ..seeds import seeded
from .captions import Captioner
from .compose import Canvas
from .spec import WorldSpec


class Concepts:
    """Classifies the triples of a world: which show a task's target, which are retained, which were given."""

    def __init__(self, spec: WorldSpec, task: Task) -> None:
        self.spec, self.task = spec, task
        self.kind = task.file.target_kind
        self._names = {"subject": spec.subject_names, "style": spec.style_names}
        anchors = [task.concept.anchor_of(target) for target in task.concept.targets]
        named: list[tuple[str, str]] = [
            (self.kind, name) for name in (*task.concept.targets, *anchors) if name
        ]
        named += [(kind, name) for kind, names in task.concept.given.items() for name in names]
        for kind, name in named:
            known = self._names.get(kind, ())
            if name not in known:
                raise UserError(
                    f"{task.id}: the world {spec.name} has no {kind} named {name!r}{suggest(name, known)}"
                )

    def name(self, triple: Triple, kind: str) -> str:
        return self._names[kind][getattr(triple, kind)]

    def is_target(self, triple: Triple) -> bool:
        return self.name(triple, self.kind) in self.task.concept.targets

    def is_retained(self, triple: Triple) -> bool:
        """Return whether a triple shows no target of any task of this kind, tuning tasks included."""
        return self.name(triple, self.kind) not in self.task.suite_targets

    def is_given(self, triple: Triple) -> bool:
        """Return whether the method's retain set covers a triple."""
        given = self.task.concept.given
        return self.is_retained(triple) and all(self.name(triple, kind) in given[kind] for kind in given)

    def relation(self, triple: Triple) -> Literal["same", "other"]:
        """Return `same` for a subject in a near group, and for every style; else `other`."""
        if self.kind == "style":
            return "same"
        group = self.spec.group_of(self.name(triple, "subject"))
        return "same" if group in self.task.concept.near else "other"


def _ordered(items: Sequence[Triple], *salt: object) -> list[Triple]:
    """Return triples ordered by hash: the order looks random and is the same for every seed and machine."""

    def key(triple: Triple) -> bytes:
        return hashlib.sha256("|".join(map(str, (*salt, *triple))).encode()).digest()

    return sorted(items, key=key)


def _spread(triples: list[Triple], attribute: str, n: int) -> list[Triple]:
    """Return n triples, taken in turn over the values of an attribute so that each is represented alike."""
    queues: dict[int, list[Triple]] = {}
    for triple in triples:
        queues.setdefault(getattr(triple, attribute), []).append(triple)
    taken: list[Triple] = []
    depth = 0
    while len(taken) < n and depth < max(map(len, queues.values()), default=0):
        taken += [queue[depth] for queue in queues.values() if depth < len(queue)]
        depth += 1
    return taken[:n]


def build_prompts(spec: WorldSpec, captioner: Captioner, task: Task, sizes: PromptSizes) -> list[Prompt]:
    """Return the evaluation prompts of a task: evaluation wordings, each with its truth and its half.

    They depend only on the task and the world, never on the training seed.
    """
    concepts = Concepts(spec, task)
    every = _ordered(spec.triples, "evaluation", task.id)
    retained = [t for t in every if concepts.is_retained(t)]
    given = [t for t in retained if concepts.is_given(t)]
    fresh = [t for t in retained if not concepts.is_given(t)]
    if concepts.kind == "style":
        same, other = _spread(fresh, "subject", sizes.retain_same + sizes.retain_other), []
    else:
        same = _spread([t for t in fresh if concepts.relation(t) == "same"], "subject", sizes.retain_same)
        other = _spread([t for t in fresh if concepts.relation(t) == "other"], "subject", sizes.retain_other)
    spread_over = "style" if concepts.kind == "subject" else "subject"
    forget = _spread([t for t in every if concepts.is_target(t)], spread_over, sizes.forget)
    if len(task.concept.targets) > 1:
        forget = _spread([t for t in every if concepts.is_target(t)], concepts.kind, sizes.forget)
    writer = _PromptWriter(captioner, task, concepts)
    prompts = [writer.write(t, "forget", i) for i, t in enumerate(forget)]
    prompts += [writer.write(t, "retain", i) for i, t in enumerate(same + other)]
    prompts += [
        writer.write(t, "retain", i) for i, t in enumerate(_spread(given, "subject", sizes.retain_given))
    ]
    if task.concept.indirect is not None:
        places = _spread([t for t in every if concepts.is_target(t)], "style", sizes.indirect)
        prompts += [writer.write_indirect(t, i) for i, t in enumerate(places)]
    return halve_strata(list({p.id: p for p in prompts}.values()))


class _PromptWriter:
    def __init__(self, captioner: Captioner, task: Task, concepts: Concepts) -> None:
        self.captioner, self.task, self.concepts = captioner, task, concepts

    def write(self, triple: Triple, split: Split, index: int) -> Prompt:
        wordings = self.captioner.words.evaluation
        text = self.captioner.caption(triple, wordings[index % len(wordings)])
        spec = self.concepts.spec
        asked = {
            "subject": spec.subject_names[triple.subject],
            "style": spec.style_names[triple.style],
            "background": spec.background_names[triple.background],
        }
        return self._make(text, split, asked, triple)

    def write_indirect(self, triple: Triple, index: int) -> Prompt:
        phrases = self.captioner.words.indirect[str(self.task.concept.indirect)].evaluation
        text = self.captioner.indirect(phrases[index % len(phrases)], triple)
        spec = self.concepts.spec
        asked = {
            "style": spec.style_names[triple.style],
            "background": spec.background_names[triple.background],
        }
        return self._make(text, "indirect", asked, triple)

    def _make(self, text: str, split: Split, asked: dict[str, str], triple: Triple) -> Prompt:
        aimed = split != "retain"
        return Prompt(
            id=hashlib.sha256(f"{self.task.id}|{split}|{text}".encode()).hexdigest()[:16],
            text=text,
            split=split,
            asked=asked,
            target_kind=self.concepts.kind,
            targets=tuple(self.task.concept.targets) if aimed else (),
            relation="target" if aimed else self.concepts.relation(triple),
            given=False if aimed else self.concepts.is_given(triple),
            half="A",
        )


def build_problem(
    spec: WorldSpec,
    canvas: Canvas,
    captioner: Captioner,
    task: Task,
    data: DataChoice,
    seed: int,
) -> Problem:
    """Return the problem that a method gets: only training wordings and only triples trained on."""
    concepts = Concepts(spec, task)
    check_data(task, data)
    seen = [t for t in spec.triples if not spec.is_held_out(t)]
    forget = [t for t in seen if concepts.is_target(t)]
    retain = [t for t in seen if concepts.is_given(t)]
    if data == "narrow":
        forget = _narrow(forget, spec)
    if has_one_wording(data):
        retain = _narrow(retain, spec)
    if number := number_of_subjects(data):
        kept = given_subjects(task)[:number]
        retain = [t for t in retain if concepts.name(t, "subject") in kept]
    generator = seeded("problem", task.id, forget_data(data), seed)
    anchor, anchors = anchors_of(task.concept)
    names = spec.subject_names if concepts.kind == "subject" else spec.style_names
    own = anchors or ((anchor,) * len(task.concept.targets) if anchor else ())
    swaps = {names.index(t): names.index(a) for t, a in zip(task.concept.targets, own, strict=bool(own))}
    forget_set = _training_set(canvas, captioner, concepts, forget, forget_data(data), generator, swaps)
    retain_set = _training_set(canvas, captioner, concepts, retain, data, generator, {})
    return Problem(
        task=task.id,
        concept=task.concept.name,
        anchor=anchor,
        anchors=anchors,
        forget_set=forget_set,
        retain_set=retain_set,
        data=data,
        seed=seed,
        generator=seeded("training", task.id, seed),
        targets=tuple(task.concept.targets),
        retained=tuple(sorted({concepts.name(t, concepts.kind) for t in retain})),
        kind=concept_kind(task),
        sampling=DrawSettings(spec.steps, spec.guidance),
    )


def _narrow(triples: list[Triple], spec: WorldSpec) -> list[Triple]:
    subjects = sorted({t.subject for t in triples})[:NARROW_SUBJECTS]
    return [t for t in triples if t.subject in subjects]


def _training_set(
    canvas: Canvas,
    captioner: Captioner,
    concepts: Concepts,
    triples: list[Triple],
    data: DataChoice,
    generator: torch.Generator,
    swaps: Mapping[int, int],
) -> TrainingSet:
    """Return captioned images of drawn triples. swaps: of the concept's kind, target -> its anchor; empty
    where no caption with an anchor is made."""
    if not triples:
        raise UserError(f"{concepts.task.id}: `given` leaves the retain set empty")
    rows = torch.randint(len(triples), (TRAINING_IMAGES,), generator=generator).tolist()
    chosen = [triples[r] for r in rows]
    wordings = captioner.words.train[:1] if has_one_wording(data) else captioner.words.train
    which = torch.randint(len(wordings), (TRAINING_IMAGES,), generator=generator).tolist()
    prompts = tuple(captioner.caption(t, wordings[w]) for t, w in zip(chosen, which, strict=True))
    indices = torch.tensor(chosen).T
    images = canvas.compose(indices[0], indices[1], indices[2], generator)
    anchors: tuple[str, ...] = ()
    if swaps:
        swapped = [t._replace(**{concepts.kind: swaps[getattr(t, concepts.kind)]}) for t in chosen]
        anchors = tuple(captioner.caption(t, wordings[w]) for t, w in zip(swapped, which, strict=True))
    return TrainingSet(prompts, images, anchors)
