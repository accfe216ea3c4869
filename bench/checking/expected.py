"""The rows that a task expects in a record: exactly its prompts, noise and truth."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import pandas as pd

from ..errors import UserError
from ..measuring.items import request_columns
from ..measuring.requests import ImageRequest, list_requests, narrow_requests
from ..planning.tasks import PromptSizes, Task
from ..records.record import PointInfo, Record
from ..store import content_key
from ..worlds.protocol import World

TRUTH = ("split", "prompt", "seed", "half", "relation", "given", "target_kind", "asked_subject",
         "asked_style", "asked_background", "guidance")  # fmt: skip
Key = tuple[str, int]


@dataclass(frozen=True)
class Expected:
    """Every image that a task asks for. rows: (prompt id, sample) -> its columns TRUTH. targets: by split."""

    digest: str
    rows: Mapping[Key, tuple[Any, ...]]

    def keys(self, *splits: str) -> set[Key]:
        """Return the keys of some splits."""
        return set().union(*(self._by_split.get(split, ()) for split in splits))

    @cached_property
    def forget(self) -> Mapping[Key, tuple[Any, ...]]:
        """The rows of forget prompts, which attacks are made on."""
        return {key: row for key, row in self.rows.items() if row[0] == "forget"}

    @cached_property
    def _by_split(self) -> dict[str, set[Key]]:
        found: dict[str, set[Key]] = {}
        for key, row in self.rows.items():
            found.setdefault(row[0], set()).add(key)
        return found


def expect(image_requests: list[ImageRequest]) -> Expected:
    """Return the expected rows of these image requests."""
    rows = {}
    for image_request in image_requests:
        columns = request_columns(image_request) | {"guidance": image_request.prompt.guidance}
        rows[image_request.prompt.id, image_request.sample] = tuple(columns[name] for name in TRUTH)
    prompts = [
        [image_request.prompt.id, image_request.sample, image_request.seed]
        for image_request in image_requests
    ]
    return Expected(content_key({"prompts": prompts}), rows)


@dataclass
class Expectations:
    """Expected rows by task, sizes and noise, each made once."""

    _made: dict[tuple[str | int, ...], Expected] = field(default_factory=dict)

    def find(
        self, record: Record, task: Task, world: World, sizes: list[PromptSizes]
    ) -> tuple[Expected, PromptSizes] | None:
        """Return the first of some sizes whose prompts have the digest that the record states, or None."""
        for size in sizes:
            expected = self.make(record, task, world, size)
            if expected.digest == record.prompts_sha256:
                return expected, size
        return None

    def make(self, record: Record, task: Task, world: World, size: PromptSizes) -> Expected:
        """Return the rows of some sizes; in a step of a sequence those of the record's own targets."""
        noise = noise_of(record)
        key = (task.id, size.model_dump_json(), noise, *(record.task.targets if record.sequence else ()))
        if key not in self._made:
            self._made[key] = expect(narrowed(record, list_requests(world, task, size, noise)))
        return self._made[key]


def narrowed(record: Record, requests: list[ImageRequest]) -> list[ImageRequest]:
    """Return the requests of a record's own targets, where it is a step of a sequence."""
    return requests if record.sequence is None else narrow_requests(requests, record.task.targets)


def asked_share(record: Record, task: Task) -> float:
    """Return the share of a task's targets that a record asks for: below 1 only in a sequence's steps."""
    return len(record.task.targets) / len(task.concept.targets) if record.sequence else 1.0


def noise_of(record: Record) -> int:
    """Return the seed of a record's evaluation noise; raises UserError where it is no whole number."""
    noise = record.sampling.get("noise", 0)
    if not isinstance(noise, int) or isinstance(noise, bool):
        raise UserError(f"{record.cell}.json: sampling.noise: {noise!r} is no whole number")
    return noise


def guess_sizes(items: pd.DataFrame, asked: float = 1.0) -> list[PromptSizes]:
    """Return the possible prompt sizes of a record of no shipped suite: the usual ones and those of its rows.

    A record may count indirect prompts although no point has images of them. asked: share of the task's
    targets that the rows ask for; below 1 in a step of a sequence.
    """
    usual = PromptSizes()
    found = [usual, infer_sizes(items, usual.indirect), infer_sizes(items, 0)]
    return [size.model_copy(update={"forget": round(size.forget / asked)}) for size in found]


def infer_sizes(items: pd.DataFrame, indirect: int) -> PromptSizes:
    """Return the numbers of prompts that item rows hold; indirect: taken where no row is indirect.

    Raises UserError where a sample number implies more images than there are rows.
    """
    first = items.drop_duplicates(["prompt_id"])
    retain = first[first["split"] == "retain"]
    fresh, given = retain[~retain["given"].astype(bool)], retain[retain["given"].astype(bool)]
    asked = int((first["split"] == "indirect").sum())
    forget = items[items["split"] == "forget"]
    prompts = int((first["split"] == "forget").sum())
    samples = int(forget["sample"].max()) + 1 if len(forget) else 0
    if samples < 0 or prompts * samples > len(items):
        raise UserError(
            f"items: sample: {samples:,} of each of {prompts} prompts; there are {len(items)} rows"
        )
    return PromptSizes(
        forget=prompts,
        forget_samples=samples,
        retain_same=int(fresh["relation"].isin(["same", "crossed"]).sum()),
        retain_other=int((fresh["relation"] == "other").sum()),
        retain_given=len(given),
        indirect=asked or indirect,
    )


def find_problems_in_coverage(record: Record, items: pd.DataFrame, expected: Expected) -> Iterator[str]:
    """Yield one line for each point whose rows are not exactly those of the task."""
    columns = [items[name].tolist() for name in ("point", "prompt_id", "sample", *TRUTH) if name in items]
    if "guidance" in items:
        columns[-1] = [None if pd.isna(value) else value for value in columns[-1]]
    else:
        columns.append([None] * len(items))
    table = list(zip(*columns, strict=True))
    by_point: dict[int, list[tuple[Any, ...]]] = {point.index: [] for point in record.points}
    for row in table:
        by_point.setdefault(row[0], []).append(row[1:])
    for point in record.points:
        complaint = _find_problems_in_point(point, by_point[point.index], expected)
        if complaint:
            yield f"point {point.label}: {complaint}"
    shown = [point for point in record.points if point.shown]
    for point in shown:
        held = {(row[0], row[1]) for row in by_point[point.index]}
        if expected.keys("indirect") - held:
            yield f"point {point.label}: is the shown one, but lacks images of indirect prompts"


def _find_problems_in_point(point: PointInfo, rows: list[tuple[Any, ...]], expected: Expected) -> str | None:
    held = [(row[0], row[1]) for row in rows]
    if len(set(held)) < len(held):
        twice = next(key for key in held if held.count(key) > 1)
        return f"prompt {twice[0]}, sample {twice[1]} is there twice"
    indirect = expected.keys("indirect")
    needed = expected.keys("forget") if point.unscored else expected.keys("forget", "retain")
    if set(held) & indirect:
        needed |= indirect
    lacking, odd = needed - set(held), set(held) - needed
    if lacking:
        return f"lacks {len(lacking)} of the task's {len(needed)} images: prompt {min(lacking)[0]}, ..."
    if odd:
        return f"has {len(odd)} images that the task does not ask for: prompt {min(odd)[0]}, ..."
    for row in rows:
        wanted = expected.rows[row[0], row[1]]
        if row[2:] != wanted:
            column = next(name for name, a, b in zip(TRUTH, row[2:], wanted, strict=True) if a != b)
            return f"prompt {row[0]}, sample {row[1]}: {column} is not what the task says"
    return None


def find_sizes(
    record: Record,
    items: pd.DataFrame | None,
    task: Task,
    world: World,
    where: str,
    first: PromptSizes | None = None,
) -> PromptSizes:
    """Return the numbers of prompts that a record was drawn with; `first` is tried before what its rows tell.

    Raises UserError, before anything is drawn, where this version gives its task other prompts.
    """
    if items is None:
        raise UserError(f"{where}: status: the run failed; nothing was drawn")
    sizes = [*([first] if first is not None else []), *guess_sizes(items, asked_share(record, task))]
    found = Expectations().find(record, task, world, sizes)
    if found is None:
        said = f"this version gives {task.id} other prompts than it was asked"
        raise UserError(f"{where}: prompts_sha256: {said}; measure it anew (evaluate --policy, or --like)")
    return found[1]
