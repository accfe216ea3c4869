"""Saved points of a cell: train once, keep each point's delta and a manifest, draw from them later."""

import hashlib
import json
import math
import operator
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import torch
from torch.optim.optimizer import register_optimizer_step_post_hook

from ..errors import UserError
from ..progress import show_progress
from ..registry import Entry
from ..store import Store
from ..types import Problem
from .digests import hook_names, weights_digest
from .generators import Generator, Holder, Sampling, denoiser_name, open_pipeline, relative_distance
from .hub import find
from .isolation.guard import Watch, guarded
from .lora import load_lora
from .memory import MemoryMeter
from .saved.applied import Applied, describe_applied, find_applied, read_applied
from .saved.deltas import (
    changed_weights,
    components_of,
    copy_tensors,
    read_delta,
    read_weights,
    set_weights,
    write_delta,
)
from .settings import set_scheduler, settings_digest


@dataclass(frozen=True)
class PointManifest:
    """A saved point: enough to find its images without opening a diffusion model."""

    step: int
    fingerprint: str
    delta: str  # sha256 of its weights file, and their store key; "" for a reference
    bytes: int
    parameters: int
    seconds: float | None
    memory: int | None
    distance: float | None = None
    label: str = ""  # its name for people; "" = the number of steps
    model: str = ""  # that it is, where somebody else made it; "" = the cell's base


@dataclass(frozen=True)
class Manifest:
    """All points of one training and its log."""

    points: list[PointManifest]
    log: dict[str, list[float | None]]

    def to_bytes(self) -> bytes:
        return json.dumps({"points": [vars(p) for p in self.points], "log": self.log}).encode()

    @staticmethod
    def from_bytes(payload: bytes) -> "Manifest":
        content = json.loads(payload)
        return Manifest([PointManifest(**p) for p in content["points"]], content["log"])

    def placed(self, named: Sequence[tuple[int, str, str]]) -> "Manifest":
        """Return the same points at (step, label, model): a manifest is kept by its models' content, and
        where they lay then another model may lie by now."""
        points = [
            replace(point, step=step, label=label, model=model)
            for point, (step, label, model) in zip(self.points, named, strict=True)
        ]
        return Manifest(points, self.log)


def clean_log(log: Mapping[str, Any]) -> dict[str, list[float | None]]:
    """Return a log as JSON: floats, None where not finite. Raises UserError on other than numbers."""
    try:
        return {str(name): [_finite(value) for value in column] for name, column in log.items()}
    except (TypeError, ValueError, AttributeError) as error:
        raise UserError(f"save: log: must be columns of numbers: {error}") from None


def _finite(value: Any) -> float | None:
    number = math.nan if value is None else float(value)
    return number if math.isfinite(number) else None


@dataclass
class ModelHolder:
    """A base model that is opened when first needed to draw, and set to one point at a time.

    Nothing but the loader touches its pipeline: what is trained is opened anew (`open`).

    lora: a LoRA's file or folder that is loaded into it. frozen: the model is a world's own, whose version
    names all that it is set to; of any other the fingerprint tells that too, for a folder may be mended.
    """

    model: str
    sampling: Sampling
    device: str
    dtype: torch.dtype = torch.float32
    lora: str = ""
    frozen: bool = False
    current: str = ""
    opened: bool = field(default=False, init=False)
    _applied: Applied | None = field(default=None, init=False)
    _base: dict[str, dict[str, torch.Tensor]] = field(default_factory=dict, init=False)

    def open(self) -> Any:
        """Return the model's pipeline, opened anew from its files."""
        self.opened = True
        pipeline = open_pipeline(self.model, self.device, self.dtype, applied=True)
        set_scheduler(pipeline, self.sampling.scheduler)
        if self.lora:
            load_lora(pipeline, self.lora)
        return pipeline

    @cached_property
    def pipeline(self) -> Any:
        return self.open()

    @cached_property
    def own(self) -> Applied | None:
        """The sampling-time method of the model's folder."""
        found = read_applied(find(self.model))
        return None if found is None else replace(found, drop=self.close)

    def close(self) -> None:
        """Give the pipeline's memory back; it is opened anew, and its weights are read anew, when needed."""
        for name in ("pipeline", "weights", "own"):
            self.__dict__.pop(name, None)
        self._base.clear()
        self.current, self._applied = "", None

    @cached_property
    def fingerprint(self) -> str:
        """Of the model as it was opened, no point set."""
        return self.generator("", None).fingerprint

    @cached_property
    def weights(self) -> str:
        """Digest of the model as it was opened: its weights and, unless frozen, what else it is set to."""
        self.reset()
        return self.digest(self.pipeline)

    def digest(self, pipeline: Any) -> str:
        """Return `weights` of a pipeline that was opened by `open` and not changed since."""
        weights = weights_digest(pipeline)
        if self.frozen:
            return weights
        return hashlib.sha256((weights + settings_digest(pipeline)).encode()).hexdigest()

    def reset(self) -> None:
        """Set every network to the base weights."""
        self._set({})
        self.current, self._applied = "", None

    def _set(self, weights: Mapping[str, Mapping[str, torch.Tensor]]) -> None:
        """Set the networks to the base weights, those of a delta in their places.

        The base weights of a network are copied before the first delta changes it.
        """
        for name in weights.keys() - self._base.keys():
            self._base[name] = copy_tensors(getattr(self.pipeline, name).state_dict())
        for name, base in self._base.items():
            set_weights(getattr(self.pipeline, name), base, weights.get(name, {}))

    def generator(self, delta: str, payload: bytes | None) -> Generator:
        """Return the generator of a point, its weights set; `delta` empty = the base model."""
        weights = self.weights
        if delta != self.current:
            if payload is None:
                self.reset()
            else:
                found = read_delta(payload, denoiser_name(self.pipeline))
                self._set(found.weights)
                self._applied = None
                if found.applied is not None:
                    applied = find_applied(found.applied, found.tensors, "a saved point")
                    self._applied = replace(applied, drop=self.close)
            self.current = delta
        return Generator(self.pipeline, self.sampling, weights, delta, self._applied or self.own)


@contextmanager
def count_steps(title: str, total: int) -> Any:
    """Show a bar that advances with every optimiser step taken inside, whoever takes it."""
    done = 0
    with show_progress(title, total) as advance:

        def step(optimiser: Any, args: Any, kwargs: Any) -> None:
            nonlocal done
            if getattr(optimiser, "is_inner", False):
                return  # an attack inside a training step
            done += 1
            advance(done, "")

        handle = register_optimizer_step_post_hook(step)
        try:
            yield advance
        finally:
            handle.remove()


class PointSaver:
    """The `save` that a method is given: stores each point's delta, with the seconds trained so far.

    pipeline: the one that the method trains, as it was opened. It refuses a point that holds less than the
    method's model, or weights that are not finite.
    """

    def __init__(self, pipeline: Any, holder: ModelHolder, store: Store, entry: Entry, config: Any) -> None:
        self.pipeline, self.holder, self.store = pipeline, holder, store
        self.components = components_of(pipeline, entry.trains)
        self.base, self.weights = copy_weights(pipeline, self.components), holder.digest(pipeline)
        self.hooks = hook_names(
            pipeline
        )  # a point is drawn without those that a method has on while it trains
        self.applied = describe_applied(entry, config)
        self.points: list[PointManifest] = []
        self.log: dict[str, list[float | None]] = {}
        self.meter = MemoryMeter(holder.device)
        self.trained = 0.0
        self.watch: Watch | None = None

    @contextmanager
    def watching(self, watch: Watch) -> Iterator[None]:
        """Measure time and memory of what runs inside, its points checked by `watch`."""
        self.watch = watch
        with self.meter:
            self.since = time.monotonic()
            yield

    def __call__(
        self, step: int, log: Mapping[str, Any], tensors: Mapping[str, torch.Tensor] | None = None
    ) -> None:
        self.trained += time.monotonic() - self.since
        with self.meter.paused(), torch.no_grad():
            self._save(operator.index(step), log, tensors or {})
        self.since = time.monotonic()

    def _save(self, step: int, log: Mapping[str, Any], tensors: Mapping[str, torch.Tensor]) -> None:
        assert self.watch is not None
        when = f"at the point of step {step}"
        self.watch.check(when, at_end=False)
        changed, kept = self._read(tensors, when)
        payload = write_delta(changed, kept, self.applied)
        delta = hashlib.sha256(payload).hexdigest()  # by content: equal weights share their images
        self.store.put("deltas", delta, payload)
        applied = None if self.applied is None else find_applied(self.applied, kept, "save")
        sampling = self.holder.sampling
        generator = Generator(self.pipeline, sampling, self.weights, delta, applied, self.hooks)
        self.points.append(
            PointManifest(
                step=step,
                fingerprint=generator.fingerprint,
                delta=delta,
                bytes=len(payload),
                parameters=sum(t.numel() for t in (*changed.values(), *kept.values())),
                seconds=self.trained,
                memory=self.meter.peak(),
                distance=relative_distance(self.base, changed),
            )
        )
        self.log = clean_log(log)

    def _read(self, tensors: Mapping[str, torch.Tensor], when: str) -> tuple[dict[str, torch.Tensor], ...]:
        """Return the weights that changed, and what a sampling-time method keeps; all are finite."""
        assert self.watch is not None
        if tensors and self.applied is None:
            self.watch.refuse(UserError("save: tensors: kept for `apply`, which the REGISTER does not name"))
        changed = changed_weights(self.base, read_weights(self.pipeline, self.components))
        kept = copy_tensors(tensors)
        try:
            check_finite({**changed, **kept}, when)
        except FloatingPointError as fault:
            self.watch.refuse(fault)
        return changed, kept

    def manifest(self) -> Manifest:
        return Manifest(self.points, self.log)


def check_finite(weights: Mapping[str, torch.Tensor], when: str) -> None:
    """Raise FloatingPointError where one of some weights is not finite."""
    for name, tensor in weights.items():
        if tensor.is_floating_point() and not torch.isfinite(tensor).all():
            raise FloatingPointError(f"training diverged: {name} is not finite {when}")


def copy_weights(pipeline: Any, components: Sequence[str]) -> dict[str, torch.Tensor]:
    """Return copies of the weights of components by their names in a delta."""
    return copy_tensors(read_weights(pipeline, components))


def own_problem(problem: Problem) -> Problem:
    """Return a problem with images of its own: a world may give the same ones to every method."""
    forget, retain = (replace(p, images=p.images.clone()) for p in (problem.forget_set, problem.retain_set))
    return replace(problem, forget_set=forget, retain_set=retain)


def train_points(
    holder: ModelHolder, store: Store, train_key: str, problem: Problem, entry: Entry, config: Any, title: str
) -> Manifest:
    """Run a method on a pipeline of its own and return its manifest.

    Raises UserError where it changes more than it declares, or saves nothing.
    """
    if holder.own is not None:
        raise UserError(f"{holder.model}: {holder.own.entry.name} acts on it already; train its base model")
    entry.load_apply()  # one that does not load is told before hours of training
    unlearn, pipeline = entry.load(), holder.open()
    saver = PointSaver(pipeline, holder, store, entry, config)
    watch = Watch(pipeline, entry.name, saver.components, acts=bool(entry.apply))
    total = int(getattr(config, "steps", 1))
    with (
        count_steps(title, total),
        guarded(watch, problem.seed),
        saver.watching(watch),
    ):
        unlearn(pipeline, own_problem(problem), config, saver)
    if not saver.points:
        raise RuntimeError("the method saved no point: it must call save(step, log) at least once")
    manifest = saver.manifest()
    store.put("manifests", train_key, manifest.to_bytes())
    return manifest


def reference_point(holder: Holder, step: int = 0, label: str = "", model: str = "") -> PointManifest:
    """Return the point that a model is as it stands: nothing trained."""
    return PointManifest(step, holder.fingerprint, "", 0, 0, None, None, label=label, model=model)
