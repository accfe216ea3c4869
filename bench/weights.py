"""How far the weights of two saved models lie apart, tensor by tensor, read from their safetensors files."""

import math
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open

from .errors import UserError


@dataclass(frozen=True)
class Change:
    """What differs between two models' weights.

    share: L2 norm of a tensor's change over the norm of the tensor before, the largest of all tensors; inf
    where a tensor was zero, has another shape or is in one model alone. tensor: which. differ, tensors: how
    many differ beyond a cast to the type that the second is saved in, of how many.
    """

    tensor: str
    share: float
    differ: int
    tensors: int


def largest_change(before: Path, after: Path) -> Change:
    """Compare two diffusers folders, a tensor in memory at a time.

    A tensor that is the other's cast to the type it is saved in has not changed, whatever the type: that is
    what saving a model in another precision does. Raises UserError where a folder has no safetensors file.
    """
    first, second = _index(before), _index(after)
    worst, largest, differ = "", 0.0, 0
    names = sorted(first.keys() | second.keys())
    for name in names:
        if name in first and name in second:
            share = _share(_read(first[name], name), _read(second[name], name))
        else:
            share = math.inf
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


def _index(model: Path) -> dict[str, Path]:
    """Return the file of each tensor, by component and name; a whole file counts before its fp16 variant."""
    found: dict[str, Path] = {}
    for file in sorted(model.glob("*/*.safetensors"), key=lambda path: (_is_variant(path), path)):
        for name in _keys(file):
            found.setdefault(f"{file.parent.name}.{name}", file)
    if not found:
        raise UserError(f"{model}: no .safetensors file in its components' folders: no weights to compare")
    return found


def _is_variant(path: Path) -> bool:
    return "." in path.stem


def _keys(file: Path) -> list[str]:
    try:
        with safe_open(file, framework="pt") as tensors:
            return list(tensors.keys())
    except SafetensorError as error:
        raise UserError(f"{file}: not a readable safetensors file: {error}") from None


def _read(file: Path, name: str) -> torch.Tensor:
    with safe_open(file, framework="pt") as tensors:
        tensor: torch.Tensor = tensors.get_tensor(name.removeprefix(f"{file.parent.name}."))
    return tensor
