"""A point's delta: the changed tensors of every network that a method trains, and the method's own tensors.

Tensors of the denoiser have their plain names. Those of a text encoder begin with the component's name, those
that a sampling-time method keeps begin with `apply.`.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from safetensors.torch import load, save
from torch import Tensor, nn

from ...errors import UserError
from ...registry import TRAINABLE
from ..adapters import plain_state
from ..generators import denoiser_name

DENOISER = "denoiser"
APPLIED = "apply"
"""Prefix of the tensors that a sampling-time method keeps, and key of its description."""
PREFIXES = (*(name for name in TRAINABLE if name != DENOISER), APPLIED)


def components_of(pipeline: Any, trains: Sequence[str]) -> list[str]:
    """Return the components of a pipeline that a method's `trains` names; raises UserError where it has none
    of them. Names that it does not have are ignored."""
    named = [denoiser_name(pipeline) if name == DENOISER else name for name in trains]
    found = [name for name in named if getattr(pipeline, name, None) is not None]
    if named and not found:
        raise UserError(f"{type(pipeline).__name__}: has no {' or '.join(named)} to train")
    return found


def read_weights(pipeline: Any, components: Sequence[str]) -> dict[str, Tensor]:
    """Return the weights of components by their names in a delta, with the adapters' contribution."""
    plain = denoiser_name(pipeline)
    return {
        name if component == plain else f"{component}.{name}": tensor
        for component in components
        for name, tensor in plain_state(getattr(pipeline, component)).items()
    }


def copy_tensors(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return copies on the CPU."""
    return {name: tensor.detach().cpu().clone() for name, tensor in tensors.items()}


@dataclass(frozen=True)
class Delta:
    """The contents of a point's payload. weights: by component. tensors: of a sampling-time method.

    applied: description of that method; None where the point is drawn only by its weights.
    """

    weights: Mapping[str, Mapping[str, Tensor]]
    tensors: Mapping[str, Tensor]
    applied: Mapping[str, Any] | None


def changed_weights(before: Mapping[str, Tensor], now: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors that differ from those `before`, on the CPU: as values, so that nothing rounds."""
    found: dict[str, Tensor] = {}
    places: set[int] = set()
    for name, tensor in now.items():
        value = tensor.detach().cpu().contiguous()
        if not torch.equal(value, before[name]):
            # tied weights share memory, which a safetensors file cannot express
            found[name] = value.clone() if value.data_ptr() in places else value
            places.add(value.data_ptr())
    return found


def write_delta(
    changed: Mapping[str, Tensor],
    tensors: Mapping[str, Tensor] | None = None,
    applied: Mapping[str, Any] | None = None,
) -> bytes:
    """Serialise changed weights and a sampling-time method's data; equal content gives equal bytes."""
    kept = {f"{APPLIED}.{name}": value.contiguous() for name, value in copy_tensors(tensors or {}).items()}
    if applied is None:
        return save(dict(changed))
    return save({**changed, **kept}, {APPLIED: json.dumps(applied, sort_keys=True)})


def read_delta(payload: bytes, denoiser: str) -> Delta:
    """Return what `write_delta` serialised; denoiser: the name of its component."""
    parts: dict[str, dict[str, Tensor]] = {}
    for name, tensor in load(payload).items():
        first, _, inner = name.partition(".")
        component, own = (first, inner) if first in PREFIXES else (denoiser, name)
        parts.setdefault(component, {})[own] = tensor
    size = int.from_bytes(payload[:8], "little")
    told = json.loads(payload[8 : 8 + size]).get("__metadata__") or {}
    applied = json.loads(told[APPLIED]) if APPLIED in told else None
    return Delta(
        {name: part for name, part in parts.items() if name != APPLIED}, parts.get(APPLIED, {}), applied
    )


def set_weights(module: nn.Module, base: Mapping[str, Tensor], changed: Mapping[str, Tensor]) -> None:
    """Set a network to its base weights, with the changed ones replaced."""
    module.load_state_dict({**base, **changed})


def restore_weights(pipeline: Any, payload: bytes) -> None:
    """Set a pipeline to the weights of a saved point; raises UserError where they are not the whole model."""
    found = read_delta(payload, denoiser_name(pipeline))
    if found.applied is not None:
        raise UserError(
            f"{found.applied['method']}: acts while images are drawn; nothing can be trained on it"
        )
    for name, weights in found.weights.items():
        module = getattr(pipeline, name)
        set_weights(module, module.state_dict(), weights)


def check_finite(weights: Mapping[str, torch.Tensor], when: str) -> None:
    """Raise FloatingPointError where one of some weights is not finite."""
    for name, tensor in weights.items():
        if tensor.is_floating_point() and not torch.isfinite(tensor).all():
            raise FloatingPointError(f"training diverged: {name} is not finite {when}")


def copy_weights(pipeline: Any, components: Sequence[str]) -> dict[str, torch.Tensor]:
    """Return copies of the weights of components by their names in a delta."""
    return copy_tensors(read_weights(pipeline, components))
