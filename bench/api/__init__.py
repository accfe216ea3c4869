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
    from ._gate import GateResult, check
    from ._inline import Method, method
    from ._lists import list_judges, list_methods, list_metrics, list_suites, list_tasks, list_worlds
    from ._models import evaluate
    from ._ready import list_prompts, score
    from ._records import compare, failing_images, frontier, load
    from ._results import Images, MeasuredRecord, Plot, Records
    from ._suites import run
    from ._tool import Unlearned, unlearn
    from .bench.errors import UserError
    from .bench.running.session import WorldSettings

    __version__: str

__all__ = [
    "GateResult",
    "Images",
    "MeasuredRecord",
    "Method",
    "Plot",
    "Records",
    "Unlearned",
    "UserError",
    "WorldSettings",
    "__version__",
    "check",
    "compare",
    "evaluate",
    "failing_images",
    "frontier",
    "list_judges",
    "list_methods",
    "list_metrics",
    "list_prompts",
    "list_suites",
    "list_tasks",
    "list_worlds",
    "load",
    "method",
    "run",
    "score",
    "unlearn",
]
_HOMES = {
    "GateResult": "_gate",
    "Images": "_results",
    "MeasuredRecord": "_results",
    "Method": "_inline",
    "Plot": "_results",
    "Records": "_results",
    "Unlearned": "_tool",
    "UserError": "bench.errors",
    "WorldSettings": "bench.running.session",
    "check": "_gate",
    "compare": "_records",
    "evaluate": "_models",
    "failing_images": "_records",
    "frontier": "_records",
    "list_judges": "_lists",
    "list_methods": "_lists",
    "list_metrics": "_lists",
    "list_prompts": "_ready",
    "list_suites": "_lists",
    "list_tasks": "_lists",
    "list_worlds": "_lists",
    "load": "_records",
    "method": "_inline",
    "run": "_suites",
    "score": "_ready",
    "unlearn": "_tool",
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
