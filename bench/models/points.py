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
from safetensors.torch import load
from torch.optim.optimizer import register_optimizer_step_post_hook

from ..errors import UserError
from ..progress import show_progress
from ..registry import Entry
from ..store import Store
from ..types import Problem
from .digests import weights_digest
from .generators import (
    Generator,
    Holder,
    Sampling,
    apply_delta,
    delta_bytes,
    open_pipeline,
    relative_distance,
    trainable_module,
)
from .isolation.guard import Watch, guarded
from .lora import load_lora
from .memory import MemoryMeter
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

    def open(self) -> Any:
        """Return the model's pipeline, opened anew from its files."""
        self.opened = True
        pipeline = open_pipeline(self.model, self.device, self.dtype)
        set_scheduler(pipeline, self.sampling.scheduler)
        if self.lora:
            load_lora(pipeline, self.lora)
        return pipeline

    @cached_property
    def pipeline(self) -> Any:
        return self.open()

    def close(self) -> None:
        """Give the pipeline's memory back; it is opened anew, and its weights are read anew, when needed."""
        for name in ("pipeline", "base", "weights"):
            self.__dict__.pop(name, None)
        self.current = ""

    @cached_property
    def fingerprint(self) -> str:
        """Of the model as it was opened, no point set."""
        return self.generator("", None).fingerprint

    @cached_property
    def base(self) -> dict[str, torch.Tensor]:
        return copy_weights(self.pipeline)

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
        """Set the denoiser to the base weights."""
        trainable_module(self.pipeline).load_state_dict(self.base)
        self.current = ""

    def generator(self, delta: str, payload: bytes | None) -> Generator:
        """Return the generator of a point, its weights set; `delta` empty = the base model."""
        weights = self.weights
        if delta != self.current:
            if payload is None:
                self.reset()
            else:
                apply_delta(self.base, trainable_module(self.pipeline), payload)
            self.current = delta
        return Generator(self.pipeline, self.sampling, weights, delta)


@contextmanager
def count_steps(title: str, total: int) -> Any:
    """Show a bar that advances with every optimiser step taken inside, whoever takes it."""
    done = 0
    with show_progress(title, total) as advance:

        def step(optimiser: Any, args: Any, kwargs: Any) -> None:
            nonlocal done
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

    def __init__(self, pipeline: Any, holder: ModelHolder, store: Store) -> None:
        self.pipeline, self.holder, self.store = pipeline, holder, store
        self.base, self.weights = copy_weights(pipeline), holder.digest(pipeline)
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

    def __call__(self, step: int, log: Mapping[str, Any]) -> None:
        self.trained += time.monotonic() - self.since
        with self.meter.paused(), torch.no_grad():
            self._save(operator.index(step), log)
        self.since = time.monotonic()

    def _save(self, step: int, log: Mapping[str, Any]) -> None:
        assert self.watch is not None
        self.watch.check(f"at the point of step {step}")
        payload = delta_bytes(self.base, trainable_module(self.pipeline))
        changed = load(payload)
        try:
            check_finite(changed, f"at the point of step {step}")
        except FloatingPointError as fault:
            self.watch.refuse(fault)
        delta = hashlib.sha256(payload).hexdigest()  # by content: equal weights share their images
        self.store.put("deltas", delta, payload)
        generator = Generator(self.pipeline, self.holder.sampling, self.weights, delta)
        self.points.append(
            PointManifest(
                step=step,
                fingerprint=generator.fingerprint,
                delta=delta,
                bytes=len(payload),
                parameters=sum(t.numel() for t in changed.values()),
                seconds=self.trained,
                memory=self.meter.peak(),
                distance=relative_distance(self.base, changed),
            )
        )
        self.log = clean_log(log)

    def manifest(self) -> Manifest:
        return Manifest(self.points, self.log)


def check_finite(weights: Mapping[str, torch.Tensor], when: str) -> None:
    """Raise FloatingPointError where one of some weights is not finite."""
    for name, tensor in weights.items():
        if tensor.is_floating_point() and not torch.isfinite(tensor).all():
            raise FloatingPointError(f"training diverged: {name} is not finite {when}")


def copy_weights(pipeline: Any) -> dict[str, torch.Tensor]:
    """Return a copy of the denoiser's weights on the CPU."""
    state = trainable_module(pipeline).state_dict()
    return {name: tensor.detach().cpu().clone() for name, tensor in state.items()}


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
    unlearn, pipeline = entry.load(), holder.open()
    saver = PointSaver(pipeline, holder, store)
    total = int(getattr(config, "steps", 1))
    with (
        count_steps(title, total),
        guarded(pipeline, entry.name, problem.seed) as watch,
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
