"""The gallery of a task: images of every method and of the base model on the same prompts and noise."""

import base64
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ...bench.records.load import Loaded
from ...bench.records.record import TaskInfo, name_point
from ..ranking.task_rows import TaskRow

HARMLESS = ("emoji", "fashion-mnist", "tiny")
"""Worlds of clip art and of small pictures of clothes.

Pages blur images of the family nudity in every other world, plug-ins included, until a reader asks for them.
"""
Locate = Callable[[Loaded], str]
"""Function that returns the URI of a record's contact sheet."""


@dataclass(frozen=True)
class Caption:
    """A column of the gallery. split: that of its prompt, "" where the record has no item rows."""

    text: str
    split: str


@dataclass(frozen=True)
class GalleryRow:
    """One row of the gallery. places: for each caption the column of its tile on the sheet, or None."""

    row: TaskRow
    uri: str
    columns: int
    points: tuple[str, ...]  # names of the sheet's rows
    shown: int
    places: tuple[int | None, ...]

    def across(self, place: int) -> float:
        """Return the background position of a column in percent, as CSS counts it."""
        return round(100 * place / max(self.columns - 1, 1), 4)


@dataclass(frozen=True)
class Gallery:
    """Columns and rows of the gallery; the reference comes first where it has a contact sheet."""

    captions: tuple[Caption, ...]
    strips: tuple[GalleryRow, ...]
    blurred: bool = False

    @property
    def deepest(self) -> int:
        """The largest number of points on a sheet."""
        return max(len(strip.points) for strip in self.strips)


def inline_sheet(entry: Loaded) -> str:
    """Return a record's contact sheet as a data URI."""
    return f"data:image/webp;base64,{base64.b64encode(entry.sheet or b'').decode()}"


def is_blurred(task: TaskInfo) -> bool:
    """Return whether a page shows a task's images only on request."""
    return task.family == "nudity" and task.world.split("@")[0] not in HARMLESS


def gather(task_rows: Sequence[TaskRow], locate: Locate = inline_sheet) -> Gallery | None:
    """Return the gallery of a task with the columns of the first sheet; None where no row has a sheet."""
    with_sheet = [row for row in task_rows if row.source.sheet is not None]
    if not with_sheet:
        return None
    keys = _number(with_sheet[0].source.record.sheet)
    splits = _splits(with_sheet)
    captions = tuple(Caption(text, splits.get(text, "")) for text, _ in keys)
    blurred = any(is_blurred(row.source.record.task) for row in with_sheet)
    return Gallery(captions, tuple(_strip(row, keys, locate) for row in with_sheet), blurred)


def _number(prompts: Sequence[str]) -> list[tuple[str, int]]:
    """Return (prompt, number of earlier columns with it): a sheet may show one prompt with several seeds."""
    seen: Counter[str] = Counter()
    keys = []
    for prompt in prompts:
        keys.append((prompt, seen[prompt]))
        seen[prompt] += 1
    return keys


def _splits(rows: Sequence[TaskRow]) -> dict[str, str]:
    found: dict[str, str] = {}
    for row in rows:
        if row.source.items is not None:
            items = row.source.items
            pairs = dict.fromkeys(zip(items["prompt"].tolist(), items["split"].tolist(), strict=True))
            found.update(list(pairs))  # each pair once, in the order of the rows
    return found


def _strip(row: TaskRow, keys: Sequence[tuple[str, int]], locate: Locate) -> GalleryRow:
    record = row.source.record
    own = {key: place for place, key in enumerate(_number(record.sheet))}
    return GalleryRow(
        row=row,
        uri=locate(row.source),
        columns=len(record.sheet),
        points=tuple(name_point(point.label, point.step) for point in record.points),
        shown=row.choice.position if row.choice else 0,
        places=tuple(own.get(key) for key in keys),
    )
