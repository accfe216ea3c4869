"""Pooling: the distances of a folder of records, from its records and the store."""

import io
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import UserError
from ..measuring.extractors import find_extractors
from ..measuring.items import image_digest, read_guidance
from ..measuring.pool import BASE_ROW, Part, Row, digest_of
from ..measuring.scorer import PointScorer
from ..measuring.stored import Origin
from ..metrics.features import LITE0, WORLD
from ..metrics.rows import describe_failed
from ..models.sampling import decode_png
from ..store import Store, content_key, default_folder
from .catalog import task_registry
from .session import WorldSettings, choose_device, open_worlds, set_threads


@dataclass(frozen=True)
class Run:
    """One record of a row: the point that is read, and its retain rows of concepts that were not given."""

    name: str
    origin: Origin
    rows: Any


def read_rows(folder: Path) -> dict[str, list[Run]]:
    """Return the runs of each row of a folder's board, one point each: the shown one, else the last.

    Configurations of which no point is shown, though one of another configuration is, stand for nothing.
    """
    from ..records.load import load

    found: dict[str, list[Any]] = {}
    for entry in load(folder):
        if entry.record.source == "measured" and entry.record.task.role == "evaluated":
            found.setdefault(entry.row, []).append(entry)
    if BASE_ROW not in found:
        raise UserError(
            f"{folder}: has no record of `{BASE_ROW}`, whose number of images all rows must have; run it, too"
        )
    return {name: [_make_run(name, entry) for entry in _shown(entries)] for name, entries in found.items()}


def _shown(entries: Sequence[Any]) -> list[Any]:
    """Return the records of the configurations of which some point is shown; all, where none is."""
    chosen = {content_key(e.record.method.config) for e in entries if any(p.shown for p in e.record.points)}
    return [e for e in entries if not chosen or content_key(e.record.method.config) in chosen]


def _make_run(name: str, entry: Any) -> Run:
    record, items = entry.record, entry.items
    if record.status != "ok" or items is None:
        raise UserError(f"{entry.name}: status: the run failed, so {name} cannot be pooled; run it again")
    point = next((point for point in record.points if point.shown), record.points[-1])
    kept = (items["point"] == point.index) & (items["split"] == "retain") & ~items["given"].astype(bool)
    return Run(name, Origin(record, point), items[kept])


def make_row(runs: Sequence[Run], parts: Sequence[Part | str]) -> Row:
    """Return a row of its runs' parts, each a text where images of it are lacking."""
    images: dict[int, int] = {}
    for run in runs:
        seed = run.origin.record.seed
        images[seed] = images.get(seed, 0) + len(run.rows)
    made_from = digest_of(run.origin.record for run in runs)
    row = Row(made_from, images, tuple(part for part in parts if isinstance(part, Part)))
    lacking = [part for part in parts if isinstance(part, str)]
    return replace(row, lacking=lacking[0]) if lacking else row


def world_of(folder: Path, by_row: dict[str, list[Run]]) -> str:
    """Return the name of the world of all records; UserError where they are of several."""
    names = sorted({run.origin.record.task.world for runs in by_row.values() for run in runs})
    if len(names) > 1:
        raise UserError(f"{folder}: task.world: records of {' and '.join(names)} cannot be pooled together")
    return names[0].partition("@")[0]


class Place:
    """The store and the judges: finds a run's images and embeds them. lacking, asked: images so far."""

    def __init__(self, store: Path | None, settings: WorldSettings, world: str) -> None:
        folder = store or default_folder()
        if not (folder / "images").is_dir():
            raise UserError(f"--store {folder}: holds no images; `unlearnbench run` draws them")
        self.settings, self.lacking, self.asked = settings, 0, 0
        device = choose_device(None)
        set_threads(None)
        self.world = open_worlds({world}, settings, device)[world]
        self.store = Store(folder, lambda line: print(line, file=sys.stderr))
        self.scorer = PointScorer(self.store, device)

    @cached_property
    def tasks(self) -> Any:
        return task_registry(self.settings.world_folder)

    def check(self, runs: Sequence[Run]) -> None:
        """Raise UserError where this version judges otherwise than a record says."""
        for record in (run.origin.record for run in runs):
            now = {"world": self.world.id, "judge": self.tasks[record.task.id].file.judge}
            for field, value in now.items():
                if getattr(record.task, field) != value:
                    said = f"{record.cell}.json: task.{field}: is {getattr(record.task, field)}"
                    raise UserError(f"{said}, this version has {value}; run the suite again")

    def take(self, run: Run) -> Part | str:
        """Return a run's part, or what of it is lacking."""
        record = run.origin.record
        task = self.tasks[record.task.id]
        if run.rows.empty:
            return f"{record.cell}: no retain image was asked of this point"
        if failed := describe_failed(run.rows):
            return f"{record.cell}: {failed}"
        images = [self._find(run.origin, row) for row in run.rows.to_dict("records")]
        lacking = sum(image is None for image in images)
        self.asked, self.lacking = self.asked + len(images), self.lacking + lacking
        if lacking:
            return f"{lacking} of {len(images)} images of {record.cell} are not in the store"
        features = self._embed(task, np.stack([image for image in images if image is not None]), run.rows)
        return Part(task.id, record.seed, features, self.scorer.references(self.world, task, features))

    def _find(self, origin: Origin, row: dict[Any, Any]) -> np.ndarray | None:
        """Return an image's pixels; None where there is none, or one with other pixels."""
        png = origin.find_image(self.store, str(row["prompt"]), int(row["seed"]), read_guidance(row))
        image = None if png is None else decode_png(png)
        return image if image is not None and image_digest(image) == row["image_sha256"] else None

    def _embed(self, task: Any, images: np.ndarray, rows: Any) -> dict[str, np.ndarray]:
        features = {WORLD: self.scorer.judge_of(self.world, task).judge(images).features}
        version = find_extractors(self.world).get(LITE0)
        if version is None:
            return features
        # a fortieth of a second an image: kept, so that an interrupted command goes on where it stopped
        key = content_key({"images": list(rows["image_sha256"]), "extractor": LITE0, "version": version})
        stored = self.store.get("features", key)
        if stored is None:
            buffer = io.BytesIO()
            embedded = self.scorer.extractor(self.world, LITE0).embed_images(images)
            np.save(buffer, embedded, allow_pickle=False)
            stored = buffer.getvalue()
            self.store.put("features", key, stored)
        return {**features, LITE0: np.load(io.BytesIO(stored), allow_pickle=False)}
