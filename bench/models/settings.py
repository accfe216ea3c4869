"""Settings of a pipeline besides its weights: configurations, tokenizers, the scales of LoRAs."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import Any

import torch

from ..errors import UserError

ASIDE = ("scheduler", "safety_checker", "feature_extractor", "image_encoder")
"""Components that are named elsewhere (the scheduler), or on which no image drawn from a prompt depends."""
SAVED = ("architectures", "dtype", "torch_dtype", "transformers_version", "requires_safety_checker")
"""Keys of configurations that say how something was saved; precision shows in the weights."""
UNSET = "unset"
"""Value of a setting that one of two pipelines does not have."""
SHOWN = 60
"""Most characters of a value that are shown."""
SCHEDULERS: dict[str, tuple[str, dict[str, Any]]] = {
    "ddim": (
        "DDIMScheduler",
        {"clip_sample": False, "set_alpha_to_one": False, "steps_offset": 1, "timestep_spacing": "leading"},
    ),
}
"""Name -> diffusers' class and the settings that make it the published sampler. `ddim` is that of Stable
Diffusion's first code (Song et al. 2021); its eta is 0, the default of a pipeline's call, which nothing here
changes."""


def settings_digest(pipeline: Any) -> str:
    """Return the sha256 over everything that distinguishes pipelines of equal weights and one scheduler."""
    parts = {name: part for name, part in pipeline.components.items() if name not in ASIDE}
    own = {key: value for key, value in dict(pipeline.config).items() if key not in pipeline.components}
    found = {"pipeline": _kept(own)} | {name: _describe(part) for name, part in parts.items()}
    return hashlib.sha256(json.dumps(found, sort_keys=True, default=str).encode()).hexdigest()


def describe_settings(pipeline: Any) -> dict[str, Any]:
    """Return all but tensors that decides a pipeline's images: classes, configurations, tokenizers.

    Of a safety checker only its class counts: it is not used.
    """
    own = {key: value for key, value in dict(pipeline.config).items() if key not in pipeline.components}
    found: dict[str, Any] = {"pipeline": {"class": type(pipeline).__name__} | _kept(own)}
    for name, part in pipeline.components.items():
        if name not in ASIDE:
            described = _describe(part)
            kept = described if isinstance(described, dict) else {}
            found[name] = {"class": type(part).__name__, **kept.pop("config", {}), **kept}
    scheduler = pipeline.scheduler
    found["scheduler"] = {"class": type(scheduler).__name__} | _kept(dict(scheduler.config))
    checker = getattr(pipeline, "safety_checker", None)
    found["safety_checker"] = {"class": type(checker).__name__}
    return found


def name_differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """Return a line for each setting that differs, as `scheduler: timestep_spacing: trailing -> leading`."""
    first, second = dict(_flatten(before)), dict(_flatten(after))
    names = [name for name in first | second if first.get(name, UNSET) != second.get(name, UNSET)]
    return [f"{': '.join(n)}: {_show(first.get(n, UNSET))} -> {_show(second.get(n, UNSET))}" for n in names]


def _flatten(settings: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Yield every innermost value with the names that lead to it."""
    if not isinstance(settings, Mapping) or not settings:
        yield path, list(settings) if isinstance(settings, tuple) else settings
        return
    for key, value in settings.items():
        if "vocabulary" in path or (key not in SAVED and not str(key).startswith("_")):
            yield from _flatten(value, (*path, str(key)))


def _show(value: Any) -> str:
    text = str(value)
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}..."


def _describe(part: Any) -> Any:
    """Return a component's settings, as JSON; None where there are none."""
    if isinstance(part, torch.nn.Module):
        config = getattr(part, "config", {})
        plain = config.to_dict() if hasattr(config, "to_dict") else dict(config)
        return {"config": _kept(plain), "scales": _scales(part)}
    return _describe_tokenizer(part) if hasattr(part, "get_vocab") else type(part).__name__


def _describe_tokenizer(tokenizer: Any) -> dict[str, Any]:
    fast = getattr(tokenizer, "backend_tokenizer", None)
    rules = {} if fast is None else json.loads(fast.to_str())
    # a call leaves its own padding and truncation there
    rules = {key: value for key, value in rules.items() if key not in ("padding", "truncation")}
    return {
        "vocabulary": tokenizer.get_vocab(),
        "rules": rules,
        "longest": tokenizer.model_max_length,
        "special": {name: str(token) for name, token in tokenizer.special_tokens_map.items()},
    }


def _kept(config: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in config.items() if not key.startswith("_") and key not in SAVED}


def _scales(module: torch.nn.Module) -> dict[str, Any]:
    """Return each adapted layer's factor of its LoRAs (alpha over rank), which is not in the weights."""
    layers = [(name, layer) for name, layer in module.named_modules() if hasattr(layer, "lora_A")]
    return {name: dict(layer.scaling) for name, layer in layers if isinstance(layer.scaling, dict)}


def set_scheduler(pipeline: Any, name: str) -> None:
    """Give a pipeline the scheduler of a name, with its own noise levels and prediction type.

    An empty name keeps the folder's. Raises UserError where there is no such name, or where the pipeline's
    own scheduler has no such noise levels (flow matching).
    """
    if not name:
        return
    import diffusers

    if name not in SCHEDULERS:
        raise UserError(f"scheduler: {name!r} is not known; known: {', '.join(SCHEDULERS)}")
    own = pipeline.scheduler
    if "beta_schedule" not in own.config:
        raise UserError(
            f"{type(own).__name__}: has no noise levels that {name} could draw by: not such a model"
        )
    kind, settings = SCHEDULERS[name]
    pipeline.scheduler = getattr(diffusers, kind).from_config(own.config, **settings)
