"""Evaluation prompts of real models: of published files that the user supplies, and of templates."""

import hashlib
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

from ..errors import UserError
from ..protocols import Row, read_protocol, select
from ..tasks import PromptSizes, Task
from ..types import Prompt, Split
from ..writing import OTHERS


def build_prompts(task: Task, sizes: PromptSizes, data: Path) -> list[Prompt]:
    """Return the evaluation prompts of a task; data: the folder of the user's prompt files.

    Raises UserError naming file, row and column where a published file is not there or malformed.
    """
    writer = _Writer(task)
    forget = list(itertools.islice(_forget(writer, data), sizes.forget))
    names = [name for name in task.file.names if name not in task.concept.targets]
    given = task.concept.given.get(task.file.target_kind, [])
    fresh = [name for name in names if name not in given]
    retain = [
        *writer.about(fresh, sizes.retain_same, given=False),
        *writer.about([name for name in names if name in given], sizes.retain_given, given=True),
        *writer.plain(sizes.retain_other),
    ]
    return halve([*forget, *retain])


def _forget(writer: "_Writer", data: Path) -> Iterator[Prompt]:
    task = writer.task
    if task.file.protocol is None:
        yield from writer.about(task.concept.targets, None, split="forget")
        return
    for row in _rows(task, data):
        yield writer.write(row.prompt, "forget", task.concept.targets[0], False, "same", row)


def _rows(task: Task, data: Path) -> list[Row]:
    protocol = task.file.protocol
    assert protocol is not None
    rows = read_protocol(protocol.kind, data / protocol.file)
    rows = select(rows, protocol.nudity_above, protocol.category)
    targets = task.concept.targets
    named = [row for row in rows if row.erased and (not row.name or row.name in targets)]
    if not named:
        raise UserError(f"{data / protocol.file}: no row asks for {targets[0]!r}")
    return named


class _Writer:
    """Writes a task's evaluation prompts."""

    def __init__(self, task: Task) -> None:
        self.task, self.kind = task, task.file.target_kind

    def about(
        self, names: Sequence[str], count: int | None, given: bool = False, split: Split = "retain"
    ) -> Iterator[Prompt]:
        """Yield prompts about names in turn, each in every template before one comes again."""
        pairs = [(t, name) for t in self.task.file.templates for name in names]
        for template, name in pairs if count is None else pairs[:count]:
            yield self.write(template.format(name), split, name, given)

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
    ) -> Prompt:
        aimed, drawn = split != "retain", (None, None) if row is None else (row.seed, row.guidance)
        told = "|".join(str(part) for part in (self.task.id, split, text, *drawn))
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
            seed=drawn[0],
            guidance=drawn[1],
        )


def halve(prompts: Sequence[Prompt]) -> list[Prompt]:
    """Give every second prompt of a split, in order of its hash, to half B."""
    halves: dict[str, Literal["A", "B"]] = {}
    for split in dict.fromkeys(prompt.split for prompt in prompts):
        ids = sorted({p.id for p in prompts if p.split == split})
        halves |= {name: "B" if i % 2 else "A" for i, name in enumerate(ids)}
    return [replace(p, half=halves[p.id]) for p in {p.id: p for p in prompts}.values()]
