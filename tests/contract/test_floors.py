"""Floors: a module imports its own room and rooms below it; no circle of imports."""

import ast
from pathlib import Path

import pytest

from unlearnbench.bench.source import _imported

ROOT = Path(__file__).resolve().parents[2]
PRODUCT = ("bench", "methods", "tasks", "leaderboard", "results")
FLOORS = (
    ("bench.cli",),
    ("bench.api",),
    ("leaderboard.studies",),
    ("leaderboard.pages", "leaderboard.audit"),
    ("leaderboard.plots",),
    ("leaderboard.ranking",),
    ("leaderboard", "leaderboard.templates"),  # the templates and what renders them
    ("bench.gate", "bench.gate.policies"),
    ("bench.checking",),
    ("bench.labels", "bench.running"),
    ("bench.measuring",),
    ("bench.worlds",),
    ("bench.unlearning", "bench.judges", "bench.attacks", "methods"),
    ("bench.records", "bench.training"),
    ("bench.planning", "bench.models", "bench.metrics"),
    ("bench.stats",),
    ("bench",),
)
"""From the top down. A package stands for all that is in it and has no floor of its own."""


def _module(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


FILES = {_module(p): p for package in PRODUCT for p in sorted((ROOT / package).rglob("*.py"))}


def _room(module: str) -> str:
    """Return the room of a module: the longest package of FLOORS that it lies in."""
    if module == "bench.api.__main__":
        return "bench.cli"  # `python -m unlearnbench` is the command line
    rooms = [room for floor in FLOORS for room in floor]
    if module == "bench" or (module.count(".") == 1 and FILES[module].name != "__init__.py"):
        return module.partition(".")[0]  # the ground of bench, the top of leaderboard, a method
    return max(
        (room for room in rooms if module == room or module.startswith(f"{room}.")), key=len, default=""
    )


def _floor(module: str) -> int:
    """Return the number of a module's floor, 0 = the lowest."""
    room = _room(module)
    return next(number for number, floor in enumerate(reversed(FLOORS)) if room in floor)


def _imports(module: str) -> set[str]:
    """Return the modules of the product that a module imports, at its top or in a function.

    bench/api is installed as the top of the package.
    """
    path = FILES[module]
    own = "unlearnbench" + module.removeprefix("bench.api") if _is_api(module) else f"unlearnbench.{module}"
    names = {_place(n) for n in _imported(own, path)}
    # `from ..room import module` names the room, too, which counts where its __init__ holds code
    return {name for name in names & FILES.keys() - {module} if not _is_bare(FILES[name])}


def _is_api(module: str) -> bool:
    return module == "bench.api" or module.startswith("bench.api.")


def _place(name: str) -> str:
    """Return the module of the repository that an installed one is."""
    inner = name.removeprefix("unlearnbench").removeprefix(".")
    return inner if inner.partition(".")[0] in PRODUCT else f"bench.api.{inner}".rstrip(".")


def _is_bare(path: Path) -> bool:
    return path.name == "__init__.py" and len(ast.parse(path.read_text()).body) <= 1


RULED = [module for module in FILES if module.partition(".")[0] not in ("tasks", "results")]


@pytest.mark.parametrize("module", RULED)
def test_a_module_imports_its_room_and_rooms_below(module: str) -> None:
    others = [other for other in _imports(module) if other.partition(".")[0] not in ("tasks", "results")]
    wrong = {o for o in others if _room(o) != _room(module) and _floor(o) >= _floor(module)}
    assert not wrong, f"{module} imports upwards or beside: {', '.join(sorted(wrong))}"


def test_no_circle_of_imports() -> None:
    """Imports in functions count, too: what has to be imported late hides a circle."""
    edges = {module: _imports(module) & set(RULED) for module in RULED}
    circles = [group for group in _components(edges) if len(group) > 1]
    assert circles == []


def _components(edges: dict[str, set[str]]) -> list[list[str]]:
    """Return the strongly connected components (Tarjan 1972)."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(node: str) -> None:
        index[node] = low[node] = len(index)
        stack.append(node)
        for other in sorted(edges[node]):
            if other not in index:
                visit(other)
                low[node] = min(low[node], low[other])
            elif other in stack:
                low[node] = min(low[node], index[other])
        if low[node] == index[node]:
            group = stack[stack.index(node) :]
            del stack[stack.index(node) :]
            found.append(group)

    for node in edges:
        if node not in index:
            visit(node)
    return found


def test_no_room_of_files_is_overfull() -> None:
    """Folders of plug-ins hold one file each; every other holds at most fourteen modules."""
    plugins = {*(ROOT / "bench" / name for name in ("attacks", "judges", "metrics")), ROOT / "methods"}
    folders = {path.parent for path in FILES.values()} - plugins
    counts = {f: len([p for p in f.glob("*.py") if p.name != "__init__.py"]) for f in folders}
    assert not {str(f.relative_to(ROOT)): n for f, n in counts.items() if n > 14}
