"""The parts of a cell: its training, batches of images, first looks at points, its record."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from ...measuring.needed import forget_requests, is_asked, reason_unscored
from ...measuring.requests import ImageRequest
from ...measuring.scorer import Place, split_requests, to_draw
from ...models.saved.manifest import Manifest, PointManifest
from ...store import content_key
from ..cell_run import CellRun

BATCHES = 4
"""Batches of images in a part: one to two minutes of a real model on a GPU."""
NEEDED, NOT_NEEDED = b"1", b"0"


@dataclass(frozen=True)
class Part:
    """A piece of work. name: of its lease, by content: cells that share a part share its lease."""

    name: str
    is_done: Callable[[], bool]
    do: Callable[[], None]


@dataclass
class CellParts:
    """The parts of one cell, each made when what it needs is there. They end where only the record lacks."""

    run: CellRun
    _cut: dict[tuple[int, str], tuple[list[Part], list[Part]]] = field(default_factory=dict)

    def open_parts(self) -> list[Part]:
        """Return the parts that can be worked on now; none where only the record is left to make."""
        training = self._training()
        return [training] if training else [part for part in self._drawing() if not part.is_done()]

    def _training(self) -> Part | None:
        run, store = self.run, self.run.shared.store
        if run.cell.entry is None or "manifest" in vars(run):
            return None
        stored = store.get("manifests", run.train_key)
        if stored is not None:
            vars(run)["manifest"] = Manifest.from_bytes(stored)
            return None
        if run.cell.before is not None:  # one worker trains it for all later steps of the sequence
            before = CellParts(CellRun(run.shared, run.cell.before))._training()
            if before is not None:
                return before

        def train() -> None:
            _ = run.manifest

        name = content_key({"train": run.train_key})
        return Part(name, lambda: store.has("manifests", run.train_key), train)

    def _drawing(self) -> Iterator[Part]:
        """Yield the parts of the images that are known to be needed, and of first looks."""
        run = self.run
        points, floor, store = run.manifest.points, run.cell.suite.unscored_below, run.shared.store
        for index, point in enumerate(points):
            first, rest = self._batches(point, [r for r in run.requests if is_asked(run.cell, point.step, r)])
            yield from first
            if not floor or index == len(points) - 1:
                yield from rest
            elif all(part.is_done() for part in first):
                look = self._look(point, floor)
                yield look
                if store.get("needed", look.name) == NEEDED:
                    yield from rest
        if not run.cell.is_base:
            yield from self._of_base

    @cached_property
    def _of_base(self) -> list[Part]:
        reference = CellParts(self.run.reference)
        first, rest = reference._batches(reference.run.manifest.points[0], reference.run.requests)
        return [*first, *rest]

    def _batches(
        self, point: PointManifest, requests: Sequence[ImageRequest]
    ) -> tuple[list[Part], list[Part]]:
        """Return the parts of a point's forget images, and those of its others."""
        where = point.step, point.fingerprint
        if where not in self._cut:
            first, rest = split_requests(requests)
            self._cut[where] = self._cut_parts(point, first), self._cut_parts(point, rest)
        return self._cut[where]

    def _cut_parts(self, point: PointManifest, requests: Sequence[ImageRequest]) -> list[Part]:
        """Return parts of whole batches, as one process cuts them: pixels depend on the batch."""
        run, place = self.run, self.run.place(point)
        drawing = place.drawing(run.shared.device)
        batches = list(drawing.cut([to_draw(image_request) for image_request in requests]))
        parts = []
        for start in range(0, len(batches), BATCHES):
            part = [requests[i] for places in batches[start : start + BATCHES] for i in places]
            parts.append(self._draw(place, part, drawing.key(to_draw(part[-1]))))
        return parts

    def _draw(self, place: Place, requests: list[ImageRequest], last: str) -> Part:
        """Return the part that draws some images. Its last image is drawn last; one that the store loses
        before it is judged is drawn again then."""
        scorer, store = self.run.shared.scorer, self.run.shared.store
        return Part(
            content_key({"images": last}),
            lambda: store.has("images", last),
            lambda: scorer.fill(place, requests),
        )

    def _look(self, point: PointManifest, floor: float) -> Part:
        """Return the part that says whether a point's other images are needed."""
        run, store = self.run, self.run.shared.store
        name = content_key({"needed": [run.key, point.step]})

        def look() -> None:
            needed = forget_requests([r for r in run.requests if is_asked(run.cell, point.step, r)])
            reason = reason_unscored(run._score(point, needed, None).items, floor)
            store.put("needed", name, NEEDED if reason is None else NOT_NEEDED)

        return Part(name, lambda: store.has("needed", name), look)
