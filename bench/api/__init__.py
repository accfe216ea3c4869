"""unlearnbench from Python: run methods, evaluate models, read and compare records.

    import unlearnbench

    records = unlearnbench.run("demo", methods=["balanced"])
    unlearnbench.load(records)

The names in `__all__` are the interface that semantic versioning covers; the command line calls the same
functions. Importing this module imports no torch, numpy or pandas: a name is imported when it is first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ._lists import (
        list_judges,
        list_methods,
        list_metrics,
        list_suites,
        list_tasks,
        list_worlds,
    )
    from .bench.errors import UserError

    __version__: str

__all__ = [
    "UserError",
    "__version__",
    "list_judges",
    "list_methods",
    "list_metrics",
    "list_suites",
    "list_tasks",
    "list_worlds",
]
_HOMES = {
    "UserError": "bench.errors",
    "list_judges": "_lists",
    "list_methods": "_lists",
    "list_metrics": "_lists",
    "list_suites": "_lists",
    "list_tasks": "_lists",
    "list_worlds": "_lists",
}
"""Module of each public name."""


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        found: Any = version("unlearnbench")
    elif name in _HOMES:
        found = getattr(import_module(f".{_HOMES[name]}", __name__), name)
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = found  # asked once
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
