"""Execute a plan: for each cell train (or find) its points, draw, judge, score, and write one record."""

import json
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd

from .config import build
from .environment import describe_environment, find_commit
from .generators import Sampling, files_digest
from .metrics import compute
from .plan import Cell
from .points import Manifest, ModelHolder, PointManifest, reference_manifest, train_points
from .progress import show_progress
from .records import (
    Cost,
    MethodInfo,
    PointInfo,
    Record,
    TaskInfo,
    items_digest,
    read_record,
    write_record,
)
from .registry import Entry, Registry
from .sampling import NOISE_VERSION, Drawing, Request, noise_seed
from .scoring import Ask, build_items
from .sheet import choose_columns, make_sheet
from .source import source_digest
from .store import Store, content_key
from .types import View

INTERVAL = "prompts and noise, one training run"
SCORING_MODULES = (
    "unlearnbench.bench.scoring",
    "unlearnbench.bench.judges.emoji",
    "unlearnbench.bench.judges.clip",
)


@dataclass(frozen=True)
class Outcome:
    """What became of a cell: `measured`, `unchanged` (its record was there) or `failed`."""

    cell: Cell
    state: str
    path: Path
    drawn: int = 0


@dataclass(frozen=True)
class Scored:
    """A point's item rows and features, and the images of the contact sheet."""

    items: pd.DataFrame
    view: View
    tiles: Any
    drawn: int


@dataclass
class Runner:
    """Runs cells one after the other. worlds: name -> opened world."""

    store: Store
    folder: Path
    device: str
    threads: int
    worlds: dict[str, Any]
    metrics: Registry[Entry]
    command: str
    say: Callable[[str], None]
    _holders: dict[str, ModelHolder] = field(default_factory=dict)
    _bases: dict[str, Scored] = field(default_factory=dict)

    def run(self, cells: list[Cell]) -> list[Outcome]:
        """Run every cell; one that fails is recorded as failed and the others go on."""
        outcomes = []
        for number, cell in enumerate(cells, 1):
            title = f"[{number}/{len(cells)}] {cell.task.id} {cell.row.name} seed {cell.seed}"
            outcomes.append(self._run_cell(cell, title))
        return outcomes

    def _run_cell(self, cell: Cell, title: str) -> Outcome:
        key, path = self.cell_key(cell), self.folder / f"{cell.stem}.json"
        if self._is_done(path, key):
            return Outcome(cell, "unchanged", path)
        self.say(title)
        started = time.monotonic()
        try:
            record, items, sheet, drawn = self._measure(cell, key, started)
        except (KeyboardInterrupt, SystemExit):
            raise
        except Exception as error:
            self.say(f"{title}: failed: {type(error).__name__}: {error}")
            (self.folder / "failures").mkdir(parents=True, exist_ok=True)
            (self.folder / "failures" / f"{cell.stem}.txt").write_text(
                traceback.format_exc(), encoding="utf-8"
            )
            failed = self._assemble(cell, key, started, error=f"{type(error).__name__}: {error}")
            return Outcome(cell, "failed", write_record(failed, None, None, self.folder))
        return Outcome(cell, "measured", write_record(record, items, sheet, self.folder), drawn)

    def pending(self, cells: list[Cell]) -> list[Cell]:
        """Return the cells whose record is not there yet."""
        return [c for c in cells if not self._is_done(self.folder / f"{c.stem}.json", self.cell_key(c))]

    def _is_done(self, path: Path, key: str) -> bool:
        if not path.exists():
            return False
        try:
            record = read_record(path)
        except Exception as error:
            self.say(f"{error}; measured again")
            path.unlink()
            return False
        return record.key == key and record.status == "ok" and path.with_suffix(".parquet").exists()

    def cell_key(self, cell: Cell) -> str:
        """Return the key of a cell's record: its training, its prompts, its judges and its metrics."""
        return content_key(
            {
                "train": self.train_key(cell),
                "sizes": cell.suite.sizes.model_dump(),
                "noise": [cell.row.noise, NOISE_VERSION],
                "metrics": {entry.name: entry.version for entry in self.metrics.values()},
                "scoring": source_digest(
                    *SCORING_MODULES, *(entry.module for entry in self.metrics.values())
                ),
            }
        )

    def train_key(self, cell: Cell) -> str:
        """Return the key of a cell's training: config, problem, world, and the source that trains."""
        world = self.worlds[cell.task.file.world]
        environment = describe_environment(self.device, self.threads)
        fields: dict[str, Any] = {
            "world": world.digest,
            "device": self.device,
            "threads": self.threads,
            "libraries": environment["packages"],
            "model": files_digest(cell.model),
        }
        if cell.entry is not None:
            fields |= {
                "task": cell.task.concept.model_dump() | {"suite": sorted(cell.task.suite_targets)},
                "method": cell.entry.name,
                "config": cell.row.config,
                "seed": cell.seed,
                "data": cell.suite.data,
                "source": source_digest(cell.entry.module, "unlearnbench.bench.worlds.emoji.problems"),
            }
        return content_key(fields)

    def _measure(self, cell: Cell, key: str, started: float) -> tuple[Record, pd.DataFrame, bytes, int]:
        world = self.worlds[cell.task.file.world]
        manifest = self._manifest(cell, world)
        asks = self._asks(cell, world, cell.row.noise)
        base = self._base(cell, world)
        points, frames, tiles, drawn = [], [], [], 0
        for index, point in enumerate(manifest.points):
            scored = self._score(cell, world, point, asks, None if _is_base(cell) else base.view)
            values = compute(self.metrics, scored.view, self.metrics)
            points.append(_point_info(index, point, values))
            frames.append(scored.items.assign(point=index))
            tiles.append(scored.tiles)
            drawn += scored.drawn
        items = pd.concat(frames, ignore_index=True)
        items = items[["point", *[c for c in items.columns if c != "point"]]]
        sheet = make_sheet(tiles)
        captions = [asks[i].prompt.text for i in choose_columns(asks)]
        record = self._assemble(
            cell, key, started, points=points, log=manifest.log, items=items_digest(items), sheet=captions
        )
        return record, items, sheet, drawn

    def _holder(self, world: Any, model: str = "") -> ModelHolder:
        where = model or str(world.pipeline_folder)
        if where not in self._holders:
            sampling = Sampling(world.steps, world.guidance, world.pixels, world.pixels)
            self._holders[where] = ModelHolder(where, sampling, self.device)
        return self._holders[where]

    def _manifest(self, cell: Cell, world: Any) -> Manifest:
        key, holder = self.train_key(cell), self._holder(world, cell.model)
        if cell.entry is None:
            return reference_manifest(holder, self.store, key)
        stored = self.store.get("manifests", key)
        return self._train(cell, world, key) if stored is None else Manifest.from_bytes(stored)

    def _train(self, cell: Cell, world: Any, key: str) -> Manifest:
        assert cell.entry is not None
        config = build(cell.entry.load_config(), cell.row.config, f"{cell.suite.name}: {cell.row.name}")
        problem = world.problem(cell.task, cell.suite.data, cell.seed)
        unlearn = cell.entry.load()
        return train_points(
            self._holder(world), self.store, key, problem, unlearn, config, f"  {cell.row.name}: training"
        )

    def _asks(self, cell: Cell, world: Any, noise: int) -> list[Ask]:
        sizes = cell.suite.sizes
        prompts = world.prompts(cell.task, sizes)
        return [
            Ask(prompt, sample, noise_seed(noise, cell.task.id, prompt.id, sample))
            for prompt in prompts
            for sample in range(sizes.forget_samples if prompt.split == "forget" else 1)
        ]

    def _base(self, cell: Cell, world: Any) -> Scored:
        """Return the base model's own images of the task, judged once for all of the task's cells."""
        key = content_key(
            {"task": cell.task.id, "sizes": cell.suite.sizes.model_dump(), "noise": cell.row.noise}
        )
        if key not in self._bases:
            reference = Cell(cell.suite, cell.task, cell.row.model_copy(update={"config": {}}), None, 0)
            point = self._manifest(reference, world).points[0]
            self._bases[key] = self._score(
                reference, world, point, self._asks(cell, world, cell.row.noise), None
            )
        return self._bases[key]

    def _score(
        self, cell: Cell, world: Any, point: PointManifest, asks: list[Ask], base: View | None
    ) -> Scored:
        holder = self._holder(world, cell.model)

        def open_generator() -> Any:
            payload = self.store.get("deltas", point.delta) if point.delta else None
            if point.delta and payload is None:  # pruned or corrupt: the same training gives the same weights
                self._train(cell, world, self.train_key(cell))
                payload = self.store.get("deltas", point.delta)
            return holder.generator(point.delta, payload)

        drawing = Drawing(point.fingerprint, holder.sampling, str(holder.dtype), self.device, open_generator)
        requests = [Request(ask.prompt.text, ask.seed) for ask in asks]
        done = 0
        with show_progress(f"  {cell.row.name}: step {point.step}, images", len(requests)) as advance:

            def count(n: int) -> None:
                nonlocal done
                done += n
                advance(done, "")

            images = drawing.draw(requests, self.store, count)
        verdicts = self._judge(world).judge(images)
        items = build_items(asks, images, verdicts.found, self._scorer(world))
        view = View(items, {"world": verdicts.features}, {"world": world.reference(cell.task)}, base)
        return Scored(items, view, images[choose_columns(asks)], drawing.drawn)

    def _judge(self, world: Any) -> Any:
        return self._once(f"judge {world.id}", world.open_judge)

    def _scorer(self, world: Any) -> Any:
        return self._once(f"scorer {world.id}", world.open_alignment)

    def _once(self, name: str, make: Callable[[], Any]) -> Any:
        cache = self.__dict__.setdefault("_opened", {})
        if name not in cache:
            cache[name] = make()
        return cache[name]

    def _assemble(
        self,
        cell: Cell,
        key: str,
        started: float,
        points: list[PointInfo] | None = None,
        log: dict[str, list[float | None]] | None = None,
        items: str | None = None,
        sheet: list[str] | None = None,
        error: str | None = None,
    ) -> Record:
        world = self.worlds[cell.task.file.world]
        holder = self._holder(world, cell.model)
        prompts = [[a.prompt.id, a.sample, a.seed] for a in self._asks(cell, world, cell.row.noise)]
        return Record(
            cell=cell.stem,
            key=key,
            suite=cell.suite.name,
            source="measured",
            status="ok" if error is None else "failed",
            error=error,
            task=_task_info(cell, world),
            method=_method_info(cell),
            seed=cell.seed,
            data=cell.suite.data,
            sampling={**vars(holder.sampling), "dtype": str(holder.dtype), "noise": cell.row.noise},
            prompts_sha256=content_key({"prompts": prompts}),
            metrics={entry.name: entry.version for entry in self.metrics.values()},
            interval=INTERVAL,
            points=points or [],
            log=log or {},
            items_sha256=items,
            sheet=sheet or [],
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            seconds=round(time.monotonic() - started, 3),
            environment=describe_environment(self.device, self.threads),
            command=self.command,
            commit=find_commit(),
        )


def _is_base(cell: Cell) -> bool:
    return cell.entry is None and not cell.model


def _point_info(index: int, point: PointManifest, values: dict[str, Any]) -> PointInfo:
    cost = Cost(
        seconds=point.seconds, memory_bytes=point.memory, parameters=point.parameters, delta_bytes=point.bytes
    )
    return PointInfo(
        index=index,
        step=point.step,
        label=str(point.step),
        fingerprint=point.fingerprint,
        values=values,
        cost=cost,
    )


def _task_info(cell: Cell, world: Any) -> TaskInfo:
    file, concept = cell.task.file, cell.task.concept
    return TaskInfo(
        id=cell.task.id,
        family=file.family,
        concept=concept.name,
        anchor=concept.anchor,
        world=world.id,
        judge=file.judge,
        role=concept.role,
        version=file.version,
        targets=concept.targets,
    )


def _method_info(cell: Cell) -> MethodInfo:
    if cell.model:
        return MethodInfo(
            name=cell.row.name,
            version=1,
            summary="a model evaluated as it is",
            paper="",
            config=cell.row.config,
        )
    if cell.entry is None:
        return MethodInfo(
            name=cell.row.name,
            version=1,
            summary="the base model itself, nothing forgotten",
            paper="",
            config={},
            reference=True,
        )
    config = build(cell.entry.load_config(), cell.row.config, f"{cell.suite.name}: {cell.row.name}")
    full = json.loads(config.model_dump_json()) if hasattr(config, "model_dump_json") else dict(vars(config))
    return MethodInfo(
        name=cell.entry.name,
        version=cell.entry.version,
        summary=cell.entry.summary,
        paper=cell.entry.paper,
        config=full,
    )
