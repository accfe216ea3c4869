"""Draw the images of one saved point, judge them, and return their item rows."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
import pandas as pd

from ..judges.types import Extractor, Judge
from ..metrics.features import CLIP, WORLD
from ..models.generators import Holder
from ..models.sampling import Drawing, Request
from ..models.saved.manifest import PointManifest
from ..planning.tasks import Task
from ..progress import show_progress
from ..records.training_images import TrainingImages
from ..store import Store
from ..types import Problem, View
from ..worlds.protocol import World
from .extractors import find_extractors, open_extractor, reference_features
from .items import build_items
from .judging import open_judge
from .requests import ImageRequest
from .streaming import look_at
from .training_images import aims_of, judge_problem, look_once

T = TypeVar("T")


@dataclass(frozen=True)
class Scored:
    """A point's item rows and features.

    kept: (prompt id, sample) -> (H, W, 3) uint8, of the images that the contact sheet shows; None for one
    whose pixels are not finite.
    """

    items: pd.DataFrame
    view: View
    kept: Mapping[tuple[str, int], np.ndarray | None]
    unscored: str | None = None  # why no retain image was drawn

    @property
    def failed(self) -> int:
        """Number of images whose pixels are not finite."""
        return int((self.items["image_sha256"] == "").sum())

    def tiles(self, image_requests: Sequence[ImageRequest]) -> list[np.ndarray | None]:
        """Return the images of some requests; None for one that was not drawn, not kept or failed."""
        return [self.kept.get(place_of(image_request)) for image_request in image_requests]


def place_of(image_request: ImageRequest) -> tuple[str, int]:
    """Return what identifies an image among those of a point."""
    return image_request.prompt.id, image_request.sample


@dataclass(frozen=True)
class Place:
    """The source of a point's images. find_weights returns the bytes of its weights, None for a base."""

    world: World
    holder: Holder
    point: PointManifest
    find_weights: Callable[[], bytes | None]
    title: str

    def drawing(self, device: str) -> Drawing:
        """Return what draws the point's images or finds them in the store."""
        holder, point = self.holder, self.point
        return Drawing(
            point.fingerprint,
            holder.sampling,
            str(holder.dtype),
            device,
            lambda: holder.generator(point.delta, self.find_weights()),
        )


def split_requests(image_requests: Sequence[ImageRequest]) -> tuple[list[ImageRequest], list[ImageRequest]]:
    """Return the forget images and the others. They are drawn in separate batches, the forget images first:
    they may be all that a point needs."""
    first = [image_request for image_request in image_requests if image_request.prompt.split == "forget"]
    return first, [
        image_request for image_request in image_requests if image_request.prompt.split != "forget"
    ]


def to_draw(image_request: ImageRequest) -> Request:
    """Return what an image's pixels depend on besides the model."""
    prompt = image_request.prompt
    return Request(prompt.text, image_request.seed, prompt.guidance, image_request.latents)


@dataclass
class PointScorer:
    """Scores points; opens each world's judge and alignment scorer once. drawn: images drawn so far."""

    store: Store
    device: str
    drawn: int = 0
    _opened: dict[str, Any] = field(default_factory=dict)

    def score(
        self,
        place: Place,
        task: Task,
        image_requests: Sequence[ImageRequest],
        base: View | None,
        keep: Collection[tuple[str, int]] = (),
    ) -> Scored:
        """Return the rows of `image_requests` at a point.

        base: the base model's rows of the same images. keep: places of the images to return.
        """
        world, sampling = place.world, place.holder.sampling
        judge = self.judge_of(world, task)  # whatever judges is opened before hours of drawing
        scorer = self._once(f"scorer {world.id}", world.open_alignment)
        opened = {name: self.extractor(world, name) for name in find_extractors(world)}
        extractors = {name: extractor for name, extractor in opened.items() if extractor is not None}
        kept: dict[tuple[str, int], np.ndarray | None] = {}

        def passing() -> Iterator[np.ndarray | None]:
            images = self._draw(place, image_requests)
            for where, image in zip(map(place_of, image_requests), images, strict=True):
                if where in keep:
                    kept[where] = image
                yield image

        looked = look_at(passing(), (sampling.height, sampling.width), judge, extractors)
        items = build_items(
            image_requests, looked.pixels, looked.found, scorer, looked.features.get(CLIP), looked.scores
        )
        references = self.references(world, task, dict(looked.features))
        return Scored(items, View(items, looked.features, references, base), kept)

    def look(
        self, world: World, task: Task, fields: dict[str, Any], problem: Callable[[], Problem]
    ) -> TrainingImages:
        """Return what a problem's images show, by the task's judge. fields: all that decides the answer."""

        def judged() -> TrainingImages:
            return judge_problem(problem(), self.judge_of(world, task), *aims_of(task))

        return look_once(self.store, fields, judged)

    def references(self, world: World, task: Task, features: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Return features of the reference images without the task's targets, by the same extractors."""
        return {name: self._reference(world, task, name, found) for name, found in features.items()}

    def judge_of(self, world: World, task: Task) -> Judge:
        """Return the judge that a task names, opened once for all tasks with the same judge and targets."""
        asked = (world.id, task.file.family, task.file.judge, task.file.target_kind, *task.file.names)
        return self._once(f"judge {asked}", lambda: open_judge(world, task))

    def extractor(self, world: World, name: str) -> Extractor | None:
        """Return an extractor that `find_extractors` names, opened once for each world."""
        where = "scorer" if name == CLIP else f"extractor {name}"
        return self._once(f"{where} {world.id}", lambda: open_extractor(name, world, self.device))

    def _reference(self, world: World, task: Task, name: str, features: np.ndarray) -> np.ndarray:
        """Return the features of the reference images; no rows where the world has no such images."""
        if name == WORLD:
            found = self._once(f"reference {name} {task.id}", lambda: np.asarray(world.reference(task)))
            # no images, so no features to be as wide as this judge's
            return found if len(found) else features[:0]
        extractor = self.extractor(world, name)
        if extractor is None:
            return features[:0]
        embedded = self._once(
            f"reference {name} {task.id}",
            lambda: reference_features(world, task, name, extractor, self.store),
        )
        return features[:0] if embedded is None else embedded

    def fill(self, place: Place, image_requests: Sequence[ImageRequest]) -> None:
        """Draw the images that the store lacks, in the batches that these requests are cut into."""
        drawing, done = place.drawing(self.device), 0
        with show_progress(place.title, len(image_requests)) as advance:

            def count(n: int) -> None:
                nonlocal done
                done += n
                advance(done, "")

            for part in split_requests(image_requests):
                drawing.fill([to_draw(image_request) for image_request in part], self.store, count)
        self.drawn += drawing.drawn

    def _draw(self, place: Place, image_requests: Sequence[ImageRequest]) -> Iterator[np.ndarray | None]:
        """Draw what the store lacks, then yield each image from the store."""
        self.fill(place, image_requests)
        drawing = place.drawing(self.device)
        first, rest = (
            drawing.read([to_draw(image_request) for image_request in part], self.store)
            for part in split_requests(image_requests)
        )
        for image_request in image_requests:
            yield next(first if image_request.prompt.split == "forget" else rest)
        self.drawn += drawing.drawn

    def _once(self, name: str, make: Callable[[], T]) -> T:
        if name not in self._opened:
            self._opened[name] = make()
        return self._opened[name]  # type: ignore[no-any-return]
