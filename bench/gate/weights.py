"""Compare the weights of two saved models tensor by tensor, from their safetensors files."""

import math
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open

from ..errors import UserError


@dataclass(frozen=True)
class Change:
    """The differences between two models' weights.

    share: L2 norm of a tensor's change over the norm of the tensor before, the largest of all tensors; inf
    where a tensor was zero, has another shape or is in only one model. tensor: which. differ, tensors: how
    many differ beyond a cast to the type that the second is saved in, of how many. settings: a line for each
    other thing that decides the images and differs (classes, configurations, scheduler, tokenizer).
    """

    tensor: str
    share: float
    differ: int
    tensors: int
    settings: tuple[str, ...] = ()


def largest_change(before: Path, after: Path) -> Change:
    """Compare two diffusers folders, a tensor in memory at a time.

    A tensor that is the other's cast to the type it is saved in has not changed, whatever the type: that is
    what saving a model in another precision does. Raises UserError where a folder has no safetensors file.
    """
    worst, largest, differ = "", 0.0, 0
    with ExitStack() as files:
        first, second = _index(before, files), _index(after, files)
        names = sorted(first.keys() | second.keys())
        for name in names:
            both = name in first and name in second
            share = _share(first[name](), second[name]()) if both else math.inf
            differ += share > 0
            if share > largest:
                worst, largest = name, share
    return Change(worst, largest, differ, len(names))


def _share(before: torch.Tensor, after: torch.Tensor) -> float:
    if before.shape != after.shape:
        return math.inf
    if torch.equal(before.to(after.dtype), after):
        return 0.0
    moved, whole = (after.double() - before.double()).norm(), before.double().norm()
    return float(moved / whole) if whole > 0 and math.isfinite(moved) else math.inf


def _index(model: Path, files: ExitStack) -> dict[str, Callable[[], torch.Tensor]]:
    """Return what reads each tensor, by component and name, as long as `files` is open; a whole file counts
    before its fp16 variant."""
    found: dict[str, Callable[[], torch.Tensor]] = {}
    for path in sorted(model.glob("*/*.safetensors"), key=lambda path: (_is_variant(path), path)):
        try:
            file = files.enter_context(safe_open(path, framework="pt"))
        except SafetensorError as error:
            raise UserError(f"{path}: not a readable safetensors file: {error}") from None
        for name in file.keys():  # noqa: SIM118 (no mapping: it has no other way to its names)
            found.setdefault(f"{path.parent.name}.{name}", partial(file.get_tensor, name))
    if not found:
        raise UserError(f"{model}: no .safetensors file in its components' folders: no weights to compare")
    return found


def _is_variant(path: Path) -> bool:
    return "." in path.stem
