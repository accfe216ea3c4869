"""Judge and measure images that exist already, and write a record marked as of given images."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from ...errors import UserError
from ...measuring.items import image_digest
from ...measuring.requests import ImageRequest, list_requests
from ...models.generators import Sampling
from ...models.outside import FunctionGenerator, _FunctionPipeline
from ...models.saved.manifest import Manifest, reference_point
from ...pictures import READING_VERSION, read_picture
from ...planning.plan import Cell, MethodRow, Suite
from ...planning.tasks import PromptSizes, Task
from ...records.packed.record_table import has_record
from ...records.record import Record, read_record, write_record
from ...source import source_digest
from ...store import content_key
from ...types import Prompt
from ...worlds.prompts import halve
from ...worlds.protocol import World
from ..assemble import name_captions
from ..cell_run import CellRun
from ..keys import SCORING_MODULES, added_fields, judge_modules
from ..runner import Runner
from .read import ReadyImage, plain

SUITE = "score"


def find_requests(
    images: Sequence[ReadyImage], asked: Sequence[ImageRequest], task: Task
) -> list[tuple[ReadyImage, ImageRequest]]:
    """Return each image with the request that it answers: a prompt with its truth, the sample and the seed.

    asked: the task's requests. An image whose words are one of its prompts has that truth; these come first,
    in the task's order. Any other needs `split`: a forget or indirect prompt asks for the target, a retain
    prompt for the attributes in its row. Raises UserError naming file and row where a truth is unknown, or
    two images have the same prompt and seed.
    """
    by_text = {request.prompt.text: request.prompt for request in asked}
    by_words = {plain(text): prompt for text, prompt in by_text.items()}
    names = _known_names(list(by_text.values()), task)
    counts, seen = dict[str, int](), dict[tuple[str, int], str]()
    found = []
    for image in images:
        prompt = by_text.get(image.prompt) or (by_words.get(plain(image.prompt)) if image.is_named else None)
        if prompt is None or (image.split and image.split != prompt.split):
            prompt = _own_prompt(image, task, names)
        count = counts[prompt.id] = counts.get(prompt.id, -1) + 1
        seed = count if image.seed is None else image.seed
        if (prompt.text, seed) in seen:
            first = seen[prompt.text, seed]
            raise UserError(f"{image.where}: seed: {seed} of this prompt is that of {first}, too")
        seen[prompt.text, seed] = image.where
        found.append((image, prompt, seed))
    return _number(found, asked)


def _number(
    found: Sequence[tuple[ReadyImage, Prompt, int]], asked: Sequence[ImageRequest]
) -> list[tuple[ReadyImage, ImageRequest]]:
    """Return the images in the task's order, with their samples numbered and their prompts halved."""
    places = {(request.prompt.text, request.seed): place for place, request in enumerate(asked)}
    first = {request.prompt.text: place for place, request in reversed(list(enumerate(asked)))}
    last = len(asked)

    def place(part: tuple[ReadyImage, Prompt, int]) -> tuple[int, int]:
        text, seed = part[1].text, part[2]
        return first.get(text, last), places.get((text, seed), last)

    ordered = sorted(found, key=place)
    halves = {prompt.id: prompt for prompt in halve([prompt for _, prompt, _ in ordered])}
    known = {request.prompt.id: request.prompt for request in asked}
    numbered, counts = [], dict[str, int]()
    for image, prompt, seed in ordered:
        sample = counts[prompt.id] = counts.get(prompt.id, -1) + 1
        halved = known.get(prompt.id, halves[prompt.id])
        numbered.append((image, ImageRequest(halved, sample, seed)))
    return numbered


def _known_names(prompts: Sequence[Prompt], task: Task) -> dict[str, set[str]]:
    """Return kind -> names that the judge can answer with, as far as the task says."""
    names: dict[str, set[str]] = {}
    for prompt in prompts:
        for kind, name in prompt.asked.items():
            names.setdefault(kind, set()).add(name)
    names.setdefault(task.file.target_kind, set()).update([*task.file.names, *task.concept.targets])
    return names


def _own_prompt(image: ReadyImage, task: Task, names: Mapping[str, set[str]]) -> Prompt:
    """Return the prompt of an image that is not the task's, with the truth that its row states."""
    kind, targets, asked = task.file.target_kind, tuple(task.concept.targets), dict(image.asked)
    if not image.split:
        raise UserError(
            f"{image.where}: prompt: {image.prompt!r:.60} is none of {task.id}; give its row a split: forget "
            "or indirect, or retain with the subject or style that it asks for"
        )
    for part, name in asked.items():
        if name not in names.get(part, set()):
            there = ", ".join(sorted(names.get(part, set()))) or "nothing of this kind"
            raise UserError(f"{image.where}: {part}: {name!r}: the judge of {task.id} knows {there:.300}")
    aimed = image.split != "retain"
    if aimed and len(targets) == 1 and image.split == "forget":
        asked = {kind: targets[0]} | asked
    if not aimed and not asked:
        raise UserError(f"{image.where}: subject: a retain prompt states what it asks for: subject or style")
    if not aimed and asked.get(kind) in task.suite_targets:
        raise UserError(f"{image.where}: {kind}: {asked[kind]} is a target, so this prompt is not retained")
    text = f"{task.id}|given|{image.split}|{image.prompt}"
    return Prompt(
        id=hashlib.sha256(text.encode()).hexdigest()[:16],
        text=image.prompt,
        split=image.split,  # type: ignore[arg-type]
        asked=asked,
        target_kind=kind,
        targets=targets if aimed else (),
        relation="target" if aimed else "other",
        given=False,
        half="A",
    )


@dataclass
class ReadyHolder:
    """Given images in the place of a model. requests: of the images, in their order; size: height, width."""

    images: Sequence[ReadyImage]
    requests: Sequence[ImageRequest]
    size: tuple[int, int]
    base: Sampling
    dtype: Any

    @cached_property
    def sampling(self) -> Sampling:
        """The size of the images; steps and guidance are not known."""
        return Sampling(0, 0.0, *self.size)

    @cached_property
    def fingerprint(self) -> str:
        """sha256 over the pixels, prompts and seeds of all images."""
        parts = [
            [request.prompt.text, request.seed, image_digest(self._read(image))]
            for image, request in zip(self.images, self.requests, strict=True)
        ]
        return content_key({"images": sorted(parts), "reading": READING_VERSION})

    def _read(self, image: ReadyImage) -> np.ndarray:
        pixels = read_picture(image.path)
        if pixels.shape[:2] != self.size:
            height, width = pixels.shape[:2]
            raise UserError(
                f"{image.path}: is {width} x {height} pixels, needed: {self.size[1]} x {self.size[0]}; "
                "all images have one size, that of the world's own; scale them first"
            )
        return pixels

    def generator(self, delta: str, payload: bytes | None) -> FunctionGenerator:
        """Return what answers a prompt and a seed with the image that was given for them."""
        known = {
            (request.prompt.text, request.seed): image
            for image, request in zip(self.images, self.requests, strict=True)
        }

        def look_up(prompts: list[str], seeds: list[int]) -> list[np.ndarray]:
            return [self._read(known[pair]) for pair in zip(prompts, seeds, strict=True)]

        return FunctionGenerator(_FunctionPipeline("images", look_up), self.sampling, self.fingerprint)

    def close(self) -> None:
        """Nothing is held."""


@dataclass
class ReadyRun(CellRun):
    """The cell of given images: nothing is trained or drawn, and no base model's images belong to it."""

    images: Sequence[ReadyImage] = ()
    ready: Sequence[ImageRequest] = ()

    @cached_property
    def requests(self) -> list[ImageRequest]:
        return list(self.ready)

    @cached_property
    def holder(self) -> ReadyHolder:
        own = super()._holder()
        side = (own.sampling.height, own.sampling.width)
        size = read_picture(self.images[0].path).shape[:2] if self.world.is_placed else side
        return ReadyHolder(self.images, self.ready, (size[0], size[1]), own.sampling, own.dtype)

    def _holder(self, model: str = "") -> Any:
        return self.holder

    @cached_property
    def manifest(self) -> Manifest:
        return Manifest([reference_point(self.holder)], {})

    @cached_property
    def base(self) -> Any:
        """No images of a base model belong to given ones, so no difference to it is measured."""
        return SimpleNamespace(view=None)

    @cached_property
    def key(self) -> str:
        task, metrics = self.cell.task, self.shared.metrics
        fields = {
            "given": self.holder.fingerprint,
            "task": [task.id, task.file.version, task.concept.model_dump()],
            "prompts": [[vars(r.prompt), r.sample, r.seed] for r in self.ready],
            "metrics": {entry.name: entry.version for entry in metrics.values()},
            "scoring": source_digest(*SCORING_MODULES, *judge_modules(task)),
        }
        return content_key(fields | added_fields(task))

    def assemble(self, **measured: Any) -> Record:
        record = super().assemble(**measured)
        info = record.method.model_copy(update={"summary": "images that were given, not drawn here"})
        sampling = {name: record.sampling[name] for name in ("height", "width", "noise")}
        changes = {"source": "external", "method": info, "sampling": sampling | name_captions(self.cell.task)}
        return record.model_copy(update=changes)


def score_images(
    runner: Runner, task: Task, images: Sequence[ReadyImage], name: str, sizes: PromptSizes, noise: int
) -> tuple[Path, int]:
    """Judge and measure given images; return the record's path, and how many of the task's prompts lack one.

    sizes, noise: which prompts of the task their words are compared with. Raises UserError where the images
    cannot be measured, and where another record of this name is there already.
    """
    world: World = runner.worlds[task.file.world]
    asked = list_requests(world, task, sizes, noise)
    found = find_requests(images, asked, task)
    answered = {request.prompt.id for _, request in found}
    row = MethodRow(name=name, config={"images": len(images)}, noise=noise)
    suite = Suite(name=SUITE, tasks=[task.id], methods=[row], sizes=sizes)
    cell = Cell(suite, task, row, None, 0, ("images",))
    pairs = ([image for image, _ in found], [request for _, request in found])
    run = ReadyRun(runner, cell, images=pairs[0], ready=pairs[1])
    path = runner.folder / f"{cell.stem}.json"
    _refuse_another(path, run.key)
    record, items, sheet = run.measure()
    write_record(record, items, sheet, runner.folder, seal=True)
    return path, len({request.prompt.id for request in asked} - answered)


def _refuse_another(path: Path, key: str) -> None:
    if has_record(path) and read_record(path).key != key:
        raise UserError(f"{path}: holds the numbers of other images; give --name or another --out")
