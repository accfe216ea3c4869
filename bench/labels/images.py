"""The images that a person labels: those of the target's prompts, sampled and shuffled by a seed."""

import io
import json
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
from PIL import Image

from ..errors import UserError
from ..measuring.items import image_digest, read_guidance
from ..measuring.requests import ImageRequest
from ..measuring.sheet import choose_columns
from ..records.chosen import Chosen
from ..records.record import name_entry
from ..store import content_key
from ..types import Prompt
from .labels import Answer, Group, LabelledRecord, Reply

Find = Callable[[str, int, float | None], bytes | None]
"""find(prompt, seed, guidance) -> PNG of a point's image, or None where it is not available."""
Origin = Literal["store", "sheet"]


@dataclass(frozen=True)
class Shown:
    """One image, with fields that the page must not show. png: its pixels; target: what is asked about."""

    cell: str
    prompt_id: str
    sample: int
    image_sha256: str
    origin: Origin
    judge: bool
    target: str
    png: bytes

    def answer(self, reply: Reply) -> Answer:
        """Return the answer of this image as labels keep it."""
        return Answer(
            cell=self.cell,
            prompt_id=self.prompt_id,
            sample=self.sample,
            image_sha256=self.image_sha256,
            origin=self.origin,
            judge=self.judge,
            reply=reply,
        )


@dataclass(frozen=True)
class Source:
    """The available images of a record, and the record's name in labels."""

    chosen: Chosen
    images: tuple[Shown, ...]
    asked: int  # images that the judge answered for

    @property
    def group(self) -> tuple[str, str, str, str]:
        """Key that is equal for runs of the same method."""
        record = self.chosen.loaded.record
        config = json.dumps(record.method.config, sort_keys=True)
        return record.task.id, name_entry(record), config, self.chosen.point.label

    def describe(self) -> LabelledRecord:
        """Return how labels name this record."""
        record = self.chosen.loaded.record
        origins = [image.origin for image in self.images]
        return LabelledRecord(
            cell=record.cell,
            digest=self.chosen.loaded.digest,
            items_sha256=record.items_sha256 or "",
            point=self.chosen.point.label,
            images=self.asked,
            store=origins.count("store"),
            sheet=origins.count("sheet"),
        )


def gather_alike(chosen: Sequence[Chosen], finds: Sequence[Find]) -> list[Source]:
    """Return the forget images of several records' points, all from the store or all from contact sheets.

    Images of the two sources differ in compression, which would reveal the model. Raises
    UserError naming a record of which none can be had in the way of the others, or of another size.
    """
    origins: tuple[Origin, ...] = ("store", "sheet")
    for origin in origins:
        sources = [gather(own, find, origin) for own, find in zip(chosen, finds, strict=True)]
        if all(source.images for source in sources):
            _refuse_sizes(sources)
            return sources
        last = sources
    lacking = next(source for source in last if not source.images).chosen.loaded.name
    raise UserError(
        f"{lacking}: none of its images can be had from its contact sheet, nor those of all records from the "
        "store; images of both would show which model drew them: leave it out, or give the --store of the run"
    )


def _refuse_sizes(sources: Sequence[Source]) -> None:
    first, side = sources[0], _side(sources[0].images[0])
    for source in sources:
        for image in source.images:
            if _side(image) != side:
                raise UserError(
                    f"{source.chosen.loaded.name}: its images are {_side(image)} px wide, those of "
                    f"{first.chosen.loaded.name} {side} px: the size would show which model drew them; "
                    "label them apart"
                )


def _side(image: Shown) -> int:
    with Image.open(io.BytesIO(image.png), formats=["PNG"]) as opened:
        return opened.width


def gather(chosen: Chosen, find: Find, origin: Origin | None = None) -> Source:
    """Return the forget images of a record's point: the store's, or where it has none those on its sheet.

    origin: only those of this place. An image of the store counts only where its pixels have the digest that
    the record names.
    """
    if origin is None:
        stored = gather(chosen, find, "store")
        return stored if stored.images else gather(chosen, find, "sheet")
    items = chosen.loaded.items
    assert items is not None
    own = items[items["point"] == chosen.point.index].reset_index(drop=True)
    tiles = _tiles(chosen, own) if origin == "sheet" else {}
    rows = own[(own["split"] == "forget") & own["target_found"].notna()]
    target = _name_target(chosen)
    images = []
    for place, row in zip(rows.index, rows.to_dict("records"), strict=True):
        png = tiles.get(place)
        if origin == "store":
            png = find(str(row["prompt"]), int(row["seed"]), read_guidance(row))
        if png is not None and (origin == "sheet" or _digest(png) == row["image_sha256"]):
            images.append(_show(chosen, row, origin, target, png))
    return Source(chosen, tuple(images), len(rows))


def _name_target(chosen: Chosen) -> str:
    """Return what the page asks about: `cat face`, `beer mug or wine glass`, `openmoji style`."""
    task, items = chosen.loaded.record.task, chosen.loaded.items
    assert items is not None
    kind = str(items["target_kind"].iloc[0])
    names = " or ".join(task.targets) or task.concept
    return names if kind == "subject" else f"{names} {kind}"


def _show(chosen: Chosen, row: dict[Any, Any], origin: Origin, target: str, png: bytes) -> Shown:
    return Shown(
        cell=chosen.loaded.record.cell,
        prompt_id=str(row["prompt_id"]),
        sample=int(row["sample"]),
        image_sha256=str(row["image_sha256"]),
        origin=origin,
        judge=bool(row["target_found"]),
        target=target,
        png=png,
    )


def _digest(png: bytes) -> str:
    return image_digest(np.asarray(Image.open(io.BytesIO(png)).convert("RGB")))


def _tiles(chosen: Chosen, own: Any) -> dict[int, bytes]:
    """Return a point's tiles of the contact sheet by item row; none where the assignment is ambiguous."""
    record, sheet = chosen.loaded.record, chosen.loaded.sheet
    if sheet is None:
        return {}
    columns = choose_columns([_ask(row) for row in own.to_dict("records")])
    if [own["prompt"].iloc[i] for i in columns] != record.sheet:
        return {}
    with Image.open(io.BytesIO(sheet), formats=["WEBP"]) as opened:
        image = opened.convert("RGB")
    side, top = image.height // len(record.points), record.points.index(chosen.point)
    found = {}
    for column, place in enumerate(columns):
        buffer = io.BytesIO()
        box = (column * side, top * side, (column + 1) * side, (top + 1) * side)
        image.crop(box).save(buffer, "PNG")
        found[place] = buffer.getvalue()
    return found


def _ask(row: dict[Any, Any]) -> ImageRequest:
    prompt = Prompt(
        id=row["prompt_id"],
        text=row["prompt"],
        split=row["split"],
        asked={},
        target_kind=row["target_kind"],
        targets=(),
        relation=row["relation"],
        given=bool(row["given"]),
        half=row["half"],
    )
    return ImageRequest(prompt, int(row["sample"]), int(row["seed"]))


def draw(sources: Sequence[Source], number: int, seed: int) -> list[Shown]:
    """Return at most `number` images, balanced over methods where possible, in random order."""
    chance = random.Random(seed)
    groups: dict[Any, list[Shown]] = {}
    for source in sources:
        groups.setdefault(source.group, []).extend(source.images)
    left = [chance.sample(images, len(images)) for images in groups.values()]
    chosen: list[Shown] = []
    while len(chosen) < number and any(left):
        # one of each method in turn; other methods replace the missing images of one
        for images in left:
            if images and len(chosen) < number:
                chosen.append(images.pop())
    chance.shuffle(chosen)
    return chosen


def name_sample(images: Sequence[Shown]) -> str:
    """Return the digest of a drawn sample: equal for the same images in the same order."""
    return content_key({"sample": [[i.cell, i.prompt_id, i.sample, i.origin] for i in images]})


def make_groups(sources: Sequence[Source]) -> list[Group]:
    """Return the judge's answers for all forget images of each method, available or not."""
    groups: dict[Any, list[Source]] = {}
    for source in sources:
        groups.setdefault(source.group, []).append(source)
    return [_make_group(own) for own in groups.values()]


def _make_group(sources: Sequence[Source]) -> Group:
    prompts: list[str] = []
    found: list[bool | None] = []
    for source in sources:
        items = source.chosen.loaded.items
        assert items is not None
        own = items[(items["point"] == source.chosen.point.index) & (items["split"] == "forget")]
        prompts += [str(name) for name in own["prompt_id"]]
        found += [None if pd.isna(x) else bool(x) for x in own["target_found"]]
    task, method, _, point = sources[0].group
    cells = [source.chosen.loaded.record.cell for source in sources]
    return Group(task=task, method=method, point=point, cells=cells, prompts=prompts, found=found)
