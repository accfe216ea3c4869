"""The layout of a diffusers folder, checked before a library reads it: no foreign code, no missing parts."""

import inspect
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from ..errors import UserError

INDEX = "model_index.json"
APPLY = "apply.json"
"""File that names the sampling-time method with which a folder's model draws."""
APPLY_KEY = "unlearnbench_apply"
"""Key for it in the index: diffusers warns of it when the folder is opened without the method."""
CONFIGS = ("config.json", "scheduler_config.json", "tokenizer_config.json", "preprocessor_config.json")
"""Configuration files of a component's folder."""
CODE_KEYS = ("auto_map", "custom_pipelines", "custom_pipeline", "trust_remote_code")
"""Keys of a configuration that refer to code in the model's own files."""
ATTENTIONS = (None, "eager", "sdpa")
"""Allowed values of `attn_implementation`: transformers loads any other one as code, from a package or from
the hub."""
RENAMED = {"CLIPFeatureExtractor": "CLIPImageProcessor"}
"""Classes that transformers 5 has under another name; diffusers accepts the new one, too."""
OTHER_INPUTS = ("image", "mask_image", "control_image", "num_frames", "video")
"""Arguments of pipelines that do more than draw an image from a prompt, or something else."""


@dataclass(frozen=True)
class Layout:
    """A folder's pipeline class, and the class of each component that it has, by name."""

    folder: Path
    pipeline: Any
    components: Mapping[str, Any]


def read_layout(folder: Path) -> Layout:
    """Return the layout of a diffusers folder; opens no weights and runs none of the folder's code.

    Raises UserError where `model_index.json` is malformed, where it names anything but a text-to-image
    pipeline of diffusers with components of diffusers and transformers, where a component's folder is
    missing, and where a configuration refers to code.
    """
    if not (folder / INDEX).is_file():
        raise UserError(f"{folder}: not a diffusers pipeline folder (no {INDEX})")
    index = read_config(folder / INDEX)
    _refuse_code(folder)
    if APPLY_KEY in index and not (folder / APPLY).is_file():
        raise UserError(
            f"{folder}: {APPLY} is missing: its {INDEX} says that a method acts while it draws; fetch it"
        )
    pipeline = _find_pipeline(folder, index)
    components = dict(_find_components(folder, index, pipeline))
    for name in components:
        _check_component(folder / name)
    return Layout(folder, pipeline, components)


def read_config(path: Path) -> dict[str, Any]:
    """Return the object in a JSON file that a library reads; raises UserError naming file and fault."""
    try:
        content = json.loads(path.read_bytes().decode("utf-8"))
    except UnicodeDecodeError:
        raise UserError(f"{path}: not UTF-8 text; save it as UTF-8") from None
    except json.JSONDecodeError as error:
        if "BOM" in str(error):
            raise UserError(f"{path}: begins with a byte order mark; save it as UTF-8 without one") from None
        raise UserError(f"{path}: not valid JSON: {error}") from None
    except RecursionError:
        raise UserError(f"{path}: not valid JSON: nested too deeply") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from None
    except ValueError as error:  # a number of more digits than Python reads
        raise UserError(f"{path}: not valid JSON: {error}") from None
    if not isinstance(content, dict):
        raise UserError(f"{path}: holds {_kind(content)}; needed: an object with names and values")
    for key in CODE_KEYS:
        if content.get(key):
            raise UserError(f"{path}: {key}: refers to code; models here run no code of their own")
    return content


def _kind(value: Any) -> str:
    known = {list: "a list", dict: "an object", str: "text", bool: "true or false", type(None): "null"}
    return known.get(type(value), "a number")


def _refuse_code(folder: Path) -> None:
    """Raise UserError for Python files where diffusers looks for them: at the index and in components."""
    for path in sorted([*folder.glob("*.py"), *folder.glob("*/*.py")]):
        raise UserError(f"{path}: is code, and models here run no code of their own; remove it")


def _find_pipeline(folder: Path, index: Mapping[str, Any]) -> Any:
    import diffusers

    name, path = index.get("_class_name"), folder / INDEX
    if not isinstance(name, str):
        raise UserError(f"{path}: _class_name: is {_kind(name)}; needed: the name of a pipeline of diffusers")
    found = getattr(diffusers, name, None) if name.isidentifier() else None
    if not inspect.isclass(found) or not issubclass(found, diffusers.DiffusionPipeline):
        raise UserError(f"{path}: _class_name: {name[:80]!r}: diffusers has no pipeline of this name")
    call: Any = vars(found).get("__call__") or getattr(found, "__call__", None)  # noqa: B004
    takes = inspect.signature(call).parameters.keys()
    draws = {"prompt", "height", "width"} <= takes and not takes & set(OTHER_INPUTS)
    if not draws or getattr(found, "_load_connected_pipes", False):
        raise UserError(f"{path}: _class_name: {name}: not a text-to-image diffusion pipeline")
    return found


def _find_components(folder: Path, index: Mapping[str, Any], pipeline: Any) -> Iterator[tuple[str, Any]]:
    """Yield name and class of each component in the index; raises UserError for an entry that is none."""
    parameters = inspect.signature(pipeline.__init__).parameters
    wanted = {
        n for n, p in parameters.items() if p.default is p.empty and n not in ("self", "args", "kwargs")
    }
    optional = set(getattr(pipeline, "_optional_components", ()))
    path = folder / INDEX
    if not {"unet", "transformer"} & parameters.keys() & index.keys():
        raise UserError(
            f"{folder}: has neither a unet nor a transformer: not a text-to-image diffusion pipeline"
        )
    for name in sorted(wanted - optional):
        if name not in index or index[name] == [None, None]:
            raise UserError(f"{path}: {name}: not named; {pipeline.__name__} needs one")
    for name, value in index.items():
        if name.startswith("_") or not (isinstance(value, list | dict) or name in wanted | optional):
            continue
        if not _is_pair(value):
            raise UserError(f"{path}: {name}: needed: [library, class], or [null, null] for none")
        if value[0] is None:
            continue
        if name not in parameters:
            raise UserError(f"{path}: {name}: no component of {pipeline.__name__}; it would go unused")
        yield name, _find_class(path, name, *value)
        if not (folder / name).is_dir():
            raise UserError(
                f"{folder}: {INDEX} names {name!r} but the folder {name}/ is missing"
                + ("; fetch it, or write [null, null] there" if name in optional else "; fetch it")
            )


def _is_pair(value: Any) -> bool:
    if not isinstance(value, list) or len(value) != 2:
        return False
    return value == [None, None] or all(isinstance(part, str) for part in value)


def _find_class(path: Path, name: str, library: str, kind: str) -> Any:
    """Return a component's class; raises UserError unless diffusers or transformers has it and it fits."""
    module = _find_library(library)
    if module is None:
        raise UserError(
            f"{path}: {name}: {library[:80]!r}: components are only of diffusers or transformers: models "
            "here run no code of their own"
        )
    found = getattr(module, _renamed(library, kind), None) if kind.isidentifier() else None
    bases = _bases(name)
    if not inspect.isclass(found) or not issubclass(found, bases):
        raise UserError(f"{path}: {name}: {library} has no {kind[:80]!r} that can be a {name}")
    if found.__module__.split(".")[0] not in ("diffusers", "transformers"):
        raise UserError(f"{path}: {name}: {kind[:80]!r} is no class of {library} itself")
    return found


def _find_library(name: str) -> ModuleType | None:
    import diffusers
    import diffusers.pipelines
    import transformers

    if name in ("diffusers", "transformers"):
        return diffusers if name == "diffusers" else transformers
    found = getattr(diffusers.pipelines, name, None) if name.isidentifier() else None
    own = isinstance(found, ModuleType) and found.__name__ == f"diffusers.pipelines.{name}"
    return found if own else None


def _renamed(library: str, kind: str) -> str:
    """Return the class that replaced one that older folders name."""
    return RENAMED.get(kind, kind) if library == "transformers" else kind


def _bases(name: str) -> tuple[Any, ...]:
    """Return the base classes of a component with this name."""
    from diffusers import ModelMixin, SchedulerMixin
    from transformers import (
        FeatureExtractionMixin,
        ImageProcessingMixin,
        PreTrainedModel,
        PreTrainedTokenizerBase,
        ProcessorMixin,
    )

    if name.startswith("tokenizer"):
        return (PreTrainedTokenizerBase, ProcessorMixin)
    if name == "scheduler":
        return (SchedulerMixin,)
    if name in ("unet", "transformer", "vae"):
        return (ModelMixin,)
    readers = (FeatureExtractionMixin, ImageProcessingMixin, ProcessorMixin, PreTrainedTokenizerBase)
    return (PreTrainedModel, ModelMixin, *readers)


def _check_component(folder: Path) -> None:
    """Raise UserError where a component's configuration is malformed or leads outside its folder."""
    for name in CONFIGS:
        if (folder / name).is_file():
            _check_config(folder / name)
    adapter = folder / "adapter_config.json"
    if adapter.exists():
        raise UserError(
            f"{adapter}: a LoRA inside a component, which transformers would add to it; merge it into the "
            "weights, or name the LoRA by itself"
        )


def _check_config(path: Path) -> None:
    config = read_config(path)
    kind = config.get("_class_name")
    if kind is not None and not isinstance(kind, str):
        raise UserError(f"{path}: _class_name: is {_kind(kind)}; needed: the name of a class")
    if config.get("quantization_config"):
        raise UserError(f"{path}: quantization_config: quantised weights are not measured; save them whole")
    if path.name == "tokenizer_config.json" and str(config.get("tokenizer_class", "")).startswith("Auto"):
        raise UserError(f"{path}: tokenizer_class: needed: the name of a class")
    for key, value in _walk(config):
        if key in ("attn_implementation", "_attn_implementation") and value not in ATTENTIONS:
            raise UserError(f"{path}: {key}: {str(value)[:80]!r} is no attention of torch's own; remove it")
        if key in CODE_KEYS and value:
            raise UserError(f"{path}: {key}: refers to code; models here run no code of their own")


def _walk(value: Any) -> Iterator[tuple[str, Any]]:
    """Yield every name and value of nested objects and lists."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield key, inner
            yield from _walk(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _walk(inner)
