"""Registries of tasks, methods, metrics, judges and worlds: frozen entries, read without importing them.

Each registered module carries a literal `REGISTER = {...}`; it is read from the source text, so that
listing imports no torch. Built-ins are found by file name, third parties by entry points
(`unlearnbench.methods = {name = "package.module"}`).
"""

import ast
import difflib
import importlib
import importlib.util
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from importlib.metadata import EntryPoint, entry_points
from importlib.resources import files
from pathlib import Path
from typing import Any, Generic, TypeVar

from .errors import UserError

KINDS = ("tasks", "methods", "metrics", "judges", "worlds")


@dataclass(frozen=True)
class Entry:
    """One registered thing; `module:function` and `module:config` are resolved on use.

    pipelines: families of pipelines that a method works on (`bench/families.py`), () = all. presets: settings
    of a method by the name under which a suite or the command line asks for them.
    """

    name: str
    module: str
    summary: str
    version: int = 1
    paper: str = ""
    function: str = ""
    config: str = ""
    direction: str = ""
    needs: tuple[str, ...] = ()
    file: str = ""
    distribution: str = "unlearnbench"
    pipelines: tuple[str, ...] = ()
    presets: Mapping[str, Mapping[str, Any]] = field(default_factory=dict, hash=False)

    def load(self) -> Any:
        """Import the module and return its function; an import error names the distribution."""
        return self._resolve(self.function)

    def load_config(self) -> Any:
        """Import the module and return its config class."""
        return self._resolve(self.config)

    def _resolve(self, attribute: str) -> Any:
        try:
            return getattr(importlib.import_module(self.module), attribute)
        except Exception as error:
            raise UserError(f"{self.name} (from {self.distribution}) does not load: {error}") from error


E = TypeVar("E")


class Registry(Generic[E]):
    """Names to entries; duplicates raise, unknown names raise with close matches."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._entries: dict[str, E] = {}

    def add(self, name: str, entry: E) -> None:
        if name in self._entries:
            raise UserError(f"{self.kind}: {name!r} is registered twice: {self._entries[name]} and {entry}")
        self._entries[name] = entry

    def __getitem__(self, name: str) -> E:
        if name in self._entries:
            return self._entries[name]
        close = difflib.get_close_matches(name, self._entries, n=3, cutoff=0.4)
        hint = (
            f"did you mean {' or '.join(close)}?" if close else f"known: {', '.join(sorted(self._entries))}"
        )
        raise UserError(f"no {self.kind.rstrip('s')} named {name!r}; {hint}")

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._entries))

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, name: object) -> bool:
        return name in self._entries

    def values(self) -> list[E]:
        return [self._entries[name] for name in self]


def read_register(source: Path) -> dict[str, Any] | None:
    """Return the literal `REGISTER` of a Python file, or None where it has none; executes nothing.

    A literal `PRESETS` of the file stands in it as `presets`.
    """
    found: dict[str, Any] = {}
    for node in ast.parse(source.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign):
            names = [t.id for t in node.targets if isinstance(t, ast.Name)]
            found |= {name: ast.literal_eval(node.value) for name in names if name in ("REGISTER", "PRESETS")}
    if "REGISTER" not in found:
        return None
    presets = {"presets": found["PRESETS"]} if "PRESETS" in found else {}
    return dict(found["REGISTER"]) | presets


def make_entry(name: str, module: str, register: dict[str, Any], distribution: str = "unlearnbench") -> Entry:
    """Return the Entry of a REGISTER literal; raises UserError on a key that entries do not have."""
    values = dict(register)
    presets = values.get("presets", {})
    if not isinstance(presets, dict) or not all(isinstance(preset, dict) for preset in presets.values()):
        raise UserError(f"{module}: PRESETS: not a table of settings for each name (from {distribution})")
    for key in ("needs", "pipelines"):
        values[key] = tuple(values.get(key, ()))
    try:
        return Entry(name=values.pop("name", name), module=module, distribution=distribution, **values)
    except TypeError as error:
        raise UserError(f"{module}: REGISTER: {error} (from {distribution})") from None


def read_folder(package: str, folder: Path) -> Iterator[Entry]:
    """Yield an entry for each file of a package's folder that carries a REGISTER."""
    for source in sorted(folder.glob("*.py")):
        register = read_register(source)
        if register is not None:
            yield make_entry(source.stem, f"{package}.{source.stem}", register)


def read_plugin(point: EntryPoint) -> Entry:
    """Return a third party's entry; any failure becomes a UserError naming its distribution."""
    distribution = point.dist.name if point.dist else "unknown distribution"
    try:
        spec = importlib.util.find_spec(point.module)
        register = read_register(Path(str(spec.origin))) if spec else None
    except Exception as error:
        raise UserError(f"plug-in {point.name!r} of {distribution} does not load: {error}") from error
    if register is None:
        raise UserError(f"plug-in {point.name!r} of {distribution}: {point.module} has no REGISTER")
    return make_entry(point.name, point.module, register, distribution)


def build_registry(kind: str, builtins: Callable[[], Iterator[Entry]]) -> Registry[Entry]:
    """Return the registry of a kind: built-ins, then the plug-ins of its entry-point group."""
    registry: Registry[Entry] = Registry(kind)
    for entry in builtins():
        registry.add(entry.name, entry)
    for point in entry_points(group=f"unlearnbench.{kind}"):
        entry = read_plugin(point)
        registry.add(entry.name, entry)
    return registry


def package_folder(package: str) -> Path:
    """Return the folder of a leaf package (`unlearnbench.methods`) without running its modules."""
    return Path(str(files(package)))


def builtin_registry(kind: str, package: str) -> Registry[Entry]:
    """Return the registry of a kind whose built-ins are the files of one package."""
    return build_registry(kind, lambda: read_folder(package, package_folder(package)))
