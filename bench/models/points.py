"""Saved points of a cell: train once, keep each point's delta and a manifest, draw from them later."""

import hashlib
import operator
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from ..errors import UserError
from ..registry import Entry
from ..store import Store
from ..types import Problem
from .device.offload import offload, store_in_eight_bits
from .device.precision import computing
from .digests import hook_names, weights_digest
from .files.partial import set_file
from .generators import (
    Generator,
    Sampling,
    denoiser_name,
    open_pipeline,
    relative_distance,
    trainable_module,
)
from .hub import find
from .isolation.guard import Watch, guarded
from .lora import load_lora
from .memory import MemoryMeter, count_steps
from .saved.applied import Applied, describe_applied, find_applied, read_applied
from .saved.deltas import (
    changed_weights,
    check_finite,
    components_of,
    copy_tensors,
    copy_weights,
    read_delta,
    read_weights,
    restore_weights,
    set_weights,
    write_delta,
)
from .saved.manifest import Manifest, PointManifest, clean_log
from .settings import set_scheduler, settings_digest


@dataclass
class ModelHolder:
    """A base model that is opened when it is first needed to draw, and set to one point at a time.

    Only the loader touches its pipeline; training gets a newly opened one (`open`).

    lora: a LoRA's file or folder that is loaded into it. file: of weights that replace its own. frozen: the
    model is a world's own, whose version identifies all its settings. For any other model the fingerprint
    includes them, since a folder may be changed. offload: of `device/offload.py`, how weights wait on the CPU
    while it draws; "" = they do not. A pipeline for training is always whole on the device.
    """

    model: str
    sampling: Sampling
    device: str
    dtype: torch.dtype = torch.float32
    lora: str = ""
    file: str = ""
    frozen: bool = False
    offload: str = ""
    current: str = ""
    opened: bool = field(default=False, init=False)
    _offloaded: bool = field(default=False, init=False)
    _applied: Applied | None = field(default=None, init=False)
    _base: dict[str, dict[str, torch.Tensor]] = field(default_factory=dict, init=False)

    def open(self, dtype: torch.dtype | None = None, device: str | None = None) -> Any:
        """Return the model's pipeline, newly opened from its files. None: the holder's own type or device."""
        self.opened = True
        pipeline = open_pipeline(self.model, device or self.device, dtype or self.dtype, applied=True)
        set_scheduler(pipeline, self.sampling.scheduler)
        if self.lora:
            load_lora(pipeline, self.lora)
        if self.file:
            set_file(pipeline, Path(self.file))
        store_in_eight_bits(trainable_module(pipeline), dtype or self.dtype)
        return pipeline

    @cached_property
    def pipeline(self) -> Any:
        return self.open(device="cpu" if self.offload else None)

    @cached_property
    def own(self) -> Applied | None:
        """The sampling-time method of the model's folder."""
        found = read_applied(find(self.model))
        return None if found is None else replace(found, drop=self.close)

    def close(self) -> None:
        """Release the pipeline's memory; pipeline and weights are opened again when needed."""
        for name in ("pipeline", "weights", "own"):
            self.__dict__.pop(name, None)
        self._base.clear()
        self.current, self._applied, self._offloaded = "", None, False

    @cached_property
    def fingerprint(self) -> str:
        """Digest of the model as it was opened, without any point's weights."""
        return self.generator("", None).fingerprint

    @cached_property
    def weights(self) -> str:
        """Digest of the model as it was opened: its weights and, unless frozen, its other settings."""
        self.reset()
        return self.digest(self.pipeline)

    def digest(self, pipeline: Any) -> str:
        """Return `weights` of a pipeline that was opened by `open` and not changed since."""
        weights = weights_digest(pipeline)
        if self.frozen:
            return weights
        return hashlib.sha256((weights + settings_digest(pipeline)).encode()).hexdigest()

    def open_to_train(self) -> tuple[Any, str]:
        """Return a newly opened float32 pipeline, and the digest `weights` of the one that draws."""
        if self.dtype == torch.float32:
            pipeline = self.open()
            return pipeline, self.digest(pipeline)
        weights = self.weights
        self.close()
        return self.open(torch.float32), weights

    def reset(self) -> None:
        """Set every network to the base weights."""
        self._set({})
        self.current, self._applied = "", None

    def _set(self, weights: Mapping[str, Mapping[str, torch.Tensor]]) -> None:
        """Set the networks to the base weights, with those of a delta replaced.

        The base weights of a network are copied before the first delta changes it.
        """
        if self._offloaded:  # by layers: the networks themselves are empty
            self.pipeline.remove_all_hooks()
            self._offloaded = False
        for name in weights.keys() - self._base.keys():
            self._base[name] = copy_tensors(getattr(self.pipeline, name).state_dict())
        for name, base in self._base.items():
            set_weights(getattr(self.pipeline, name), base, weights.get(name, {}))

    def generator(self, delta: str, payload: bytes | None) -> Generator:
        """Return the generator of a point, with its weights set; `delta` empty = the base model."""
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
        acts = self._applied or self.own
        if self.offload and not self._offloaded:
            self._spare_memory(is_whole=acts is not None)
        return Generator(self.pipeline, self.sampling, weights, delta, acts)

    def _spare_memory(self, is_whole: bool) -> None:
        """Let the weights wait on the CPU. is_whole: put them on the device instead, since a method that acts
        while a model draws may leave nothing changed, and diffusers' hooks change every network."""
        if is_whole:
            self.pipeline.to(self.device)
        else:
            offload(self.pipeline, self.offload, self.device)
        self._offloaded = not is_whole


class PointSaver:
    """The `save` that a method is given: stores each point's delta, with the seconds trained so far.

    pipeline: the one that the method trains, opened by the holder. A point that does not hold the method's
    complete model, or whose weights are not finite, is refused.
    """

    def __init__(self, holder: ModelHolder, store: Store, entry: Entry, config: Any) -> None:
        self.holder, self.store = holder, store
        self.pipeline, self.weights = holder.open_to_train()
        self.components = components_of(self.pipeline, entry.trains)
        self.base = copy_weights(self.pipeline, self.components)
        # a point is drawn without the hooks that a method uses while it trains
        self.hooks = hook_names(self.pipeline)
        self.applied = describe_applied(entry, config)
        self.points: list[PointManifest] = []
        self.log: dict[str, list[float | None]] = {}
        self.meter = MemoryMeter(holder.device)
        self.trained = 0.0
        self.watch: Watch | None = None

    @contextmanager
    def watching(self, watch: Watch) -> Iterator[None]:
        """Measure time and memory of the block, with its points checked by `watch`."""
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
        """Return the weights that changed, and a sampling-time method's tensors; all are finite."""
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


def own_problem(problem: Problem) -> Problem:
    """Return a problem with its own copy of the images: a world may give the same ones to every method."""
    forget, retain = (replace(p, images=p.images.clone()) for p in (problem.forget_set, problem.retain_set))
    return replace(problem, forget_set=forget, retain_set=retain)


def train_points(
    holder: ModelHolder,
    store: Store,
    train_key: str,
    problem: Problem,
    entry: Entry,
    config: Any,
    title: str,
    start: bytes | None = None,
) -> Manifest:
    """Run a method on a pipeline of its own and return its manifest.

    start: a saved point to train from, None = the base. Points are saved as what differs from the base.
    Raises UserError where it changes more than it declares, or saves nothing.
    """
    if holder.own is not None:
        raise UserError(f"{holder.model}: {holder.own.entry.name} acts on it already; train its base model")
    entry.load_apply()  # report one that does not load before hours of training
    store.check_writable()  # so is a store that cannot keep the weights
    unlearn, saver = entry.load(), PointSaver(holder, store, entry, config)
    if start is not None:
        restore_weights(saver.pipeline, start)
    watch = Watch(saver.pipeline, entry.name, saver.components, acts=bool(entry.apply))
    with (
        count_steps(title, int(getattr(config, "steps", 1))),
        guarded(watch, problem.seed),
        saver.watching(watch),
        computing(holder.dtype),
    ):
        unlearn(saver.pipeline, own_problem(problem), config, saver)
    if not saver.points:
        raise RuntimeError("the method saved no point: it must call save(step, log) at least once")
    manifest = saver.manifest()
    store.put("manifests", train_key, manifest.to_bytes())
    return manifest
