"""Attack one point of a cell: run the attack, draw and judge its forget images, make the attacked record."""

import hashlib
import json
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pandas as pd
import torch

from ...attacks.contract import Cost, Inputs, Learning, Verdict, Victim, check_inputs, counted, without
from ...config import build
from ...errors import UserError
from ...measuring.items import keep_whole, spread_answers
from ...measuring.judging import ask_judge
from ...measuring.needed import forget_requests
from ...measuring.requests import ImageRequest
from ...metrics import ua
from ...models.generators import denoiser_name, open_pipeline, trainable_module
from ...models.isolation.guard import Watch, guarded
from ...models.isolation.process import keep_process
from ...models.points import ModelHolder, PointManifest, check_finite, clean_log, copy_weights
from ...models.sampling import Drawing, Request
from ...models.saved.deltas import (
    Delta,
    changed_weights,
    components_of,
    copy_tensors,
    read_delta,
    read_weights,
    set_weights,
    write_delta,
)
from ...models.settings import set_scheduler
from ...models.whole import hush_libraries
from ...places import clean_error
from ...planning.plan import Cell
from ...records.attack import AFTER, BEFORE, FOLDER, AttackCost, AttackInfo, attack_values
from ...records.record import Record, items_digest, read_record, record_digest, write_record
from ...registry import Entry
from ...source import source_digest
from ...store import content_key
from ...training.families import check_supported
from ...types import Problem, Value, View
from ..assemble import describe_point, round_log
from ..cell_run import CellRun, Shared

LEARNING = 1_000_000
"""What an attack learns from has the seed LEARNING + the attack's: no training has it."""
SCORING = ("unlearnbench.bench.running.attacking.attack_run", "unlearnbench.bench.records.attack")


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


def plan_attack(entry: Entry, settings: dict[str, Any], seed: int = 0, of: Record | None = None) -> Planned:
    """Return an attack with validated settings; raises UserError naming attack and setting."""
    return Planned(entry, build(entry.load_config(), settings, f"attack {entry.name}"), seed, of)


def find_point(points: Sequence[PointManifest], label: str | None, shown: int | None) -> PointManifest:
    """Return the point of a label; without one the shown point, else the last."""
    if label is None:
        return next((point for point in points if point.step == shown), points[-1])
    found = [point for point in points if (point.label or str(point.step)) == label]
    if not found:
        labels = ", ".join(point.label or str(point.step) for point in points)
        raise UserError(f"--point {label}: the model has the points {labels}")
    return found[0]


@dataclass(frozen=True)
class _Opened:
    """A pipeline at its point. parts: components that may differ from the base; base: their weights there.

    delta: the point's own.
    """

    pipeline: Any
    parts: list[str]
    base: dict[str, torch.Tensor]
    delta: Delta | None


@dataclass
class AttackRun:
    """One attack on one point of a cell."""

    shared: Shared
    cell: Cell
    planned: Planned
    label: str | None = None
    started: float = field(default_factory=time.monotonic)
    cost: Cost = field(default_factory=Cost)

    def __post_init__(self) -> None:
        self.run = CellRun(self.shared, self.cell)
        self.point = find_point(self.run.manifest.points, self.label, self.cell.row.shown)
        self.holder = self.run._holder(self.point.model)
        self.requests = forget_requests(self.run.requests)
        entry, of = self.planned.entry, self.planned.of
        if of is not None and self.point.fingerprint not in {point.fingerprint for point in of.points}:
            raise UserError(
                f"{of.cell}.json: points: this machine gives another model than the one that was measured "
                f"({self.point.fingerprint[:12]}); measure the cell here, then attack its new record"
            )
        if entry.access == "white-box" and not isinstance(self.holder, ModelHolder):
            raise UserError(f"attack {entry.name}: is white-box, and a function has no weights to look at")

    @property
    def stem(self) -> str:
        """File name of the attacked record: the cell's, the attack's, what else tells attacks apart."""
        what = {"config": self.planned.settings, "victim": self.point.fingerprint}
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
                "victim": [self.point.fingerprint, self._digest],
                "source": source_digest(entry.module, *SCORING),
            }
        )

    def measure(self) -> tuple[Path, str]:
        """Run the attack and write its record; return its path, and `measured`, `unchanged` or `failed`."""
        if self._is_done():
            return self.path, "unchanged"
        torch.set_num_threads(self.run.threads)
        try:
            record, items = self._measure()
        except UserError:
            raise
        except Exception as error:
            said = clean_error(f"{type(error).__name__}: {error}")
            self.shared.say(f"  {self.planned.entry.name}: failed: {said}")
            write_record(self._record(error=said, status="failed"), None, None, self.path.parent, seal=True)
            return self.path, "failed"
        return write_record(record, items, None, self.path.parent, seal=True), "measured"

    def _is_done(self) -> bool:
        try:
            record = read_record(self.path)
        except UserError:  # none, or a damaged one
            return False
        return record.key == self.key and record.status == "ok"

    def _measure(self) -> tuple[Record, pd.DataFrame]:
        entry = self.planned.entry
        before = self.run._score(self.point, self.requests, None).items
        began = time.monotonic()
        inputs, point = self._attack()
        seconds = time.monotonic() - began
        frames = [before.assign(point=BEFORE)]
        moved = entry.moves != "nothing"
        if moved:
            requests = _moved(self.requests, inputs)
            frames.append(self.run._score(point, requests, None).items.assign(point=AFTER))
        items = pd.concat(frames, ignore_index=True)
        items = items[["point", *[name for name in items.columns if name != "point"]]]
        version = self.cell.interval_version
        values = attack_values(before, frames[-1], entry.moves, version) if moved else {}
        places = [self.point, point][: len(frames)]
        points = [
            describe_point(
                index,
                replace(place, label=("before", "attacked")[index]),
                ua.METRIC.reduce(None, View(rows, interval_version=version)),
                None,
                None,
                int((rows["image_sha256"] == "").sum()),
            )
            for index, (place, rows) in enumerate(zip(places, frames, strict=True))
        ]
        attack = self._describe(seconds, inputs, values)
        record = self._record(
            points=points,
            log=round_log(clean_log(inputs.log)),
            items_sha256=items_digest(items),
            attack=attack,
        )
        return record, items

    def _describe(self, seconds: float, inputs: Inputs, values: dict[str, Value]) -> AttackInfo:
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
            learning_seed=self.learning_seed,
            fingerprint=self.point.fingerprint,
            of=self._digest,
            texts=dict(inputs.texts),
            readings={name: float(number) for name, number in inputs.readings.items()},
            values=values,
            cost=AttackCost(seconds=round(seconds, 3), **vars(self.cost)),
        )

    def _record(self, **measured: Any) -> Record:
        measured.setdefault("attack", self._describe(0.0, Inputs(), {}))
        record = self.run.assemble(**measured)
        return record.model_copy(
            update={
                "cell": self.stem,
                "key": self.key,
                "metrics": {"UA": self.shared.metrics["UA"].version},
                "seconds": round(time.monotonic() - self.started, 3),
            }
        )

    @property
    def learning_seed(self) -> int:
        return LEARNING + self.planned.seed

    def _attack(self) -> tuple[Inputs, PointManifest]:
        """Run the attack; return what it gave, and the point that is measured under it."""
        entry, config = self.planned.entry, self.planned.config
        function = entry.load()
        prompts = {request.prompt.id: request.prompt.text for request in self.requests}
        with ExitStack() as stack:
            if entry.access == "black-box":
                stack.enter_context(keep_process(self.planned.seed))
                victim = self._victim(prompts, _refuse_pipeline(entry.name))
                return self._check(function(victim, config), prompts), self.point
            opened = self._open()
            check_supported(opened.pipeline, f"attack {entry.name}", entry.pipelines)
            trained = components_of(opened.pipeline, entry.trains) if entry.trains else []
            stack.enter_context(counted(trainable_module(opened.pipeline), self.cost))
            watch = Watch(opened.pipeline, entry.name, trained)
            victim = self._victim(prompts, lambda: opened.pipeline)
            with guarded(watch, self.planned.seed):
                inputs = self._check(function(victim, config), prompts)
        return inputs, self._save(opened, trained) if trained else self.point

    def _check(self, given: Any, prompts: dict[str, str]) -> Inputs:
        """Return what the attack gave; raises UserError for what it may not move, or noise it may not see."""
        inputs = check_inputs(given, self.planned.entry.moves, prompts, self.planned.entry.name)
        self._refuse_noise(seed for seeds in inputs.seeds.values() for seed in seeds)
        return inputs

    def _refuse_noise(self, seeds: Iterable[int]) -> None:
        taken = {request.seed for request in self.run.requests} & set(seeds)
        if taken:
            raise UserError(
                f"attack {self.planned.entry.name}: uses the seed {min(taken)}, noise of the evaluation; "
                "take seeds from victim.draw_seeds"
            )

    def _victim(self, prompts: dict[str, str], pipeline: Any) -> Victim:
        task, sampling = self.cell.task, self.holder.sampling
        white = self.planned.entry.access == "white-box"
        return Victim(
            task=task.id,
            prompts=prompts,
            targets=tuple(task.concept.targets),
            size=(sampling.height, sampling.width),
            generator=torch.Generator().manual_seed(self.planned.seed),
            cost=self.cost,
            _learn=self._learn,
            _pipeline=pipeline,
            _base=self._open_base if white else _refuse_pipeline(self.planned.entry.name),
            _draw=self._draw,
            _judge=self._judge,
        )

    def _learn(self) -> Learning:
        """Return the sets of another seed than any training's."""
        problem: Problem = self.run.world.problem(self.cell.task, self.cell.suite.data, self.learning_seed)
        forget = problem.forget_set
        clean = forget.anchor_prompts or tuple(without(p, problem.targets) for p in forget.prompts)
        return Learning(forget, problem.retain_set, clean)

    def _draw(self, prompts: Sequence[str], seeds: Sequence[int]) -> list[np.ndarray | None]:
        self._refuse_noise(seeds)
        sampling = self.holder.sampling
        self.cost.images += len(prompts)
        self.cost.passes += len(prompts) * sampling.steps * (2 if sampling.guidance > 1 else 1)
        drawing = Drawing(
            self.point.fingerprint,
            sampling,
            str(self.holder.dtype),
            self.shared.device,
            lambda: self.holder.generator(self.point.delta, self.run._find_weights(self.point)),  # type: ignore
        )
        requests = [Request(text, seed) for text, seed in zip(prompts, seeds, strict=True)]
        with hush_libraries():  # a long prompt is cut, as the evaluation cuts it
            return drawing.draw(requests, self.shared.store, lambda count: None)

    def _judge(self, images: list[np.ndarray | None]) -> Verdict:
        self.cost.judged += len(images)
        task = self.cell.task
        size = (self.holder.sampling.height, self.holder.sampling.width)
        verdicts = ask_judge(self.shared.scorer.judge_of(self.run.world, task), keep_whole(images, size))
        answers = spread_answers(images, verdicts.found)[task.file.target_kind]
        found = np.array([answer in task.concept.targets for answer in answers], dtype=bool)
        if verdicts.scores is None:
            return Verdict(found, found.astype(float))
        scores = np.zeros(len(images))
        scores[[image is not None for image in images]] = verdicts.scores[
            : sum(i is not None for i in images)
        ]
        return Verdict(found, scores)

    def _open(self) -> "_Opened":
        """Return the attacked model, opened again with the point set: the attack may change it."""
        holder = self.holder
        assert isinstance(holder, ModelHolder)
        for other in self.shared._holders.values():
            other.close()  # one model at a time in the device's memory
        pipeline = holder.open()
        payload = self.run._find_weights(self.point)
        names = list(self.planned.entry.trains)
        delta = None if payload is None else read_delta(payload, denoiser_name(pipeline))
        parts = dict.fromkeys([*(delta.weights if delta else ()), *components_of(pipeline, names)])
        base = copy_weights(pipeline, list(parts))
        for name, weights in delta.weights.items() if delta else ():
            module = getattr(pipeline, name)
            set_weights(module, copy_tensors(module.state_dict()), weights)
        return _Opened(pipeline, list(parts), base, delta)

    def _open_base(self) -> Any:
        world = self.run.world
        pipeline = open_pipeline(world.pipeline_folder, self.shared.device, self.shared.dtype)
        set_scheduler(pipeline, world.scheduler)
        return pipeline

    def _save(self, opened: "_Opened", trained: list[str]) -> PointManifest:
        """Keep the weights under the attack as a point: what differs from the base, the victim's part too."""
        holder, pipeline = self.holder, opened.pipeline
        assert isinstance(holder, ModelHolder)
        changed = changed_weights(opened.base, read_weights(pipeline, opened.parts))
        check_finite(changed, f"under the attack {self.planned.entry.name}")
        before = opened.delta
        payload = write_delta(changed, before.tensors if before else None, before.applied if before else None)
        if payload == self.run._find_weights(self.point) or (before is None and not changed):
            return self.point  # nothing was moved
        delta = hashlib.sha256(payload).hexdigest()
        self.shared.store.put("deltas", delta, payload)
        holder.close()
        fingerprint = holder.generator(delta, payload).fingerprint
        return replace(
            self.point,
            fingerprint=fingerprint,
            delta=delta,
            bytes=len(payload),
            parameters=sum(tensor.numel() for tensor in changed.values()),
            distance=None,
        )


def _moved(requests: Sequence[ImageRequest], inputs: Inputs) -> list[ImageRequest]:
    """Return the images under an attack: the same with new texts, then those of further noise."""
    moved = []
    for request in requests:
        text = inputs.texts.get(request.prompt.id, request.prompt.text)
        moved.append(replace(request, prompt=replace(request.prompt, text=text)))
    last = {request.prompt.id: request for request in moved}  # its last noise sample
    for name, seeds in inputs.seeds.items():
        first = last[name].sample + 1
        moved += [replace(last[name], sample=first + i, seed=seed) for i, seed in enumerate(seeds)]
    return moved


def _refuse_pipeline(name: str) -> Callable[[], NoReturn]:
    def refuse() -> NoReturn:
        raise UserError(f"attack {name}: is black-box (REGISTER: access), and is given no pipeline")

    return refuse
