"""Loads a LoRA file into a pipeline, and refuses one that did not arrive complete and at its own scale.

Every tensor of the file must be a matrix of a LoRA pair or a pair's alpha: diffusers drops some others with a
warning, and a part of a LoRA is a model that nobody trained. After loading, each row of alpha/rank · B A of
the file is looked for among the rows that the pipeline's layers add. Rows are compared by their product with
one fixed random vector for each input width. This also works where diffusers splits a matrix among layers, or
moves a scale into it.
"""

import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor

from ..errors import UserError
from .whole import first_line, quiet, read_names

LORA_FILE = "pytorch_lora_weights.safetensors"
"""File name with which diffusers and peft-based trainers save a LoRA."""
MATRIX = re.compile(r"(?P<stem>.+?)[._]lora[._](?P<kind>A|B|down|up)(\.default)?\.weight")
"""Names of either matrix of a pair, in all ways of saving it."""
ALPHA = re.compile(r"(?P<stem>.+?)(\.lora)?\.alpha")
Shapes = Mapping[str, tuple[int, ...]]
METADATA = "lora_adapter_metadata"
"""Key under which diffusers keeps peft's configuration of each network in the file."""
PEFT = "base_model.model."
"""Prefix that peft's save_pretrained puts before each name; it does not say which network is meant."""
ROUNDING = {torch.float32: 1e-5, torch.float16: 1e-2, torch.bfloat16: 4e-2}
"""Share of the largest entry by which a row may differ, by the precision in which a LoRA is loaded."""


@dataclass(frozen=True)
class _Pair:
    """Matrices (rank, inputs...) and (outputs, rank...) and the factor of their product."""

    down: Tensor
    up: Tensor
    factor: float


def lora_path(lora: str | Path) -> Path:
    """Return the file of a LoRA that is given as a file or as a folder."""
    path = Path(lora)
    return path / LORA_FILE if path.is_dir() else path


def check_lora(lora: str | Path) -> None:
    """Raise UserError where a LoRA's file is incomplete, or has tensors of another kind; loads nothing."""
    path = lora_path(lora)
    shapes = read_names(path)
    if not shapes:
        raise UserError(f"{path}: holds no tensor: not a LoRA")
    pairs: dict[str, dict[str, str]] = {}
    for name in sorted(shapes):
        if name.startswith(PEFT):
            raise UserError(
                f"{path}: {name}: peft's own name, which diffusers finds no layer by; save the LoRA with the "
                "pipeline's save_lora_weights"
            )
        if match := MATRIX.fullmatch(name):
            side = "down" if match["kind"] in ("A", "down") else "up"
            if pairs.setdefault(match["stem"], {}).setdefault(side, name) != name:
                raise UserError(f"{path}: {name}: a second matrix of one layer: which counts cannot be told")
        elif not ALPHA.fullmatch(name):
            raise UserError(
                f"{path}: {name}: not a matrix or an alpha of a LoRA, and would be left out: the rest is "
                "another model; merge it into a pipeline folder and give that"
            )
    _check_pairs(path, shapes, pairs)


def _check_pairs(
    path: Path, shapes: Mapping[str, tuple[int, ...]], pairs: Mapping[str, Mapping[str, str]]
) -> None:
    for stem, sides in pairs.items():
        if len(sides) < 2:
            raise UserError(
                f"{path}: {next(iter(sides.values()))}: the other matrix of this layer is missing"
            )
        down, up = shapes[sides["down"]], shapes[sides["up"]]
        if len(down) not in (2, 4) or len(up) not in (2, 4) or down[0] != up[1] or math.prod(up[2:]) != 1:
            raise UserError(f"{path}: {stem}: matrices of shapes {down} and {up} are no LoRA's")
    for name in shapes:
        match = None if MATRIX.fullmatch(name) else ALPHA.fullmatch(name)
        if match and (match["stem"] not in pairs or math.prod(shapes[name]) != 1):
            raise UserError(f"{path}: {name}: no alpha of a layer that the file has")


def load_lora(pipeline: Any, lora: str) -> None:
    """Load a LoRA into a pipeline; raises UserError where it does not fit completely, or peft is missing."""
    from diffusers.utils import is_peft_available

    if not is_peft_available():
        raise UserError(f"{lora}: a LoRA needs peft; install it with: pip install 'unlearnbench[lora]'")
    check_lora(lora)
    path = lora_path(lora)
    try:
        with quiet():
            pipeline.load_lora_weights(
                str(path.parent), weight_name=path.name, use_safetensors=True, local_files_only=True
            )
    except Exception as error:  # whatever a file of other names makes diffusers and peft raise
        raise UserError(f"{lora}: does not load as a LoRA: {first_line(error)}") from None
    _check_arrived(pipeline, path, lora)


def _check_arrived(pipeline: Any, path: Path, lora: str) -> None:
    """Raise UserError unless the pipeline's layers add exactly the contents of the file."""
    pairs, layers = _read_pairs(path), list(_layers(pipeline))
    if not layers:
        raise UserError(f"{lora}: no weight of it belongs to this pipeline: not a LoRA of this base model")
    if len(layers) < len(pairs):
        left = 2 * (len(pairs) - len(layers))
        raise UserError(
            f"{lora}: {left} of its tensors belong to no layer of this pipeline: not a LoRA of this base "
            "model"
        )
    theirs, ours = _rows(pairs), _rows(layers)
    allowed = max(ROUNDING.get(pair.down.dtype, 4e-2) for pair in [*pairs, *layers])
    for width in sorted(theirs.keys() | ours.keys()):
        wanted, found = theirs.get(width, torch.empty(0)), ours.get(width, torch.empty(0))
        if not wanted.isfinite().all():
            raise UserError(f"{lora}: holds numbers that are not finite")
        if wanted.shape != found.shape:
            raise UserError(
                f"{lora}: {abs(len(wanted) - len(found))} rows of its tensors belong to no layer of this "
                "pipeline: not a LoRA of this base model"
            )
        if (wanted - found).abs().max() > allowed * wanted.abs().max():
            raise UserError(
                f"{lora}: loads at another scale than alpha over rank of its own tensors; merge it into a "
                "pipeline folder and give that, or install the newest diffusers and peft"
            )


def _layers(pipeline: Any) -> Iterator[_Pair]:
    """Yield the LoRA pair that each adapted layer of a pipeline adds; none where it is switched off."""
    for network in pipeline.components.values():
        layers: Iterable[Any] = network.modules() if isinstance(network, torch.nn.Module) else ()
        for layer in layers:
            adapters = getattr(layer, "lora_A", None)
            if not isinstance(adapters, torch.nn.ModuleDict) or getattr(layer, "disable_adapters", False):
                continue
            for name in set(adapters) & set(layer.active_adapters):
                down, up = layer.lora_A[name].weight, layer.lora_B[name].weight
                yield _Pair(down, up, float(layer.scaling[name]))


def _read_pairs(path: Path) -> list[_Pair]:
    tensors, factors = load_file(path), _Factors(path)
    sides: dict[str, dict[str, Tensor]] = {}
    alphas: dict[str, float] = {}
    for name, tensor in tensors.items():
        if match := MATRIX.fullmatch(name):
            sides.setdefault(match["stem"], {})["down" if match["kind"] in ("A", "down") else "up"] = tensor
        elif match := ALPHA.fullmatch(name):
            alphas[match["stem"]] = float(tensor)
    return [
        _Pair(pair["down"], pair["up"], factors.find(stem, pair["down"].shape[0], alphas.get(stem)))
        for stem, pair in sides.items()
    ]


class _Factors:
    """Factors of a file's pairs: alpha over rank, from its tensors or from peft's configuration."""

    def __init__(self, path: Path) -> None:
        with safe_open(path, "pt") as file:
            text = (file.metadata() or {}).get(METADATA)
        try:
            self.given: dict[str, Any] = dict(json.loads(text)) if text else {}
        except (ValueError, TypeError):
            raise UserError(f"{path}: {METADATA}: not valid JSON") from None

    def find(self, stem: str, rank: int, alpha: float | None) -> float:
        """Return a pair's factor: 1 where neither the file nor a configuration has an alpha."""
        if alpha is not None:
            return alpha / rank
        prefix = next((p for p in self._prefixes() if stem.startswith(p)), "")
        told = {k.removeprefix(prefix): v for k, v in self.given.items() if k.startswith(prefix)}
        if "lora_alpha" not in told:
            return 1.0
        layer, patterns = stem.removeprefix(prefix), told.get("alpha_pattern") or {}
        value = next(
            (v for k, v in patterns.items() if re.match(rf"(.*\.)?({k})$", layer)), told["lora_alpha"]
        )
        return float(value) / (math.sqrt(rank) if told.get("use_rslora") else rank)

    def _prefixes(self) -> set[str]:
        """Return the prefixes of networks' settings, such as `unet.` before `r`; tensors have them, too."""
        return {key.removesuffix("lora_alpha") for key in self.given if key.endswith(".lora_alpha")}


def _rows(pairs: list[_Pair]) -> dict[int, Tensor]:
    """Return input width -> the rows of all products times a vector that depends on the width, sorted."""
    found: dict[int, list[Tensor]] = {}
    for pair in pairs:
        down, up = (matrix.detach().cpu().double().flatten(1) for matrix in (pair.down, pair.up))
        width = down.shape[1]
        vector = torch.randn(width, generator=torch.Generator().manual_seed(width), dtype=torch.float64)
        found.setdefault(width, []).append(pair.factor * (up @ (down @ vector)))
    return {width: torch.cat(rows).sort().values for width, rows in found.items()}
