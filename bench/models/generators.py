"""Generators: a diffusers pipeline with sampling settings, and the fingerprint that identifies it."""

import hashlib
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch

from ..errors import UserError
from .device.precision import type_of_part
from .digests import hook_names, network_parts
from .hub import find
from .layout import APPLY, read_layout
from .whole import check_files, first_line, open_networks, quiet


@dataclass(frozen=True)
class Sampling:
    """Settings of the pipeline's call; a part of every fingerprint and record.

    scheduler: of `bench/models/settings.py`, set when the pipeline is opened; "" = the one that its folder
    names.
    """

    steps: int
    guidance: float
    height: int
    width: int
    negative_prompt: str = ""
    scheduler: str = ""

    def stated(self) -> dict[str, Any]:
        """Return the settings as fingerprints and records hold them: a folder's own scheduler is left out."""
        return {name: value for name, value in vars(self).items() if name != "scheduler" or value}


class Acting(Protocol):
    """A method that acts on a pipeline while it draws. digest: over everything that decides how."""

    @property
    def digest(self) -> str: ...

    def acting(self, pipeline: Any) -> AbstractContextManager[None]: ...


@dataclass
class Generator:
    """A pipeline ready to draw. weights: digest of the base model's weights, and of its settings.

    delta: digest of a point's changes, "" = the base. applied: the sampling-time method that the point is
    drawn with. hooks: names of the hooks that it is drawn with; None = those that are on the pipeline now.
    """

    pipeline: Any
    sampling: Sampling
    weights: str
    delta: str = ""
    applied: Acting | None = None
    hooks: Sequence[str] | None = None

    def acting(self) -> AbstractContextManager[None]:
        """Return the context that the pipeline is called in."""
        return nullcontext() if self.applied is None else self.applied.acting(self.pipeline)

    @property
    def fingerprint(self) -> str:
        """sha256 over weights, delta, class, scheduler, sampling settings, hooks and sampling-time method.

        Precision and library versions are in `sampling.image_key`.
        """
        scheduler = {
            k: v for k, v in sorted(dict(self.pipeline.scheduler.config).items()) if not k.startswith("_")
        }
        parts = {
            "weights": self.weights,
            "delta": self.delta,
            "pipeline": type(self.pipeline).__name__,
            "scheduler": [type(self.pipeline.scheduler).__name__, scheduler],
            "sampling": self.sampling.stated(),
            "hooks": hook_names(self.pipeline) if self.hooks is None else list(self.hooks),
        }
        if self.applied is not None:
            parts["applied"] = self.applied.digest
        return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()


def open_pipeline(
    model: str | Path, device: str, dtype: torch.dtype = torch.float32, applied: bool = False
) -> Any:
    """Open a diffusers folder or hub id; raises UserError when it is not a text-to-image pipeline.

    dtype: of its networks; the autoencoder has float32 where float16 is asked for, in which it overflows.
    applied: whether the caller activates the folder's sampling-time method. Otherwise such a folder is
    refused, because its weights are not the model.
    """
    from diffusers import DiffusionPipeline

    quiet_libraries()
    folder = find(str(model))  # a hub id's snapshot on this machine: nothing is downloaded unasked
    layout = read_layout(folder)
    if (folder / APPLY).exists() and not applied:
        raise UserError(
            f"{folder}: {APPLY}: a sampling-time method acts while this model draws, and only its images can "
            "be measured; name the base model that it was made from"
        )
    check_files(layout)
    networks = open_networks(layout, dtype)
    try:
        with quiet():
            pipeline = DiffusionPipeline.from_pretrained(str(folder), local_files_only=True, **networks)
    except Exception as error:  # whatever a damaged tokenizer or scheduler makes the libraries raise
        raise UserError(f"{folder}: does not open as a diffusers pipeline: {first_line(error)}") from None
    pipeline.set_progress_bar_config(disable=True)
    for name, part in network_parts(pipeline).items():
        # transformers 5 opens a text encoder in the precision of its file, diffusers the rest as asked
        kind = type_of_part(name, dtype)
        if any(tensor.dtype != kind for tensor in part.parameters()):
            part.to(kind)
    return pipeline.to(device)


def quiet_libraries() -> None:
    """Switch off the loading bars of diffusers and transformers, which would break this package's own."""
    import diffusers.utils.logging
    import transformers.utils.logging

    diffusers.utils.logging.disable_progress_bar()
    transformers.utils.logging.disable_progress_bar()


def check_model(model: str | Path) -> None:
    """Raise UserError where a local folder is no complete text-to-image pipeline; opens no network."""
    folder = Path(model)
    if folder.exists():
        check_files(read_layout(folder))


def denoiser_name(pipeline: Any) -> str:
    """Return the name of a pipeline's denoiser component; raises UserError where it has none."""
    for name in ("unet", "transformer"):
        if getattr(pipeline, name, None) is not None:
            return name
    raise UserError(f"{type(pipeline).__name__}: has no denoiser to train")


def trainable_module(pipeline: Any) -> torch.nn.Module:
    """Return the denoiser that methods change."""
    module: torch.nn.Module = getattr(pipeline, denoiser_name(pipeline))
    return module


def relative_distance(
    before: Mapping[str, torch.Tensor], changed: Mapping[str, torch.Tensor]
) -> float | None:
    """Return the L2 norm of a change over that of all weights before it. changed: new values by name.

    None where there are no weights that could have changed. Rounded to six significant digits: the last bits
    of a sum depend on where the tensors are in memory, and a record's digest must not.
    """

    if not before:
        return None

    def square(tensors: Iterable[torch.Tensor]) -> float:
        return sum(float(tensor.double().square().sum()) for tensor in tensors)

    moved = square(new.double() - before[name].double() for name, new in changed.items())
    whole = square(tensor for tensor in before.values() if tensor.is_floating_point())
    return float(f"{math.sqrt(moved / whole):.6g}")


class Drawer(Protocol):
    """A model that is ready to draw."""

    @property
    def pipeline(self) -> Any:
        """The object that is called with prompts and noise, like a diffusers pipeline."""
        ...

    @property
    def sampling(self) -> Sampling:
        """Sampling settings: steps, guidance, size."""
        ...

    @property
    def fingerprint(self) -> str:
        """Digest of everything that changes an image."""
        ...

    def acting(self) -> AbstractContextManager[None]:
        """Context in which the sampling-time method is active, and after which nothing of it remains."""
        ...


class Holder(Protocol):
    """Opens one model when something must be drawn, and sets it to one point at a time."""

    @property
    def sampling(self) -> Sampling:
        """Sampling settings: steps, guidance, size."""
        ...

    @property
    def dtype(self) -> torch.dtype:
        """Type of its numbers."""
        ...

    @property
    def fingerprint(self) -> str:
        """Digest of the model as it was opened, without any point's weights."""
        ...

    def generator(self, delta: str, payload: bytes | None) -> Drawer:
        """Return the model at the point of a delta's digest and bytes; "" = as it was opened."""
        ...

    def close(self) -> None:
        """Release its memory."""
        ...
