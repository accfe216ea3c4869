"""Models that others made: a diffusers folder or hub id, a LoRA of the world's base, a Python function."""

import hashlib
import importlib
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal
from uuid import uuid4

import numpy as np
import torch

from ..errors import UserError
from ..names import INLINE, name_model
from .digests import known_digest
from .files.partial import check_fits, holds_weights
from .files.single_file import check_checkpoint, is_checkpoint
from .generators import Sampling, check_model
from .hub import find, is_hub_id
from .isolation.process import keep_process
from .layout import INDEX
from .lora import LORA_FILE, check_lora
from .points import ModelHolder
from .saved.applied import read_applied

Kind = Literal["pipeline", "lora", "function", "weights", "checkpoint"]
"""weights: parameters of a denoiser in one file; checkpoint: a whole model in one file. Both need a base."""


_GIVEN: dict[str, tuple[str, Callable[..., Any]]] = {}
"""Functions that were passed as objects in this process: name -> its display name, and the function."""


@contextmanager
def given_function(function: Callable[..., Any], name: str) -> Iterator[str]:
    """Yield the name under which a function is a model inside.

    The name is new every time: the images of a function may depend on anything, so no two calls share stored
    images, even of the same function.
    """
    model = f"{INLINE}{uuid4().hex}"
    _GIVEN[model] = (name, function)
    try:
        yield model
    finally:
        del _GIVEN[model]


def name_given(model: str) -> str:
    """Return a model's display name."""
    return _GIVEN[model][0] if model in _GIVEN else name_model(model)


def kind_of(model: str) -> Kind:
    """Return the kind of model that a name means; raises UserError where it can be none of the three."""
    if model in _GIVEN:
        return "function"
    path = Path(model)
    if path.is_file():
        return _kind_of_file(path)
    if path.is_dir():
        if (path / INDEX).exists() and (path / LORA_FILE).exists():
            raise UserError(
                f"{model}: holds a pipeline and a LoRA; which is meant cannot be told: move one of them away"
            )
        if (path / LORA_FILE).is_file():
            return "lora"
        if (path / "adapter_model.safetensors").is_file():
            raise UserError(
                f"{model}: a LoRA as peft saves it, whose names do not say which network is meant; save it "
                "with the pipeline's save_lora_weights, and give that"
            )
        check_model(path)
        return "pipeline"
    module, _, function = model.partition(":")
    if function and all(part.isidentifier() for part in (*module.split("."), function)):
        return "function"
    if is_hub_id(model):
        return "pipeline"
    raise UserError(
        f"{model}: no such folder or file; give a diffusers folder, a hub id (owner/name), a LoRA "
        f"(.safetensors or a folder with {LORA_FILE}), a .safetensors file of a UNet or of SD 1.x, "
        "or a Python function (module:function)"
    )


def _kind_of_file(path: Path) -> Kind:
    if path.suffix != ".safetensors":
        raise UserError(
            f"{path}: not a .safetensors file: other formats of weights may run code; save it as .safetensors"
        )
    if is_checkpoint(path):
        return "checkpoint"
    return "weights" if holds_weights(path) else "lora"


def check_there(model: str) -> None:
    """Raise UserError, before anything runs, where a model is missing on this machine or is not a model."""
    kind = kind_of(model)
    if kind == "function":
        load_function(model)
    elif kind == "pipeline":
        check_model(find(model))
        read_applied(find(model))
    elif kind == "lora":
        check_lora(model)
    elif kind == "checkpoint":
        check_checkpoint(Path(model))
    model_digest(model)  # links that cannot be followed


def check_base(model: str, base: Path) -> None:
    """Raise UserError, before anything is drawn, where a file of weights is not of this base model."""
    if Path(model).is_file() and kind_of(model) == "weights":
        check_fits(Path(model), base)


def open_holder(
    model: str,
    base: Path,
    sampling: Sampling,
    device: str,
    frozen: bool = False,
    dtype: torch.dtype = torch.float32,
    offload: str = "",
) -> "ModelHolder | FunctionHolder":
    """Return the holder of a model, which opens it when something must be drawn. base: a LoRA's pipeline.

    An empty `model` is the base itself. frozen: as in ModelHolder, of the base. A function has no dtype, and
    is not offloaded.
    """
    if not model:
        return ModelHolder(str(base), sampling, device, dtype, frozen=frozen, offload=offload)
    kind = kind_of(model)
    if kind == "function":
        return FunctionHolder(model, sampling)
    if kind == "lora":
        return ModelHolder(str(base), sampling, device, dtype, lora=model, offload=offload)
    if kind in ("weights", "checkpoint"):
        return ModelHolder(str(base), sampling, device, dtype, file=model, offload=offload)
    return ModelHolder(model, sampling, device, dtype, offload=offload)


def name_models(models: Sequence[str]) -> list[tuple[int, str, str]]:
    """Return (step, label, model) of a cell's points: 1, 2, ... with their names where there are several.

    Without a model: the base, at step 0. Raises UserError where two would have one name.
    """
    if len(models) <= 1:
        return [(0, "", model) for model in models or ("",)]
    labels = [name_given(model) for model in models]
    for label in labels:
        if labels.count(label) > 1:
            raise UserError(
                f"--points: two are named {label!r}; rename one, their rows could not be told apart"
            )
    return [(i, label, model) for i, (label, model) in enumerate(zip(labels, models, strict=True), start=1)]


def model_digest(model: str) -> str:
    """Return a digest that changes with the model: of its files, or of a function's own `fingerprint`.

    For a hub id it is that of its snapshot on this machine. A function may depend on anything: without an
    attribute `fingerprint` it counts as new in every process, and one that was passed as an object every
    time.
    """
    if model in _GIVEN:
        return hashlib.sha256(model.encode()).hexdigest()
    if model and kind_of(model) == "function":
        known = getattr(load_function(model), "fingerprint", None)
        return _once(model) if known is None else hashlib.sha256(f"{model}|{known}".encode()).hexdigest()
    place = str(find(model)) if model else ""
    applied = read_applied(Path(place)) if place else None
    known = known_digest(place)
    return known if applied is None else hashlib.sha256(f"{known}|{applied.digest}".encode()).hexdigest()


@cache
def _once(model: str) -> str:
    return hashlib.sha256(f"{model}|{uuid4().hex}".encode()).hexdigest()


def load_function(name: str) -> Callable[..., Any]:
    """Return the function named `module:function`; raises UserError where it cannot be imported.

    Modules are also looked for in the current folder, as `python` does.
    """
    if name in _GIVEN:
        return _GIVEN[name][1]
    module, _, attribute = name.partition(":")
    if "" not in sys.path:
        sys.path.insert(0, "")
    try:
        found = getattr(importlib.import_module(module), attribute)
    except ModuleNotFoundError as error:
        raise UserError(f"{name}: no module named {error.name!r} here or installed") from None
    except AttributeError:
        raise UserError(f"{name}: the module {module} has nothing named {attribute!r}") from None
    if not callable(found):
        raise UserError(f"{name}: not a function")
    return found  # type: ignore[no-any-return]


@dataclass
class FunctionHolder:
    """A Python function in place of a pipeline: generate(prompts, seeds) -> n images of the world's size.

    prompts: list of str. seeds: list of int, one for each image, the same whatever the batch. Images: PIL
    images, or an array (n, H, W, 3) of uint8.
    """

    model: str
    sampling: Sampling
    dtype: torch.dtype = torch.float32

    @cached_property
    def fingerprint(self) -> str:
        """sha256 over the function's name, its own `fingerprint`, and the size of its images."""
        parts = [model_digest(self.model), str(self.sampling.height), str(self.sampling.width)]
        return hashlib.sha256("|".join(parts).encode()).hexdigest()

    def close(self) -> None:
        """Nothing is held."""

    @property
    def _called(self) -> str:
        """What messages call it: as the user wrote it, or the name of a function that was passed."""
        return name_given(self.model) if self.model in _GIVEN else self.model

    def generator(self, delta: str, payload: bytes | None) -> "FunctionGenerator":
        function = load_function(self.model)
        return FunctionGenerator(_FunctionPipeline(self._called, function), self.sampling, self.fingerprint)


@dataclass
class FunctionGenerator:
    """The counterpart of Generator for a function."""

    pipeline: "_FunctionPipeline"
    sampling: Sampling
    fingerprint: str

    def acting(self) -> AbstractContextManager[None]:
        """Return the context of a call: nothing acts on a function."""
        return nullcontext()


@dataclass
class _FunctionPipeline:
    """Answers a diffusers pipeline's call with the function's images."""

    name: str
    function: Callable[..., Any]

    def __call__(
        self, prompt: Sequence[str], generator: Sequence[torch.Generator], height: int, width: int, **_: Any
    ) -> SimpleNamespace:
        with keep_process():
            images = self.function(list(prompt), [source.initial_seed() for source in generator])
        if images is None or not hasattr(images, "__iter__"):
            raise UserError(f"{self.name}: gave {type(images).__name__}; needed: a list or array of images")
        stack = [np.asarray(image) for image in images]
        for image in stack:
            if image.shape != (height, width, 3) or image.dtype != np.uint8:
                raise UserError(
                    f"{self.name}: gave an image of shape {image.shape} and type {image.dtype}; "
                    f"needed: ({height}, {width}, 3) uint8, or a PIL image in RGB of that size"
                )
        if len(stack) != len(prompt):
            raise UserError(f"{self.name}: gave {len(stack)} images for {len(prompt)} prompts")
        return SimpleNamespace(images=np.stack(stack).astype(np.float64) / 255)
