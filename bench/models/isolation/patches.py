"""Functions of libraries that a method replaced: such a patch would affect every later cell."""

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import FunctionType, MethodType, ModuleType
from typing import Any

from torch import Tensor, nn

from .process import global_hooks

MODULES = ("builtins", "torch", "numpy", "random", "PIL.Image", "safetensors.torch", "torch.utils.checkpoint")
"""Modules whose functions are watched, in addition to all below `PACKAGES` and a pipeline's own modules."""
PACKAGES = ("unlearnbench.", "diffusers.", "transformers.", "torch.nn.", "torch.optim.")
PLAIN = (str, int, float, bool, bytes, tuple, list, dict, set, frozenset, ModuleType)
"""Types of data, which are not code of a plug-in."""


class Patches:
    """The functions of the libraries and of a pipeline's classes, to be compared and restored later."""

    def __init__(self, pipeline: Any) -> None:
        self.modules = dict(_watched_modules())
        owners: list[Any] = [*self.modules.values(), *watched_classes(pipeline)]
        self.before = [(owner, dict(vars(owner))) for owner in owners]

    def find(self) -> list[str]:
        """Return the names of the functions that were replaced, as `module.function`."""
        found = [name for name, module in self.modules.items() if sys.modules.get(name) is not module]
        return found + [
            f"{_name(owner)}.{n}" for owner, before in self.before for n in _replaced(owner, before)
        ]

    def put_back(self) -> list[str]:
        """Restore everything; return the names of the functions that had been replaced."""
        found = self.find()
        sys.modules.update(self.modules)
        for owner, before in self.before:
            for name in _replaced(owner, before):
                if name in before:
                    setattr(owner, name, before[name])
                else:
                    delattr(owner, name)
        return found


def _watched_modules() -> Iterator[tuple[str, ModuleType]]:
    for name, module in list(sys.modules.items()):
        if isinstance(module, ModuleType) and (name in MODULES or name.startswith(PACKAGES)):
            yield name, module


def watched_classes(pipeline: Any) -> list[type]:
    """Return the classes of a pipeline, its components and their modules, with all their base classes."""
    things: list[Any] = [pipeline, *pipeline.components.values()]
    for part in pipeline.components.values():
        if isinstance(part, nn.Module):
            things += [*part.modules(), *(getattr(m, "processor", None) for m in part.modules())]
    kinds: dict[type, None] = {Tensor: None, nn.Parameter: None}
    for thing in things:
        kinds |= dict.fromkeys(type(thing).__mro__)
    return [kind for kind in kinds if kind.__flags__ & HEAP]


HEAP = 1 << 9
"""Flag of a class that Python code made, so that attributes of it can be set (`Py_TPFLAGS_HEAPTYPE`)."""


def _replaced(owner: Any, before: dict[str, Any]) -> list[str]:
    """Return the names of functions and classes that were replaced or removed; of a class also new ones."""
    now = vars(owner)
    names = [n for n, value in before.items() if _is_code(value) and now.get(n) is not value]
    if isinstance(owner, type):
        names += [n for n, value in now.items() if n not in before and _is_code(value)]
        names += [n for n, value in before.items() if _is_setting(n, value) and now.get(n) != value]
    return names


def _is_code(value: Any) -> bool:
    return callable(value) or isinstance(value, property | staticmethod | classmethod)


def _is_setting(name: str, value: Any) -> bool:
    return not name.startswith("__") and isinstance(value, bool | int | float | str)


def _name(owner: Any) -> str:
    return owner.__name__ if isinstance(owner, ModuleType) else f"{owner.__module__}.{owner.__qualname__}"


def find_foreign(files: Iterable[Path]) -> list[str]:
    """Return the functions of libraries, and of their classes, whose source is in one of some files.

    A plug-in may put them there when it is imported, before anything can be compared.
    """
    places = {str(file) for file in files}
    modules = dict(_watched_modules())
    owners: dict[int, Any] = {id(module): module for module in modules.values()}
    for module in modules.values():
        kinds = [kind for kind in vars(module).values() if isinstance(kind, type)]
        owners |= {id(kind): kind for kind in kinds if kind.__module__ in modules}
    found = [(f"{_name(owner)}.{n}", v) for owner in owners.values() for n, v in list(vars(owner).items())]
    found += [("a hook of all modules", hook) for hooks in global_hooks() for hook in hooks.values()]
    return sorted({name for name, value in found if _source_of(value) in places})


def _source_of(value: Any) -> str | None:
    """Return the file that a function, a class or an object's class comes from, None where there is none."""
    if value is None or type(value) in PLAIN:
        return None
    if isinstance(value, property):
        value = value.fget
    elif isinstance(value, staticmethod | classmethod | MethodType):
        value = value.__func__
    if isinstance(value, FunctionType):
        return value.__code__.co_filename
    kind = value if isinstance(value, type) else type(value)
    return getattr(sys.modules.get(kind.__module__), "__file__", None)
