"""The third-party modules of a run, and a check that they left the libraries as they were."""

from collections.abc import Iterable, Mapping, Sequence

from ..errors import UserError
from ..models.isolation.patches import find_foreign
from ..planning.plan import Cell
from ..registry import Entry, Registry
from ..source import ROOT, source_files
from ..worlds.protocol import World
from .keys import judge_modules, world_modules


def plugin_modules(cells: Sequence[Cell], metrics: Registry[Entry], worlds: Mapping[str, World]) -> set[str]:
    """Return the modules of third parties that a run imports: methods, metrics, judges and worlds."""
    entries = [*metrics.values(), *(cell.entry for cell in cells if cell.entry is not None)]
    modules = {entry.module for entry in entries}
    modules |= {module for cell in cells for module in judge_modules(cell.task)}
    modules |= {module for world in worlds.values() for module in world_modules(world)}
    return {module for module in modules if module.partition(".")[0] != ROOT}


def check_libraries(plugins: Iterable[str]) -> None:
    """Raise UserError where a plug-in replaced functions of the libraries when it was imported: the replaced
    functions would also draw, judge and score the cells of others."""
    reached = [item for module in plugins for item in source_files(module).items()]
    files = [file for name, file in reached if name.partition(".")[0] != ROOT]
    foreign = find_foreign(files) if files else []
    if foreign:
        raise UserError(
            f"a plug-in among {', '.join(sorted(plugins))} replaced {', '.join(foreign[:3])} when it was "
            "imported; nothing is measured with it: mend it, or leave it out (--skip)"
        )
