"""Weights of a denoiser in one file, as ESD and UCE publish them: set into a base model, every one or none.

ESD (rohitgandikota/erasing) and UCE (rohitgandikota/unified-concept-editing) save the parameters that they
changed, under diffusers' names of the UNet's parameters. What the file does not hold is the base model's.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from ...errors import UserError
from ..generators import denoiser_name
from ..layout import read_layout
from ..whole import find_files, read_names, stem_of
from .single_file import is_checkpoint, set_checkpoint

PREFIXES = ("unet.", "transformer.", "")
"""Prefixes before the names of a denoiser's parameters; the last fits all names."""
Shapes = Mapping[str, tuple[int, ...]]


def holds_weights(path: Path) -> bool:
    """Return whether a file's names are those of a denoiser's parameters, not of a LoRA or a checkpoint."""
    names = list(read_names(path))
    parts = ("down_blocks.", "up_blocks.", "mid_block.", "transformer_blocks.", "single_transformer_blocks.")
    starts = ("conv_in.", "conv_out.", "time_embedding.", *parts)
    own = [name.removeprefix(_prefix(names)) for name in names]
    return bool(own) and not any("lora" in name for name in own) and any(n.startswith(starts) for n in own)


def _prefix(names: list[str]) -> str:
    return next(prefix for prefix in PREFIXES if all(name.startswith(prefix) for name in names))


def check_fits(path: Path, base: Path) -> None:
    """Raise UserError, opening no network, where a file's weights are not all of the base's denoiser."""
    layout = read_layout(base)
    name = next(name for name in ("unet", "transformer") if name in layout.components)
    files, _ = find_files(base / name, stem_of(layout.components[name]))
    there: dict[str, tuple[int, ...]] = {}
    for file in files:
        there |= read_names(file)
    _check(path, read_names(path), there, f"{base}: {name}")


def _check(path: Path, given: Shapes, there: Shapes, where: str) -> None:
    prefix = _prefix(list(given))
    strange = [name for name in given if name.removeprefix(prefix) not in there]
    if strange:
        raise UserError(
            f"{path}: no parameter of {where}: {len(strange)} of its {len(given)} tensors, first "
            f"{strange[0]}; these are weights of another base model; name theirs with --base-model"
        )
    for name, shape in given.items():
        own = there[name.removeprefix(prefix)]
        if tuple(shape) != tuple(own):
            raise UserError(
                f"{path}: {name}: is of shape {tuple(shape)}, {where} has {tuple(own)}: weights of another "
                "base model; name theirs with --base-model"
            )


@torch.no_grad()
def set_partial(network: Any, path: Path) -> None:
    """Set a denoiser's parameters to those in a file; raises UserError, changing nothing, unless all fit.

    Numbers that are not finite are refused: such a model draws nothing.
    """
    tensors, state = load_file(path), network.state_dict()
    _check(path, {n: tuple(t.shape) for n, t in tensors.items()},
           {n: tuple(t.shape) for n, t in state.items()}, type(network).__name__)  # fmt: skip
    prefix = _prefix(list(tensors))
    for name, tensor in tensors.items():
        if not tensor.isfinite().all():
            raise UserError(f"{path}: {name}: holds numbers that are not finite")
    for name, tensor in tensors.items():
        own = state[name.removeprefix(prefix)]
        own.copy_(tensor.to(own.dtype))


def set_file(pipeline: Any, path: Path) -> None:
    """Set a pipeline's weights to those of a single file: a denoiser's, or a whole checkpoint's."""
    if is_checkpoint(path):
        set_checkpoint(pipeline, path)
    else:
        set_partial(getattr(pipeline, denoiser_name(pipeline)), path)
