"""What third parties bring into a run, and what it must not do to the libraries."""

from collections.abc import Iterable, Sequence

from ..errors import UserError
from ..models.isolation.patches import find_foreign
from ..planning.plan import Cell
from ..registry import Entry, Registry
from ..source import ROOT, source_files


def plugin_modules(cells: Sequence[Cell], metrics: Registry[Entry]) -> set[str]:
    """Return the modules of third parties that a run imports."""
    entries = [*metrics.values(), *(cell.entry for cell in cells if cell.entry is not None)]
    return {entry.module for entry in entries if entry.module.partition(".")[0] != ROOT}


def check_libraries(plugins: Iterable[str]) -> None:
    """Raise UserError where a plug-in replaced functions of the libraries when it was imported: they would
    draw, judge and score the cells of others too."""
    reached = [item for module in plugins for item in source_files(module).items()]
    files = [file for name, file in reached if name.partition(".")[0] != ROOT]
    foreign = find_foreign(files) if files else []
    if foreign:
        raise UserError(
            f"a plug-in among {', '.join(sorted(plugins))} replaced {', '.join(foreign[:3])} when it was "
            "imported; nothing is measured with it: mend it, or leave it out (--skip)"
        )
