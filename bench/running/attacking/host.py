"""Run an attack on a point: open the model for it, answer what it asks, keep the weights that it leaves."""

import hashlib
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from typing import Any, NoReturn

import numpy as np
import torch

from ...attacks.contract import Cost, Inputs, Learning, Verdict, Victim, check_inputs, counted, without
from ...errors import UserError
from ...measuring.items import keep_whole, spread_answers
from ...measuring.judging import ask_judge
from ...measuring.requests import ImageRequest
from ...models.device.precision import COMPUTE
from ...models.generators import Holder, denoiser_name, open_pipeline, trainable_module
from ...models.isolation.guard import Watch, guarded
from ...models.isolation.process import keep_process
from ...models.points import ModelHolder, PointManifest
from ...models.sampling import Drawing, Request
from ...models.saved.deltas import (
    Delta,
    changed_weights,
    check_finite,
    components_of,
    copy_tensors,
    copy_weights,
    read_delta,
    read_weights,
    set_weights,
    write_delta,
)
from ...models.settings import set_scheduler
from ...models.whole import hush_libraries
from ...planning.tasks import Task
from ...registry import Entry
from ...training.families import check_supported
from ...types import Problem
from ..cell_run import CellRun

LEARNING = 1_000_000
"""What an attack learns from has the seed LEARNING + the attack's: no training has it."""


def learning_seed(seed: int) -> int:
    """Return the seed of the sets that an attack of a seed learns from."""
    return LEARNING + seed


@dataclass
class _Opened:
    """A pipeline at its point. parts: components that may differ from the base; base: their weights there.

    delta: the point's own.
    """

    pipeline: Any
    parts: list[str]
    base: dict[str, torch.Tensor]
    delta: Delta | None


@dataclass
class Host:
    """What runs an attack. seed: of the attack. cost: what the attack has spent so far.

    curve: after the attack, the points of the steps that it kept.
    """

    run: CellRun
    point: PointManifest
    holder: Holder
    requests: Sequence[ImageRequest]
    entry: Entry
    seed: int
    cost: Cost = field(default_factory=Cost)
    curve: list[tuple[int, PointManifest]] = field(default_factory=list)
    _kept: list[tuple[int, tuple[bytes, int] | None]] = field(default_factory=list)

    @property
    def task(self) -> Task:
        """The task whose targets are attacked: without those that a sequence is still to forget."""
        cell = self.run.cell
        return cell.task if cell.turn is None else cell.turn.asked

    def attack(self, config: Any) -> tuple[Inputs, PointManifest]:
        """Run the attack; return what it gave, and the point that is measured under it."""
        entry, function = self.entry, self.entry.load()
        prompts = {request.prompt.id: request.prompt.text for request in self.requests}
        with ExitStack() as stack:
            if entry.access == "black-box":
                stack.enter_context(keep_process(self.seed))
                victim = self._victim(prompts, _refuse_pipeline(entry.name))
                return self._check(function(victim, config), prompts), self.point
            opened = self._open()
            check_supported(opened.pipeline, f"attack {entry.name}", entry.pipelines)
            trained = components_of(opened.pipeline, entry.trains) if entry.trains else []
            stack.enter_context(counted(trainable_module(opened.pipeline), self.cost))
            watch = Watch(opened.pipeline, entry.name, trained)

            def keep(step: int) -> None:
                last = self._kept[-1][0] if self._kept else 0
                if not trained or not last < step < config.budget:
                    said = f"step {step} is not from {last + 1} to below the budget, or nothing is trained"
                    raise UserError(f"attack {entry.name}: keep: {said}")
                self._kept.append((step, self._pack(opened)))

            victim = self._victim(prompts, lambda: opened.pipeline, keep)
            with guarded(watch, self.seed):
                inputs = self._check(function(victim, config), prompts)
        if not trained:
            return inputs, self.point
        end = self._pack(opened)
        opened.pipeline = None  # one model at a time in the device's memory
        self.curve = [(step, self._place(payload)) for step, payload in self._kept]
        return inputs, self._place(end)

    def _check(self, given: Any, prompts: dict[str, str]) -> Inputs:
        """Return what the attack gave; raises UserError for what it may not move, or noise it may not see."""
        inputs = check_inputs(given, self.entry.moves, prompts, self.entry.name)
        self._refuse_noise(seed for seeds in inputs.seeds.values() for seed in seeds)
        return inputs

    def _refuse_noise(self, seeds: Iterable[int]) -> None:
        taken = {request.seed for request in self.run.requests} & set(seeds)
        if taken:
            raise UserError(
                f"attack {self.entry.name}: uses the seed {min(taken)}, noise of the evaluation; "
                "take seeds from victim.draw_seeds"
            )

    def _victim(
        self, prompts: dict[str, str], pipeline: Any, keep: Callable[[int], None] | None = None
    ) -> Victim:
        task, sampling = self.task, self.holder.sampling
        white = self.entry.access == "white-box"
        return Victim(
            task=task.id,
            prompts=prompts,
            targets=tuple(task.concept.targets),
            size=(sampling.height, sampling.width),
            steps=sampling.steps,
            guidance={
                request.prompt.id: Request("", 0, request.prompt.guidance).guided(sampling)
                for request in self.requests
            },
            samples=1 + max(request.sample for request in self.requests),
            generator=torch.Generator().manual_seed(self.seed),
            cost=self.cost,
            _learn=self.learn,
            _pipeline=pipeline,
            _base=self._open_base if white else _refuse_pipeline(self.entry.name),
            _draw=self._draw,
            _judge=self._judge,
            _keep=keep or _refuse_pipeline(self.entry.name),
        )

    def learn(self) -> Learning:
        """Return the sets of another seed than any training's."""
        seed = learning_seed(self.seed)
        problem: Problem = self.run.world.problem(self.task, self.run.cell.suite.data, seed)
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
            self.run.shared.device,
            lambda: self.holder.generator(self.point.delta, self.run._find_weights(self.point)),  # type: ignore
        )
        requests = [Request(text, seed) for text, seed in zip(prompts, seeds, strict=True)]
        with hush_libraries():  # a long prompt is cut, as the evaluation cuts it
            return drawing.draw(requests, self.run.shared.store, lambda count: None)

    def _judge(self, images: list[np.ndarray | None]) -> Verdict:
        self.cost.judged += len(images)
        task = self.task
        size = (self.holder.sampling.height, self.holder.sampling.width)
        verdicts = ask_judge(self.run.shared.scorer.judge_of(self.run.world, task), keep_whole(images, size))
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
        if holder.dtype in COMPUTE:
            raise UserError(
                f"attack {self.entry.name}: looks inside a model whose weights are only kept in "
                f"{str(holder.dtype).removeprefix('torch.')}; give --dtype bfloat16"
            )
        for other in self.run.shared._holders.values():
            other.close()  # one model at a time in the device's memory
        pipeline = holder.open()
        payload = self.run._find_weights(self.point)
        names = list(self.entry.trains)
        delta = None if payload is None else read_delta(payload, denoiser_name(pipeline))
        parts = dict.fromkeys([*(delta.weights if delta else ()), *components_of(pipeline, names)])
        base = copy_weights(pipeline, list(parts))
        for name, weights in delta.weights.items() if delta else ():
            module = getattr(pipeline, name)
            set_weights(module, copy_tensors(module.state_dict()), weights)
        return _Opened(pipeline, list(parts), base, delta)

    def _open_base(self) -> Any:
        world = self.run.world
        shared = self.run.shared
        pipeline = open_pipeline(world.pipeline_folder, shared.device, shared.dtype_of(world))
        set_scheduler(pipeline, world.scheduler)
        return pipeline

    def _pack(self, opened: "_Opened") -> tuple[bytes, int] | None:
        """Return the weights as they are now as a point's file, and how many numbers of them changed.

        They are what differs from the base, the victim's part too. None: nothing was moved.
        """
        changed = changed_weights(opened.base, read_weights(opened.pipeline, opened.parts))
        check_finite(changed, f"under the attack {self.entry.name}")
        before = opened.delta
        payload = write_delta(changed, before.tensors if before else None, before.applied if before else None)
        if payload == self.run._find_weights(self.point) or (before is None and not changed):
            return None
        return payload, sum(tensor.numel() for tensor in changed.values())

    def _place(self, packed: tuple[bytes, int] | None) -> PointManifest:
        """Keep packed weights as a point."""
        if packed is None:
            return self.point
        payload, parameters = packed
        holder = self.holder
        assert isinstance(holder, ModelHolder)
        delta = hashlib.sha256(payload).hexdigest()
        self.run.shared.store.put("deltas", delta, payload)
        holder.close()
        fingerprint = holder.generator(delta, payload).fingerprint
        return replace(
            self.point,
            fingerprint=fingerprint,
            delta=delta,
            bytes=len(payload),
            parameters=parameters,
            distance=None,
        )


def _refuse_pipeline(name: str) -> Callable[..., NoReturn]:
    def refuse(*_: Any) -> NoReturn:
        raise UserError(f"attack {name}: is black-box (REGISTER: access), and is given no pipeline")

    return refuse
