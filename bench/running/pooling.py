"""Pooling: distances over the images of all concepts together, of a run or of a folder of records."""

import io
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import UserError
from ..measuring.extractors import find_extractors
from ..measuring.items import image_digest, read_guidance
from ..measuring.pool import (
    BASE_ROW,
    Part,
    Row,
    digest_of,
    make_pooled,
    read_pooled,
    whole_row,
    write_pooled,
)
from ..measuring.scorer import PointScorer
from ..measuring.stored import Origin
from ..measuring.streaming import look_at
from ..metrics.features import LITE0
from ..metrics.rows import describe_failed
from ..models.sampling import decode_png
from ..planning.plan import Cell
from ..planning.tasks import Task
from ..progress import show_progress
from ..records.record import name_row, read_record
from ..registry import Registry
from ..store import Store, content_key
from ..worlds.protocol import World
from .keys import pool_key


def pool_cells(
    folder: Path,
    cells: Sequence[Cell],
    worlds: Iterable[World],
    key_of: Callable[[Cell], str],
    part_of: Callable[[Cell], Part],
) -> None:
    """Write the pooled distances of each row's shown points; nothing where they are written already.

    key_of: a cell's key. part_of: a cell's images and features. A row without a point chosen beforehand is
    read at its last one. Rows of the folder that are not among the cells keep their values; a row of which
    the cells are only a part is left as it is, and all rows are where the base model's is such a row.
    """
    shown = [cell for cell in cells if cell.row.shown != 0]
    key = pool_key([key_of(cell) for cell in shown], worlds)
    there = read_pooled(folder)
    if there is not None and there.key == key:
        return
    by_row: dict[str, list[tuple[Cell, Part]]] = {}
    with show_progress("pooled FD", len(shown)) as advance:
        for number, cell in enumerate(shown, 1):
            name = name_row(
                cell.row.name, cell.suite.data, cell.row.noise, cell.entry is None, cell.row.label
            )
            by_row.setdefault(name, []).append((cell, part_of(cell)))
            advance(number, "")
    if BASE_ROW not in by_row:
        return
    rows = {
        name: whole_row(
            [read_record(folder / f"{cell.stem}.json") for cell, _ in found], [p for _, p in found]
        )
        for name, found in by_row.items()
    }
    if there is None:
        write_pooled(folder, make_pooled(key, rows, None))
        return
    whole = _digest_rows(folder)
    rows = {name: row for name, row in rows.items() if whole.get(name, row.made_from) == row.made_from}
    if BASE_ROW in rows:
        write_pooled(folder, make_pooled(key, rows, there, whole))


def _digest_rows(folder: Path) -> dict[str, str]:
    """Return the digest of every row's records in a folder; nothing where none of them could be published."""
    try:
        return {
            name: digest_of(run.origin.record for run in runs) for name, runs in read_rows(folder).items()
        }
    except UserError:
        return {}


@dataclass(frozen=True)
class Run:
    """One record of a row: the point that is read, and its retain rows of concepts that were not given."""

    name: str
    origin: Origin
    rows: Any


def read_rows(folder: Path) -> dict[str, list[Run]]:
    """Return row -> its runs in a folder of records, with one point each: the shown one, else the last.

    Where a point of one configuration is shown, the row's other configurations are left out.
    """
    from ..records.load import load

    found: dict[str, list[Any]] = {}
    for entry in load(folder):
        if (
            entry.record.source == "measured"
            and not entry.record.mark
            and entry.record.task.role == "evaluated"
        ):
            found.setdefault(entry.row, []).append(entry)
    if BASE_ROW not in found:
        raise UserError(
            f"{folder}: has no record of `{BASE_ROW}`, whose number of images all rows must have; run it, too"
        )
    return {name: [_make_run(name, entry) for entry in _shown(entries)] for name, entries in found.items()}


def _shown(entries: Sequence[Any]) -> list[Any]:
    """Return the records of the configurations with a shown point; all records where there is none."""
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
    """Return the row of some runs. parts: of each run, or a text that says which images are missing."""
    images: dict[int, int] = {}
    for run in runs:
        seed = run.origin.record.seed
        images[seed] = images.get(seed, 0) + len(run.rows)
    made_from = digest_of(run.origin.record for run in runs)
    row = Row(made_from, images, tuple(part for part in parts if isinstance(part, Part)))
    lacking = [part for part in parts if isinstance(part, str)]
    return replace(row, lacking=lacking[0]) if lacking else row


def world_of(folder: Path, by_row: Mapping[str, list[Run]]) -> str:
    """Return the name of the world of all records; UserError where they are of several."""
    names = sorted({run.origin.record.task.world for runs in by_row.values() for run in runs})
    if len(names) > 1:
        raise UserError(f"{folder}: task.world: records of {' and '.join(names)} cannot be pooled together")
    return names[0].partition("@")[0]


def open_store(folder: Path) -> Store:
    """Return the store in a folder; UserError where it holds no images."""
    if not (folder / "images").is_dir():
        raise UserError(f"--store {folder}: holds no images; `unlearnbench run` draws them")
    return Store(folder, lambda line: print(line, file=sys.stderr))


@dataclass
class StoredImages:
    """Finds the images of runs in a store and embeds them. lacking, asked: numbers of images so far."""

    world: World
    tasks: Registry[Task]
    store: Store
    device: str
    lacking: int = 0
    asked: int = 0

    def __post_init__(self) -> None:
        self.scorer = PointScorer(self.store, self.device)

    def check(self, runs: Sequence[Run]) -> None:
        """Raise UserError where this version has another judge or world than a record names."""
        for record in (run.origin.record for run in runs):
            now = {"world": self.world.id, "judge": self.tasks[record.task.id].file.judge}
            for field, value in now.items():
                if getattr(record.task, field) != value:
                    said = f"{record.cell}.json: task.{field}: is {getattr(record.task, field)}"
                    raise UserError(f"{said}, this version has {value}; run the suite again")

    def take(self, run: Run) -> Part | str:
        """Return a run's part, or a text that says what is missing."""
        record = run.origin.record
        task = self.tasks[record.task.id]
        if run.rows.empty:
            return f"{record.cell}: no retain image was asked of this point"
        if failed := describe_failed(run.rows):
            return f"{record.cell}: {failed}"
        rows = run.rows.to_dict("records")
        lacking = sum(self._find(run.origin, row) is None for row in rows)
        self.asked, self.lacking = self.asked + len(rows), self.lacking + lacking
        if lacking:
            return f"{lacking} of {len(rows)} images of {record.cell} are not in the store"
        images = (self._find(run.origin, row) for row in rows)
        features = self._embed(task, images, run.origin, run.rows)
        return Part(task.id, record.seed, features, self.scorer.references(self.world, task, features))

    def _find(self, origin: Origin, row: dict[Any, Any]) -> np.ndarray | None:
        """Return an image's pixels; None where the store has none, or other pixels than the record's."""
        png = origin.find_image(self.store, str(row["prompt"]), int(row["seed"]), read_guidance(row))
        image = None if png is None else decode_png(png)
        return image if image is not None and image_digest(image) == row["image_sha256"] else None

    def _embed(
        self, task: Task, images: Iterable[np.ndarray | None], origin: Origin, rows: Any
    ) -> dict[str, np.ndarray]:
        judge, size = self.scorer.judge_of(self.world, task), (origin.sampling.height, origin.sampling.width)
        version = find_extractors(self.world).get(LITE0)
        if version is None:
            return dict(look_at(images, size, judge, {}).features)
        # embedding takes a fortieth of a second an image: kept, so that an interrupted command continues
        key = content_key({"images": list(rows["image_sha256"]), "extractor": LITE0, "version": version})
        stored = self.store.get("features", key)
        if stored is not None:
            known = {LITE0: np.load(io.BytesIO(stored), allow_pickle=False)}
            return {**look_at(images, size, judge, {}).features, **known}
        extractor = self.scorer.extractor(self.world, LITE0)
        assert extractor is not None  # `find_extractors` names it
        features = dict(look_at(images, size, judge, {LITE0: extractor}).features)
        buffer = io.BytesIO()
        np.save(buffer, features[LITE0], allow_pickle=False)
        self.store.put("features", key, buffer.getvalue())
        return features
