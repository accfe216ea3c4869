"""The state of a pipeline besides the trained weights, to find changes that no point would hold.

A point is drawn by a pipeline opened from files, into which the saved difference of the trained weights is
loaded. Any other change by a method would be lost silently, so `find_changes` names it.
"""

import functools
import hashlib
import inspect
import json
from collections.abc import Iterator, Mapping, Sequence
from enum import Enum
from typing import Any

import torch
from torch import Tensor, nn

from ..adapters import NAME, has_lora, plain_state
from ..digests import CAPTURING

State = dict[tuple[str, str], Any]
"""(component, aspect of it) -> a description that compares equal where nothing changed."""
CONTAINERS = {"_parameters", "_buffers", "_modules", "_non_persistent_buffers_set", "_is_full_backward_hook"}
"""Attributes of every torch module whose contents are described in other ways."""
HARMLESS = {
    "training",
    "gradient_checkpointing",
    "_gradient_checkpointing_func",
    "_hf_peft_config_loaded",
    "peft_config",
}
"""Attributes that change how a network trains; a newly opened pipeline has its own."""
SCHEDULE = ("betas", "alphas", "alphas_cumprod", "final_alpha_cumprod", "one", "init_noise_sigma")
"""Attributes of a scheduler that its configuration fixes; the others are the state of the last drawing."""
DATA = "the attribute "
"""Prefix of the names of data on a module; one more such attribute changes nothing by itself."""
DEPTH = 8
"""Levels of nested objects that are described; deeper ones are compared by identity."""


class Same:
    """Compares equal to another `Same` of the identical object."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Same) and other.value is self.value

    __hash__ = None  # type: ignore[assignment]


def read_state(pipeline: Any, trains: Sequence[str]) -> State:
    """Return the state of a pipeline. trains: components whose weights count only with names, shapes and
    types."""
    state: State = {("pipeline", "its class"): type(pipeline)}
    state |= {("pipeline", what): found for what, found in _own_methods(pipeline)}
    state["pipeline", "its components"] = sorted(n for n, p in pipeline.components.items() if p is not None)
    for name, part in pipeline.components.items():
        if isinstance(part, nn.Module):
            found = _network_facts(part, is_trained=name in trains)
        elif hasattr(part, "set_timesteps"):
            found = _scheduler_facts(part)
        elif hasattr(part, "model_max_length"):
            found = _tokenizer_facts(part)
        else:
            found = iter([("its settings", _describe(part))])
        state |= {(name, what): value for what, value in found}
    return state


def find_changes(before: State, after: State, whole: bool = True) -> list[str]:
    """Return the differences, as `COMPONENT (aspect; ...)`, one entry for each component.

    whole: hooks, replaced functions and processors, and attributes count, too.
    """
    changed: dict[str, list[str]] = {}
    nothing = Same(None)
    added = (key for key in after if key not in before and not key[1].startswith(DATA))
    for key in [*before, *added]:
        if before.get(key, nothing) != after.get(key, nothing) and (whole or not _acts(key[1])):
            changed.setdefault(key[0], []).append(key[1])
    return [f"{name} ({_name_some(what)})" for name, what in changed.items()]


def _acts(what: str) -> bool:
    """Return whether an entry is of a kind through which a method may act while the pipeline draws."""
    return what.startswith(("hooks", DATA)) or what.endswith((", replaced", "on the object itself"))


def _name_some(what: list[str]) -> str:
    return ", ".join(what[:2]) + (f" and {len(what) - 2} more" if len(what) > 2 else "")


def _network_facts(network: nn.Module, is_trained: bool) -> Iterator[tuple[str, Any]]:
    state = plain_state(network) if is_trained else network.state_dict()
    if is_trained:
        yield "names and shapes of its weights", {name: tuple(t.shape) for name, t in state.items()}
        yield "the type of its weights", {name: t.dtype for name, t in state.items()}
        yield "adapters that no point holds", _lost_adapters(network)
    else:
        for name, tensor in state.items():
            yield f"the weights {name}", digest_tensor(tensor)
    for name, tensor in network.named_buffers():
        if _plain_name(name) not in state and not _is_adapter(name):
            yield f"the buffer {_plain_name(name)}", digest_tensor(tensor)
    for name, module in _plain_modules(network):
        where = f" of {name}" if name else ""
        yield f"the class{where}", type(module)
        yield from _module_facts(module, where)


def _module_facts(module: nn.Module, where: str) -> Iterator[tuple[str, Any]]:
    for name, value in vars(module).items():
        if name in CONTAINERS or name in HARMLESS:
            continue
        if name.endswith(("_hooks", "_hooks_with_kwargs", "_hooks_always_called")):
            hooks = [Same(h) for h in dict(value).values() if getattr(h, "__module__", None) != CAPTURING]
            if hooks:
                yield f"hooks{where} ({name.strip('_')})", hooks
        elif inspect.isroutine(value) or hasattr(type(module), name):
            yield f"{name}{where}, replaced", _describe(value)
        else:
            yield f"{DATA}{name}{where}", _describe(value)


def _plain_modules(network: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Yield a network's modules under the names that they have without adapters; adapters are left out."""
    for name, module in network.named_modules():
        is_wrapper = has_lora(network) and hasattr(module, "get_delta_weight")
        if not _is_adapter(name) and not is_wrapper:
            yield _plain_name(name), module


def _plain_name(name: str) -> str:
    return ".".join(part for part in name.split(".") if part != "base_layer")


def _is_adapter(name: str) -> bool:
    return any(part.startswith("lora_") for part in name.split("."))


def _lost_adapters(network: nn.Module) -> bool:
    """Return whether adapters act differently from the one that `plain_state` adds to a point's weights."""
    layers: list[Any] = [layer for layer in network.modules() if hasattr(layer, "get_delta_weight")]
    return has_lora(network) and not all(_is_plain_adapter(layer) for layer in layers)


def _is_plain_adapter(layer: Any) -> bool:
    acts = not layer.disable_adapters and not layer.merged and list(layer.active_adapters) == [NAME]
    return acts and set(layer.lora_A) == {NAME} and not any(getattr(layer, "use_dora", {}).values())


def _scheduler_facts(scheduler: Any) -> Iterator[tuple[str, Any]]:
    yield "its class", type(scheduler)
    config = {name: value for name, value in dict(scheduler.config).items() if not name.startswith("_")}
    yield "its configuration", _describe(config)
    yield "its schedule", {n: _describe(getattr(scheduler, n)) for n in SCHEDULE if hasattr(scheduler, n)}
    yield from _own_methods(scheduler)


def _tokenizer_facts(tokenizer: Any) -> Iterator[tuple[str, Any]]:
    yield "its class", type(tokenizer)
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        yield "its vocabulary", dict(tokenizer.get_vocab())
    else:
        content = json.loads(backend.to_str())
        for last_call in ("truncation", "padding"):
            content.pop(last_call, None)
        yield "its vocabulary", hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
    names = ("model_max_length", "padding_side", "truncation_side", "special_tokens_map")
    yield "its settings", {name: _describe(getattr(tokenizer, name, None)) for name in names}
    yield from _own_methods(tokenizer)


def _own_methods(thing: Any) -> Iterator[tuple[str, Any]]:
    """Yield the functions on an object itself, in place of those of its class."""
    for name, value in vars(thing).items():
        if callable(value) and not isinstance(value, type | nn.Module) and hasattr(type(thing), name):
            yield f"{name} on the object itself", Same(value)


def digest_tensor(tensor: Tensor) -> str:
    """Return the sha256 over a tensor's type, shape and bytes."""
    start = f"{tensor.dtype} {tuple(tensor.shape)}".encode()
    if tensor.is_meta:
        return hashlib.sha256(start).hexdigest()
    flat = tensor.detach().cpu().contiguous().flatten().view(torch.uint8)
    return hashlib.sha256(start + flat.numpy().tobytes()).hexdigest()


def _describe(value: Any, depth: int = DEPTH) -> Any:
    """Return a description that is equal for equal values; functions, modules and others by identity."""
    if value is None or isinstance(value, bool | int | str | bytes | Enum | type | torch.dtype):
        return value
    if isinstance(value, float):
        return repr(value)
    if isinstance(value, Tensor):
        return digest_tensor(value)
    if depth == 0 or isinstance(value, nn.Module):
        return Same(value)
    if isinstance(value, Mapping):
        return type(value), {str(key): _describe(item, depth - 1) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value), [_describe(item, depth - 1) for item in value]
    return _describe_object(value, depth)


def _describe_object(value: Any, depth: int) -> Any:
    if isinstance(value, functools.partial):
        return _describe([value.func, value.args, value.keywords], depth - 1)
    if isinstance(value, set | frozenset):
        return sorted(map(repr, value))
    if inspect.isroutine(value) or hasattr(value, "__wrapped__") or not hasattr(value, "__dict__"):
        return Same(value)
    return type(value), {name: _describe(item, depth - 1) for name, item in vars(value).items()}
