"""Execute a plan: for each cell train (or find) its points, draw, judge, score, and write one record."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import pandas as pd

from ..environment import describe_environment
from ..measuring.needed import forget_requests, is_asked, reason_unscored
from ..measuring.pool import Part, take_part
from ..measuring.requests import ImageRequest, list_requests
from ..measuring.scorer import Place, PointScorer, Scored
from ..measuring.sheet import choose_columns, make_sheet
from ..metrics import compute
from ..metrics.rows import describe_failed
from ..models.generators import Sampling
from ..models.isolation.time_limit import TimeIsUp, limit_time
from ..models.outside import name_models, open_holder
from ..models.points import Manifest, PointManifest, reference_point, train_points
from ..places import clean_error
from ..planning.plan import Cell
from ..records.record import Record, items_digest, read_record, write_record
from ..records.sheets import check_whole
from ..records.training_images import TrainingImages
from ..registry import Entry, Registry
from ..store import Store, content_key
from ..training.families import check_folder
from ..types import Problem, View
from .assemble import describe_cell, describe_judge, describe_point, name_captions, round_log
from .failures import Failures
from .keys import cell_key, problem_fields, train_key
from .plugins import check_libraries, plugin_modules
from .pooled import pool_cells


@dataclass(frozen=True)
class Outcome:
    """What became of a cell: `measured`, `unchanged` (its record was there) or `failed`."""

    cell: Cell
    state: str
    path: Path
    drawn: int = 0


@dataclass
class Runner:
    """Runs cells one after the other. worlds: name -> opened world.

    cell_timeout: seconds that a cell may take; None = any. restart: goes on in a new process without a cell,
    named by its stem, that could not be stopped (`abandoned` there); None = no such process can be started.
    """

    store: Store
    folder: Path
    device: str
    threads: int
    worlds: dict[str, Any]
    metrics: Registry[Entry]
    command: str
    say: Callable[[str], None]
    cell_timeout: float | None = None
    restart: Callable[[str], None] | None = None
    abandoned: frozenset[str] = frozenset()
    _plugins: set[str] = field(default_factory=set)
    _holders: dict[tuple[str, str], Any] = field(default_factory=dict)
    _bases: dict[str, Scored] = field(default_factory=dict)

    @cached_property
    def _scorer(self) -> PointScorer:
        return PointScorer(self.store, self.device)

    def run(self, cells: list[Cell]) -> list[Outcome]:
        """Run every cell; one that fails is recorded as failed and the others go on."""
        self._plugins |= plugin_modules(cells, self.metrics)
        outcomes = []
        for number, cell in enumerate(cells, 1):
            title = f"[{number}/{len(cells)}] {cell.task.id} {cell.row.name} seed {cell.seed}"
            outcomes.append(self._run_cell(cell, title))
        return outcomes

    def _run_cell(self, cell: Cell, title: str) -> Outcome:
        path = self.folder / f"{cell.stem}.json"
        if cell.stem in self.abandoned:  # its record was written before this process took over
            return Outcome(cell, "failed", path)
        started, key = time.monotonic(), ""
        try:
            key = self.cell_key(cell)
            if self._is_done(path, key):
                return Outcome(cell, "unchanged", path)
            self.say(title)
            before = self._scorer.drawn
            with limit_time(self.cell_timeout, lambda: self._abandon(cell, title, key, started)):
                check_libraries(self._plugins)
                record, items, sheet = self._measure(cell, key, started)
            write_record(record, items, sheet, self.folder, seal=True)
        except (Exception, TimeIsUp) as error:
            return self._fail(cell, title, key, started, error)
        self._failures.clear(cell.stem)
        return Outcome(cell, "measured", path, self._scorer.drawn - before)

    @cached_property
    def _failures(self) -> Failures:
        return Failures(self.folder, self.say)

    def _fail(self, cell: Cell, title: str, key: str, started: float, error: BaseException) -> Outcome:
        told = clean_error(f"{type(error).__name__}: {error}")
        self._failures.note(cell.stem, title, error, lambda: self._assemble(cell, key, started, error=told))
        return Outcome(cell, "failed", self.folder / f"{cell.stem}.json")

    def _abandon(self, cell: Cell, title: str, key: str, started: float) -> None:
        """Record a cell that does not end though its time is up, and go on without it in a new process."""
        error = TimeIsUp(f"took longer than {self.cell_timeout:g} s, and could not be stopped")
        self._fail(cell, title, key, started, error)
        if self.restart is not None:
            self.restart(cell.stem)

    def pending(self, cells: list[Cell]) -> list[Cell]:
        """Return the cells whose record is not there yet."""
        return [c for c in cells if not self._is_done(self.folder / f"{c.stem}.json", self.cell_key(c))]

    def pool(self, cells: list[Cell]) -> None:
        """Write the pooled distances of each row's shown points; nothing where they are written already."""
        pool_cells(self.folder, cells, self.worlds.values(), self.cell_key, self._part)

    def _part(self, cell: Cell) -> Part:
        world = self.worlds[cell.task.file.world]
        points = self._manifest(cell, world).points
        point = next((p for p in points if p.step == cell.row.shown), points[-1])
        image_requests = [
            a
            for a in self._asks(cell, world, cell.row.noise)
            if a.prompt.split == "retain" and not a.prompt.given
        ]
        return take_part(self._score(cell, point, image_requests, None).view, cell.task.id, cell.seed)

    def _is_done(self, path: Path, key: str) -> bool:
        if not path.exists():
            return False
        try:
            record = read_record(path)
            if record.key != key or record.status != "ok":
                return False
            check_whole(path, record)
        except Exception as error:
            self.say(f"{error}; measured again")
            return False
        return True

    def cell_key(self, cell: Cell) -> str:
        return cell_key(cell, self.worlds[cell.task.file.world], self.metrics, self.device, self.threads)

    def train_key(self, cell: Cell) -> str:
        return train_key(cell, self.worlds[cell.task.file.world], self.device, self.threads)

    def _measure(self, cell: Cell, key: str, started: float) -> tuple[Record, pd.DataFrame, bytes | None]:
        world = self.worlds[cell.task.file.world]
        manifest = self._manifest(cell, world)
        image_requests = self._asks(cell, world, cell.row.noise)
        base = self._base(cell, world)
        columns = [image_requests[i] for i in choose_columns(image_requests)]
        points, frames, tiles = [], [], []
        for index, point in enumerate(manifest.points):
            is_last = index == len(manifest.points) - 1
            scored = self._score_point(cell, point, image_requests, None if cell.is_base else base, is_last)
            view = replace(scored.view, interval_version=cell.interval_version)
            values = compute(self.metrics, view, self.metrics)
            shown, why = cell.row.shown, scored.unscored
            points.append(describe_point(index, point, values, shown, why, scored.failed))
            if failed := describe_failed(scored.items):
                self.say(f"  {cell.row.name}: {points[-1].label}: {failed}; values of theirs are missing")
            frames.append(scored.items.assign(point=index))
            tiles.append(scored.tiles(columns))
        items = pd.concat(frames, ignore_index=True)
        items = items[["point", *[c for c in items.columns if c != "point"]]]
        sheet = make_sheet(tiles) if cell.has_sheet else None
        captions = [image_request.prompt.text for image_request in columns] if cell.has_sheet else []
        measured = {
            "points": points,
            "log": round_log(manifest.log),
            "items_sha256": items_digest(items),
            "training_images": None if cell.entry is None else self._look(cell, world),
        }
        record = self._assemble(cell, key, started, **measured, sheet=captions)
        return record, items, sheet

    def _holder(self, world: Any, model: str = "") -> Any:
        where = (world.id, model)
        if where not in self._holders:
            scheduler = getattr(world, "scheduler", "")
            sampling = Sampling(world.steps, world.guidance, world.pixels, world.pixels, scheduler=scheduler)
            frozen = not hasattr(world, "placed")  # no place of the user's, but files that ship or were made
            self._holders[where] = open_holder(model, world.pipeline_folder, sampling, self.device, frozen)
        return self._holders[where]

    def _manifest(self, cell: Cell, world: Any) -> Manifest:
        key = self.train_key(cell)
        stored = self.store.get("manifests", key)
        if cell.entry is not None:
            return self._train(cell, world, key) if stored is None else Manifest.from_bytes(stored)
        named = name_models(cell.models)
        if stored is not None:
            return Manifest.from_bytes(stored).placed(named)
        manifest = Manifest([self._as_it_is(world, *model) for model in named], {})
        self.store.put("manifests", key, manifest.to_bytes())
        return manifest

    def _as_it_is(self, world: Any, step: int, label: str, model: str) -> PointManifest:
        return reference_point(self._holder(world, model), step, label, model)

    def _train(self, cell: Cell, world: Any, key: str) -> Manifest:
        assert cell.entry is not None
        config = cell.build_config()
        check_folder(world.pipeline_folder, cell.entry.name, cell.entry.pipelines)
        problem = world.problem(cell.task, cell.suite.data, cell.seed)
        for line in self._look(cell, world, problem).describe():
            self.say(f"  {cell.row.name}: {line}")
        for holder in self._holders.values():
            holder.close()  # one model at a time in the device's memory
        title = f"  {cell.row.name}: training"
        return train_points(self._holder(world), self.store, key, problem, cell.entry, config, title)

    def _look(self, cell: Cell, world: Any, problem: Problem | None = None) -> TrainingImages:
        """Return what a cell's training images show; they are judged once for all methods."""
        make = partial(world.problem, cell.task, cell.suite.data, cell.seed)
        return self._scorer.look(world, cell.task, problem_fields(cell, world), lambda: problem or make())

    def _asks(self, cell: Cell, world: Any, noise: int) -> list[ImageRequest]:
        return list_requests(world, cell.task, cell.suite.sizes, noise)

    def _base(self, cell: Cell, world: Any) -> Scored:
        """Return the base model's own images of the task, judged once for all of the task's cells."""
        key = content_key(
            {"task": cell.task.id, "sizes": cell.suite.sizes.model_dump(), "noise": cell.row.noise}
        )
        if key not in self._bases:
            reference = Cell(cell.suite, cell.task, cell.row.model_copy(update={"config": {}}), None, 0)
            point = self._manifest(reference, world).points[0]
            image_requests = self._asks(cell, world, cell.row.noise)
            self._bases[key] = self._score(reference, point, image_requests, None)
        return self._bases[key]

    def _score_point(
        self,
        cell: Cell,
        point: PointManifest,
        image_requests: list[ImageRequest],
        base: Scored | None,
        is_last: bool,
    ) -> Scored:
        """Score a point; its forget images alone where it forgets too little for the others to matter."""
        view, floor = None if base is None else base.view, cell.suite.unscored_below
        needed = [
            image_request for image_request in image_requests if is_asked(cell, point.step, image_request)
        ]
        if not floor or is_last:
            return self._score(cell, point, needed, view)
        first = self._score(cell, point, forget_requests(needed), view)
        reason = reason_unscored(first.items, floor)
        if reason is not None:
            return replace(first, unscored=reason)
        return self._score(cell, point, needed, view)

    def _score(
        self, cell: Cell, point: PointManifest, image_requests: list[ImageRequest], base: View | None
    ) -> Scored:
        world = self.worlds[cell.task.file.world]
        title = f"  {cell.row.name}: step {point.step}, images"
        place = Place(
            world, self._holder(world, point.model), point, lambda: self._weights(cell, world, point), title
        )
        return self._scorer.score(place, cell.task, image_requests, base)

    def _weights(self, cell: Cell, world: Any, point: PointManifest) -> bytes | None:
        """Return a point's delta; where the store lost it, the same training gives the same weights."""
        if not point.delta:
            return None
        payload = self.store.get("deltas", point.delta)
        if payload is None:
            self._train(cell, world, self.train_key(cell))
            payload = self.store.get("deltas", point.delta)
        if payload is None:
            raise RuntimeError(f"training did not repeat: step {point.step} has other weights than before")
        return payload

    def _assemble(self, cell: Cell, key: str, started: float, **measured: Any) -> Record:
        """Return a cell's record of what was `measured` (points, log, items_sha256, sheet) or its `error`."""
        world = self.worlds[cell.task.file.world]
        image_requests = self._asks(cell, world, cell.row.noise)
        holder = self._holder(world, cell.models[0] if cell.models else "")
        return describe_cell(cell, world, image_requests).model_copy(
            update={
                "key": key,
                "status": "failed" if "error" in measured else "ok",
                "sampling": {**holder.sampling.stated(), "dtype": str(holder.dtype), "noise": cell.row.noise}
                | name_captions(cell.task),
                "metrics": {entry.name: entry.version for entry in self.metrics.values()},
                "seconds": round(time.monotonic() - started, 3),
                "environment": describe_environment(self.device, self.threads) | describe_judge(cell.task),
                "command": self.command,
                **measured,
            }
        )
