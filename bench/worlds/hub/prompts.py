"""Evaluation prompts of real models, from published files that the user supplies and from templates."""

import hashlib
import itertools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Literal

from ...errors import UserError
from ...planning.concept_names import name_key
from ...planning.tasks import PromptSizes, Task
from ...types import Prompt, Split
from ...unlearning.writing import OTHERS, interleave
from ..prompts import halve
from .captions import draw_captions
from .protocols import Row, read_subset


def build_prompts(task: Task, sizes: PromptSizes, data: Path) -> list[Prompt]:
    """Return the evaluation prompts of a task. data: folder of the user's prompt files.

    Raises UserError naming file, row and column where a published file is missing or malformed.
    """
    rows = _rows(task, data)
    writer, targets = _Writer(task, rows), task.concept.targets
    names = [name for name in names_of(task, data) if name not in targets]
    held = task.concept.given.get(task.file.target_kind, [])
    given = [name for name in names if name in held]
    fresh = [name for name in names if name not in held]
    published = [name for name in targets if name in rows]
    prompts = [
        *itertools.islice(writer.about(published or targets, "forget"), sizes.forget),
        *itertools.islice(writer.about(fresh), sizes.retain_same),
        *itertools.islice(writer.about(given, given=True), sizes.retain_given),
        *_others(writer, sizes.retain_other, data),
    ]
    return halve(prompts)


def names_of(task: Task, data: Path) -> list[str]:
    """Return all names that a task's judge tells apart: those of its file, and of its protocol's other rows.

    Raises UserError like `build_prompts` where the prompt file is needed and missing.
    """
    protocol, names = task.file.protocol, list(task.file.names)
    if protocol is None or not protocol.others:
        return names
    known = {name_key(name) for name in names}
    rows = (row for row in read_subset(protocol, data) if not row.erased)
    others = {name_key(row.name): row.name for row in rows}
    return names + [name for key, name in others.items() if key not in known]


def _rows(task: Task, data: Path) -> dict[str, list[Row]]:
    """Return name -> a protocol's rows that ask for it; rows without a name ask for the target.

    Names are the task's, whatever their case in the file. Rows of names that the task's judge does not know
    are left out; in a file of classes such a name is an error.
    """
    protocol, targets = task.file.protocol, task.concept.targets
    if protocol is None:
        return {}
    path = data / protocol.file
    known = {name_key(name): name for name in (*names_of(task, data), *targets)} | {"": targets[0]}
    found: dict[str, list[Row]] = {}
    for row in read_subset(protocol, data):
        name = known.get(name_key(row.name))
        if name is None and protocol.kind == "classes":
            names = ", ".join(task.file.names)
            raise UserError(f"{path}: row {row.line}: class: {row.name!r} is none of {names}")
        if name is not None and (row.erased or name not in targets):
            found.setdefault(name, []).append(row)
    if not found.keys() & set(targets):
        raise UserError(f"{path}: no row asks for {targets[0]!r}")
    return found


def _others(writer: "_Writer", count: int, data: Path) -> list[Prompt]:
    """Return prompts about neither the target nor its family: captions, or everyday things."""
    captions = writer.task.file.captions
    if captions is None:
        return writer.plain(count)
    rows = draw_captions(captions, writer.task.concept.targets, data)[:count]
    return [writer.write(row.prompt, "retain", "", related="other", row=row) for row in rows]


class _Writer:
    """Writes a task's evaluation prompts. rows: a published file's, by name."""

    def __init__(self, task: Task, rows: Mapping[str, Sequence[Row]]) -> None:
        self.task, self.kind, self.rows = task, task.file.target_kind, rows

    def about(self, names: Sequence[str], split: Split = "retain", given: bool = False) -> Iterator[Prompt]:
        """Yield prompts about names in turn, each name's in the order of its rows, or of the templates."""
        return interleave([self._about(name, split, given) for name in names])

    def _about(self, name: str, split: Split, given: bool) -> Iterator[Prompt]:
        rows, protocol = self.rows.get(name), self.task.file.protocol
        if not rows or protocol is None:
            for template in self.task.file.templates:
                yield self.write(template.format(name), split, name, given)
            return
        rows = list({(row.prompt, row.seed, row.guidance): row for row in rows}.values())  # one image each
        for number in range(max(len(rows), protocol.images)):
            row, again = rows[number % len(rows)], number if number >= len(rows) else 0
            yield self.write(row.prompt, split, name, given, row=row, again=again)

    def plain(self, count: int) -> list[Prompt]:
        """Return prompts about everyday things, whose attributes no judge of the task verifies."""
        things = [t for kind in OTHERS for t in OTHERS[kind] if t not in self.task.file.names]
        return [self.write(f"a photo of {thing}", "retain", "", related="other") for thing in things[:count]]

    def write(
        self,
        text: str,
        split: Split,
        name: str,
        given: bool = False,
        related: Literal["same", "other"] = "same",
        row: Row | None = None,
        again: int = 0,
    ) -> Prompt:
        """Return a prompt. again: number of further images of the same row; their noise is the task's own."""
        aimed = split != "retain"
        seed, guidance = (None, None) if row is None else (None if again else row.seed, row.guidance)
        parts = (self.task.id, split, text, seed, guidance, *((again,) if again else ()))
        told = "|".join(str(part) for part in parts)
        return Prompt(
            id=hashlib.sha256(told.encode()).hexdigest()[:16],
            text=text,
            split=split,
            asked={self.kind: name} if name else {},
            target_kind=self.kind,
            targets=tuple(self.task.concept.targets) if aimed else (),
            relation="target" if aimed else related,
            given=given,
            half="A",
            seed=seed,
            guidance=guidance,
        )
