"""One cell on its way to a record: train or find its points, then draw, judge and score their images."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import pandas as pd
import torch

from ..environment import describe_environment
from ..measuring.needed import forget_requests, is_asked, reason_unscored
from ..measuring.pool import Part, take_part
from ..measuring.precision import choose_sample, count_flips
from ..measuring.requests import ImageRequest, list_requests, narrow_requests
from ..measuring.scorer import Place, PointScorer, Scored, place_of
from ..measuring.sheet import choose_columns, make_sheet
from ..metrics import compute
from ..metrics.rows import describe_failed
from ..models.device.precision import AUTO, choose_dtype
from ..models.generators import Holder, Sampling
from ..models.outside import name_models, open_holder
from ..models.points import ModelHolder, train_points
from ..models.saved.manifest import Manifest, PointManifest, reference_point
from ..planning.plan import Cell
from ..records.record import Record, items_digest
from ..records.training_images import PrecisionCheck, TrainingImages, not_judged
from ..registry import IMAGES, Entry, Registry
from ..store import Store
from ..training.families import check_folder
from ..types import Problem, View
from ..worlds.protocol import World
from .assemble import describe_cell, describe_judge, describe_point, name_captions, round_log
from .keys import cell_key, problem_fields, train_key


@dataclass(kw_only=True)
class Shared:
    """Shared by the cells of a run. worlds: name -> opened world. threads: where a suite states none.

    dtype: what models draw in and trainings compute in: `auto` or a type of `models/device/precision.py`.
    offload: how weights wait on the CPU while models draw (`models/device/offload.py`); "" = they do not.
    """

    store: Store
    device: str
    threads: int
    worlds: Mapping[str, World]
    metrics: Registry[Entry]
    command: str
    say: Callable[[str], None]
    dtype: str = AUTO
    offload: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)
    _holders: dict[tuple[str, str], Holder] = field(default_factory=dict)
    _bases: dict[tuple[str, str, int], Scored] = field(default_factory=dict)

    @cached_property
    def scorer(self) -> PointScorer:
        return PointScorer(self.store, self.device)

    def dtype_of(self, world: World) -> torch.dtype:
        """Return the type that a world's models draw in."""
        return choose_dtype(self.dtype, self.device, world.is_placed)

    def _holder(self, world: World, model: str = "") -> Holder:
        """Return the holder of a model, which opens it once; the world's own model where none is named."""
        where = (world.id, model)
        if where not in self._holders:
            side = world.pixels
            sampling = Sampling(world.steps, world.guidance, side, side, scheduler=world.scheduler)
            folder, frozen = world.pipeline_folder, not world.is_placed
            dtype = self.dtype_of(world)
            self._holders[where] = open_holder(
                model, folder, sampling, self.device, frozen, dtype, self.offload
            )
        return self._holders[where]


@dataclass
class CellRun:
    """One cell on its way: its world, keys, image requests and points, each made once, when first needed."""

    shared: Shared
    cell: Cell
    started: float = field(default_factory=time.monotonic)

    @cached_property
    def world(self) -> World:
        return self.shared.worlds[self.cell.task.file.world]

    @property
    def threads(self) -> int:
        """CPU threads to compute with: the suite's number, else the runner's."""
        return self.cell.suite.threads or self.shared.threads

    @property
    def dtype(self) -> str:
        """Type that the cell's models draw in, as torch names it."""
        return str(self.shared.dtype_of(self.world))

    @cached_property
    def train_key(self) -> str:
        shared = self.shared
        return train_key(self.cell, self.world, shared.device, self.threads, self.dtype)

    @cached_property
    def key(self) -> str:
        shared = self.shared
        return cell_key(self.cell, self.world, shared.metrics, shared.device, self.threads, self.dtype)

    @cached_property
    def requests(self) -> list[ImageRequest]:
        cell = self.cell
        found = list_requests(self.world, cell.task, cell.suite.sizes, cell.row.noise)
        return found if cell.turn is None else narrow_requests(found, cell.turn.targets)

    def measure(self) -> tuple[Record, pd.DataFrame, bytes | None]:
        """Return the cell's record, its item rows and its contact sheet."""
        torch.set_num_threads(self.threads)
        cell, metrics = self.cell, self.shared.metrics
        manifest, base = self.manifest, None if self.cell.is_base else self.base.view
        columns = [self.requests[i] for i in choose_columns(self.requests)]
        points, frames, tiles = [], [], []
        for index, point in enumerate(manifest.points):
            scored = self._score_point(point, base, index == len(manifest.points) - 1)
            view = replace(scored.view, interval_version=cell.interval_version)
            values, why = compute(metrics, view, metrics), scored.unscored
            points.append(describe_point(index, point, values, cell.row.shown, why, scored.failed))
            if failed := describe_failed(scored.items):
                self.shared.say(f"  {cell.row.name}: {points[-1].label}: {failed}; their values are missing")
            frames.append(scored.items.assign(point=index))
            tiles.append(scored.tiles(columns))
        items = pd.concat(frames, ignore_index=True)
        items = items[["point", *[c for c in items.columns if c != "point"]]]
        record = self.assemble(
            points=points,
            log=round_log(manifest.log),
            items_sha256=items_digest(items),
            training_images=None if cell.entry is None else self._look(),
            precision=self._compare_precision(manifest.points[-1], frames[-1]),
            sheet=[request.prompt.text for request in columns] if cell.has_sheet else [],
        )
        return record, items, make_sheet(tiles) if cell.has_sheet else None

    def _compare_precision(self, point: PointManifest, items: pd.DataFrame) -> PrecisionCheck | None:
        """Return how many verdicts on a sample of a point's images flip in float32; None in float32."""
        shared, holder = self.shared, self._holder(point.model)
        if holder.dtype == torch.float32 or not isinstance(holder, ModelHolder):
            return None
        sample = choose_sample([r for r in self.requests if is_asked(self.cell, point.step, r)])
        weights = self._find_weights(point)
        for other in shared._holders.values():
            other.close()  # one model at a time in the device's memory
        full = replace(holder, dtype=torch.float32)
        fingerprint = full.generator(point.delta, weights).fingerprint
        place = Place(
            self.world, full, replace(point, fingerprint=fingerprint), lambda: weights, "  in float32"
        )
        found = shared.scorer.score(place, self.cell.task, sample, None)
        full.close()
        return count_flips(items, found.items)

    def take_part(self) -> Part:
        """Return the features of the shown point's retain images, of concepts that were not given."""
        torch.set_num_threads(self.threads)
        point = self._shown_point()
        needed = [r for r in self.requests if r.prompt.split == "retain" and not r.prompt.given]
        return take_part(self._score(point, needed, None).view, self.cell.task.id, self.cell.seed)

    def _shown_point(self) -> PointManifest:
        points = self.manifest.points
        return next((p for p in points if p.step == self.cell.row.shown), points[-1])

    @cached_property
    def manifest(self) -> Manifest:
        """The points that the cell trained, or the models that it evaluates as they are."""
        store, stored = self.shared.store, self.shared.store.get("manifests", self.train_key)
        if self.cell.entry is not None:
            return self._train() if stored is None else Manifest.from_bytes(stored)
        named = name_models(self.cell.models)
        if stored is not None:
            return Manifest.from_bytes(stored).placed(named)
        points = [reference_point(self._holder(model), step, label, model) for step, label, model in named]
        manifest = Manifest(points, {})
        store.put("manifests", self.train_key, manifest.to_bytes())
        return manifest

    def _holder(self, model: str = "") -> Holder:
        return self.shared._holder(self.world, model)

    @cached_property
    def has_images(self) -> bool:
        """Whether the method gets training images: all that ship, and what a model draws only if needed."""
        entry = self.cell.entry
        return not self.world.training_draws or bool(entry and set(entry.needs) & set(IMAGES))

    def _problem(self) -> Problem:
        make = self.world.problem if self.has_images else self.world.problem_without_images
        return make(self.cell.trained, self.cell.suite.data, self.cell.seed)

    def _start(self) -> bytes | None:
        """Return the weights that training starts from: those of the sequence's step before, None = base."""
        if self.cell.before is None:
            return None
        before = CellRun(self.shared, self.cell.before)
        return before._find_weights(before._shown_point())

    def _train(self) -> Manifest:
        shared, cell, config = self.shared, self.cell, self.cell.build_config()
        assert cell.entry is not None
        check_folder(self.world.pipeline_folder, cell.entry.name, cell.entry.pipelines)
        start, problem, holder = self._start(), self._problem(), self._holder()
        assert isinstance(holder, ModelHolder)  # a world's own model is no function
        for line in self._look(problem).describe():
            shared.say(f"  {cell.row.name}: {line}")
        for other in shared._holders.values():
            other.close()  # one model at a time in the device's memory
        title = f"  {cell.row.name}: training"
        return train_points(holder, shared.store, self.train_key, problem, cell.entry, config, title, start)

    def _look(self, problem: Problem | None = None) -> TrainingImages:
        """Return what the cell's training images show; they are judged once for all methods."""
        if not self.has_images:
            return not_judged(problem or self._problem(), f"{self.cell.row.name} needs none")
        fields = problem_fields(self.cell, self.world)
        return self.shared.scorer.look(
            self.world, self.cell.trained, fields, lambda: problem or self._problem()
        )

    @cached_property
    def base(self) -> Scored:
        """The base model's own images of the task, judged once for all of the task's cells."""
        cell, known = self.cell, self.shared._bases
        key = (cell.task.id, cell.suite.sizes.model_dump_json(), cell.row.noise)
        if key not in known:
            reference = self.reference
            known[key] = reference._score(reference.manifest.points[0], reference.requests, None)
        return known[key]

    @cached_property
    def reference(self) -> "CellRun":
        """The base model's cell of the same task and noise."""
        cell = self.cell
        row = cell.row.model_copy(update={"config": {}})
        return CellRun(self.shared, Cell(cell.suite, cell.task, row, None, 0))

    def _score_point(self, point: PointManifest, base: View | None, is_last: bool) -> Scored:
        """Score a point; where it forgets too little for the others to matter, draw only forget images."""
        floor = self.cell.suite.unscored_below
        needed = [request for request in self.requests if is_asked(self.cell, point.step, request)]
        if floor and not is_last:
            first = self._score(point, forget_requests(needed), base)
            reason = reason_unscored(first.items, floor)
            if reason is not None:
                return replace(first, unscored=reason)
        return self._score(point, needed, base)

    def _score(self, point: PointManifest, requests: list[ImageRequest], base: View | None) -> Scored:
        keep = {place_of(self.requests[i]) for i in choose_columns(self.requests)}
        return self.shared.scorer.score(self.place(point), self.cell.task, requests, base, keep)

    def place(self, point: PointManifest) -> Place:
        """Return the source of a point's images."""
        title = f"  {self.cell.row.name}: step {point.step}, images"
        return Place(self.world, self._holder(point.model), point, lambda: self._find_weights(point), title)

    def _find_weights(self, point: PointManifest) -> bytes | None:
        """Return the bytes of a point's weights; a training whose weights the store lost is repeated."""
        if not point.delta:
            return None
        payload = self.shared.store.get("deltas", point.delta)
        if payload is None:
            self._train()
            payload = self.shared.store.get("deltas", point.delta)
        if payload is None:
            raise RuntimeError(f"training did not repeat: step {point.step} has other weights than before")
        return payload

    def assemble(self, **measured: Any) -> Record:
        """Return the cell's record. measured: fields of it (points, log, items_sha256, sheet), or `error`."""
        shared, cell = self.shared, self.cell
        holder = self._holder(cell.models[0] if cell.models else "")
        sampling = {**holder.sampling.stated(), "dtype": str(holder.dtype), "noise": cell.row.noise}
        return describe_cell(cell, self.world, self.requests).model_copy(
            update={
                "key": vars(self).get("key", ""),  # none where the sheet could not be made
                "status": "failed" if "error" in measured else "ok",
                "sampling": sampling | name_captions(cell.task),
                "metrics": {entry.name: entry.version for entry in shared.metrics.values()},
                "seconds": round(time.monotonic() - self.started, 3),
                "environment": describe_environment(shared.device, self.threads)
                | describe_judge(cell.task)
                | ({"offload": shared.offload} if shared.offload else {}),
                "command": shared.command,
                "tags": dict(shared.tags),
                **measured,
            }
        )
