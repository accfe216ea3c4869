"""Draw the images of one saved point, judge them, and return their item rows."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import chain
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
from .items import build_items, keep_whole, spread, spread_answers
from .judging import ask_judge, open_judge
from .requests import ImageRequest
from .training_images import aims_of, judge_problem, look_once

T = TypeVar("T")


@dataclass(frozen=True)
class Scored:
    """A point's item rows and features.

    images: in the order of the rows, each (H, W, 3) uint8; None for an image whose pixels are not finite.
    """

    items: pd.DataFrame
    view: View
    images: Sequence[np.ndarray | None]
    unscored: str | None = None  # why no retain image was drawn

    @property
    def failed(self) -> int:
        """Number of images whose pixels are not finite."""
        return sum(image is None for image in self.images)

    def tiles(self, image_requests: Sequence[ImageRequest]) -> list[np.ndarray | None]:
        """Return the images of some requests; None for one that was not drawn or failed."""
        places = {
            key: i for i, key in enumerate(zip(self.items["prompt_id"], self.items["sample"], strict=True))
        }
        found = [
            places.get((image_request.prompt.id, image_request.sample)) for image_request in image_requests
        ]
        return [None if i is None else self.images[i] for i in found]


@dataclass(frozen=True)
class Place:
    """The source of a point's images. find_weights returns the bytes of its weights, None for a base."""

    world: World
    holder: Holder
    point: PointManifest
    find_weights: Callable[[], bytes | None]
    title: str


@dataclass
class PointScorer:
    """Scores points; opens each world's judge and alignment scorer once. drawn: images drawn so far."""

    store: Store
    device: str
    drawn: int = 0
    _opened: dict[str, Any] = field(default_factory=dict)

    def score(
        self, place: Place, task: Task, image_requests: Sequence[ImageRequest], base: View | None
    ) -> Scored:
        """Return the rows of `image_requests` at a point; base: the base model's rows of the same images."""
        world = place.world
        judge = self.judge_of(world, task)  # whatever judges is opened before hours of drawing
        scorer = self._once(f"scorer {world.id}", world.open_alignment)
        images = self._draw(place, image_requests)
        whole = keep_whole(images, (place.holder.sampling.height, place.holder.sampling.width))
        verdicts = ask_judge(judge, whole)
        features = {WORLD: verdicts.features, **self._embed(world, whole)}
        features = {name: spread(images, rows) for name, rows in features.items()}
        found = spread_answers(images, verdicts.found)
        scores = None if verdicts.scores is None else spread(images, verdicts.scores)
        items = build_items(image_requests, images, found, scorer, features.get(CLIP), scores)
        view = View(items, features, self.references(world, task, features), base)
        return Scored(items, view, images)

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

    def _embed(self, world: World, images: np.ndarray) -> dict[str, np.ndarray]:
        """Return the images' features by every extractor on this machine besides the world's own."""
        opened = {name: self.extractor(world, name) for name in find_extractors(world)}
        return {name: e.embed_images(images) for name, e in opened.items() if e is not None}

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

    def _draw(self, place: Place, image_requests: Sequence[ImageRequest]) -> list[np.ndarray | None]:
        """Draw the forget images first and in separate batches: they may be all that a point needs."""
        holder, point = place.holder, place.point
        drawing = Drawing(
            point.fingerprint,
            holder.sampling,
            str(holder.dtype),
            self.device,
            lambda: holder.generator(point.delta, place.find_weights()),
        )
        first = [
            i for i, image_request in enumerate(image_requests) if image_request.prompt.split == "forget"
        ]
        rest = [i for i, image_request in enumerate(image_requests) if image_request.prompt.split != "forget"]
        requests = [
            Request(
                image_request.prompt.text,
                image_request.seed,
                image_request.prompt.guidance,
                image_request.latents,
            )
            for image_request in image_requests
        ]
        done = 0
        with show_progress(place.title, len(image_requests)) as advance:

            def count(n: int) -> None:
                nonlocal done
                done += n
                advance(done, "")

            parts = [
                drawing.draw([requests[i] for i in part], self.store, count) for part in (first, rest) if part
            ]
        self.drawn += drawing.drawn
        images = dict(zip(first + rest, chain.from_iterable(parts), strict=True))
        return [images[i] for i in range(len(image_requests))]

    def _once(self, name: str, make: Callable[[], T]) -> T:
        if name not in self._opened:
            self._opened[name] = make()
        return self._opened[name]  # type: ignore[no-any-return]
