"""Attack one point of a cell: run the attack, draw and judge its forget images, make the attacked record."""

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pandas as pd
import torch

from ...attacks.contract import Cost, Inputs, check_register
from ...config import build
from ...environment import describe_difference, describe_environment
from ...errors import UserError
from ...measuring.needed import forget_requests
from ...measuring.requests import ImageRequest
from ...metrics import ua
from ...metrics.attacks import AFTER, BEFORE, attack_values, curve_area
from ...models.points import ModelHolder
from ...models.sampling import latents_seed
from ...models.saved.manifest import PointManifest, clean_log
from ...places import clean_error
from ...planning.plan import Cell
from ...records.record import PointInfo, Record, items_digest, read_record, record_digest, write_record
from ...records.sheets import check_whole
from ...records.statements import ATTACKED as FOLDER
from ...registry import Entry
from ...source import source_digest
from ...store import content_key
from ...types import AttackCost, AttackInfo, Value, View
from ..assemble import describe_point, round_log
from ..cell_run import CellRun, Shared
from ..failures import Failures
from .host import Host, learning_seed

SCORING = (
    "unlearnbench.bench.running.attacking.attack_run",
    "unlearnbench.bench.running.attacking.host",
    "unlearnbench.bench.metrics.attacks",
)


P = TypeVar("P", PointManifest, PointInfo)


@dataclass(frozen=True)
class Planned:
    """An attack to be run. config: validated. of: the attacked record, None for a model without one."""

    entry: Entry
    config: Any
    seed: int = 0
    of: Record | None = None

    @property
    def settings(self) -> dict[str, Any]:
        """The whole configuration, defaults included, as JSON values."""
        return dict(json.loads(self.config.model_dump_json()))


def plan_attack(
    entry: Entry, settings: dict[str, Any], seed: int = 0, of: Record | None = None, source: str = ""
) -> Planned:
    """Return an attack with validated settings; raises UserError naming source (the attack) and setting."""
    check_register(entry)
    return Planned(entry, build(entry.load_config(), settings, source or f"attack {entry.name}"), seed, of)


def find_point(points: Sequence[P], label: str | None, shown: int | None) -> P:
    """Return the point of a label; without one the shown point, else the last."""
    if label is None:
        return next((point for point in points if point.step == shown), points[-1])
    found = [point for point in points if (point.label or str(point.step)) == label]
    if not found:
        labels = ", ".join(point.label or str(point.step) for point in points)
        raise UserError(f"--point {label}: the model has the points {labels}")
    return found[0]


@dataclass
class AttackRun:
    """One attack on one point of a cell."""

    shared: Shared
    cell: Cell
    planned: Planned
    label: str | None = None
    started: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        self.run = CellRun(self.shared, self.cell)
        self.requests = forget_requests(self.run.requests)

    @cached_property
    def fingerprint(self) -> str:
        """Fingerprint of the attacked point: the record's, where there is one, so that nothing is trained."""
        of = self.planned.of
        if of is None:
            return self.point.fingerprint
        return find_point(of.points, self.label, self.cell.row.shown).fingerprint

    @cached_property
    def point(self) -> PointManifest:
        """The attacked point; raises UserError where this machine gives another model than the record's."""
        point = find_point(self.run.manifest.points, self.label, self.cell.row.shown)
        of = self.planned.of
        if of is not None and point.fingerprint != self.fingerprint:
            why = describe_difference(of.environment, self.environment)
            raise UserError(
                f"{of.cell}.json: points: this machine gives another model than the one that was measured "
                f"({point.fingerprint[:12]}): {why}. Measure the cell here, and attack its new record"
            )
        return point

    @property
    def environment(self) -> dict[str, Any]:
        return describe_environment(self.shared.device, self.run.threads)

    @cached_property
    def host(self) -> Host:
        entry, holder = self.planned.entry, self.run._holder(self.point.model)
        if entry.access == "white-box" and not isinstance(holder, ModelHolder):
            raise UserError(f"attack {entry.name}: is white-box, and a function has no weights to look at")
        return Host(self.run, self.point, holder, self.requests, entry, self.planned.seed)

    @property
    def stem(self) -> str:
        """File name of the attacked record: the cell's, the attack's, what else tells attacks apart."""
        what = {"config": self.planned.settings, "victim": self.fingerprint}
        name, of = self.planned.entry.name, self.planned.of
        return (
            f"{self.cell.stem if of is None else of.cell}.{name}.{content_key(what)[:6]}.a{self.planned.seed}"
        )

    @property
    def _digest(self) -> str:
        return "" if self.planned.of is None else record_digest(self.planned.of)

    @property
    def path(self) -> Path:
        folder = getattr(self.shared, "folder", Path())
        return Path(folder) / FOLDER / f"{self.stem}.json"

    @property
    def key(self) -> str:
        """Key of the record: the cell's, and all that decides the attack."""
        entry = self.planned.entry
        return content_key(
            {
                "cell": self.run.key,
                "attack": [entry.name, entry.version, self.planned.settings, self.planned.seed],
                "victim": [self.fingerprint, self._digest],
                "source": source_digest(entry.module, *SCORING),
            }
        )

    def measure(self) -> tuple[Path, str]:
        """Run the attack and write its record; return its path, and `measured` or `unchanged`."""
        if self.is_done():
            return self.path, "unchanged"
        record, items = self._measure()
        write_record(record, items, None, self.path.parent, seal=True)
        self._failures.clear(self.stem)
        return self.path, "measured"

    def fail(self, title: str, error: BaseException) -> None:
        """Record that the attack failed; a good record from before stays."""
        said = clean_error(f"{type(error).__name__}: {error}")
        self._failures.note(self.stem, title, error, lambda: self._record(error=said, status="failed"))

    @property
    def _failures(self) -> Failures:
        return Failures(self.path.parent, self.shared.say)

    def is_done(self) -> bool:
        """Return whether the record is there already, and whole."""
        try:
            record = read_record(self.path)
            check_whole(self.path, record)
        except UserError:  # none, or a damaged one
            return False
        return record.key == self.key and record.status == "ok"

    def _measure(self) -> tuple[Record, pd.DataFrame]:
        torch.set_num_threads(self.run.threads)
        entry = self.planned.entry
        before = self.run._score(self.point, self.requests, None).items
        began = time.monotonic()
        inputs, point = self.host.attack(self.planned.config)
        seconds = time.monotonic() - began
        frames = [before.assign(point=BEFORE)]
        moved = entry.moves != "nothing"
        if moved:
            requests = _moved(self.requests, inputs)
            frames.append(self.run._score(point, requests, None).items.assign(point=AFTER))
        curve = self.host.curve
        for index, (_, place) in enumerate(curve, len(frames)):
            frames.append(self.run._score(place, requests, None).items.assign(point=index))
        items = pd.concat(frames, ignore_index=True)
        items = items[["point", *[name for name in items.columns if name != "point"]]]
        version = self.cell.interval_version
        steps = [step for step, _ in curve]
        ends = [0, self.planned.config.budget]
        values = attack_values(before, frames[1], entry.moves, version) if moved else {}
        if curve:
            values["area"] = curve_area([ends[0], *steps, ends[1]], [before, *frames[2:], frames[1]])
        labels = ["before", "attacked", *(f"attack step {step}" for step in steps)]
        places = [self.point, point, *(place for _, place in curve)][: len(frames)]
        points = [
            describe_point(
                index,
                replace(place, label=labels[index]),
                ua.METRIC.reduce(None, View(rows, interval_version=version)),
                None,
                None,
                int((rows["image_sha256"] == "").sum()),
            )
            for index, (place, rows) in enumerate(zip(places, frames, strict=True))
        ]
        attack = self._describe(seconds, self.host.cost, inputs, values, steps)
        record = self._record(
            points=points,
            log=round_log(clean_log(inputs.log)),
            items_sha256=items_digest(items),
            attack=attack,
        )
        return record, items

    def _describe(
        self,
        seconds: float,
        cost: Cost,
        inputs: Inputs,
        values: dict[str, Value],
        curve: Sequence[int] = (),
    ) -> AttackInfo:
        entry = self.planned.entry
        return AttackInfo(
            name=entry.name,
            version=entry.version,
            summary=entry.summary,
            paper=entry.paper,
            moves=entry.moves,  # type: ignore[arg-type]
            access=entry.access,  # type: ignore[arg-type]
            config=self.planned.settings,
            budget=f"{self.planned.config.budget} {entry.unit}",
            seed=self.planned.seed,
            learning_seed=learning_seed(self.planned.seed),
            fingerprint=self.fingerprint,
            of=self._digest,
            texts=dict(inputs.texts),
            readings={name: float(number) for name, number in inputs.readings.items()},
            values=values,
            curve=list(curve),
            cost=AttackCost(seconds=round(seconds, 3), **vars(cost)),
        )

    def _record(self, **measured: Any) -> Record:
        measured.setdefault("attack", self._describe(0.0, Cost(), Inputs(), {}))
        record = self.run.assemble(**measured)
        return record.model_copy(
            update={
                "cell": self.stem,
                "key": self.key,
                "metrics": {"UA": self.shared.metrics["UA"].version},
                "seconds": round(time.monotonic() - self.started, 3),
            }
        )


def _moved(requests: Sequence[ImageRequest], inputs: Inputs) -> list[ImageRequest]:
    """Return the images under an attack: the same with new texts or noise, then those of further noise."""
    moved = []
    for request in requests:
        name = request.prompt.id
        text = inputs.texts.get(name, request.prompt.text)
        request = replace(request, prompt=replace(request.prompt, text=text))
        if name in inputs.latents:
            latents = np.ascontiguousarray(inputs.latents[name][request.sample])
            request = replace(request, seed=latents_seed(latents), latents=latents)
        moved.append(request)
    last = {request.prompt.id: request for request in moved}  # its last noise sample
    for name, seeds in inputs.seeds.items():
        first = last[name].sample + 1
        moved += [replace(last[name], sample=first + i, seed=seed) for i, seed in enumerate(seeds)]
    return moved
