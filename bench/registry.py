"""Registries of tasks, methods, attacks, metrics, judges, worlds: frozen entries, read without an import.

Each registered module has a literal `REGISTER = {...}`, or a list of such tables. It is read from the source
text, so listing imports no torch. Built-ins are found by file name, third parties by entry points
(`unlearnbench.methods = {name = "package.module"}`).
"""

import ast
import difflib
import importlib
import importlib.util
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from importlib.metadata import EntryPoint, entry_points
from importlib.resources import files
from pathlib import Path
from typing import Any, Generic, TypeVar

from .errors import UserError

KINDS = ("tasks", "methods", "attacks", "metrics", "judges", "worlds")
NEEDED = {
    "tasks": ("file",),
    "methods": ("function", "config"),
    "attacks": ("function", "config", "moves", "access", "unit"),
    "metrics": ("function",),
    "judges": ("function",),
    "worlds": ("function",),
}
"""Keys that a plug-in's REGISTER must have besides `summary`, by kind."""
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
"""Names become parts of file names."""
TRAINABLE = ("denoiser", "text_encoder", "text_encoder_2", "text_encoder_3")
"""Networks whose weights a method may change; the denoiser is the `unet` or `transformer`."""
TRAINED = ("denoiser",)
"""The networks that a method changes where it does not say `trains`."""
IMAGES = ("forget_set", "retain_set")
"""Needs of a method that are images, and what one that does not say `needs` is given."""
NAMES = ("needs", "trains", "pipelines")
"""Fields of an Entry that hold names."""


@dataclass(frozen=True)
class Entry:
    """One registered module; `module:function`, `module:config` and `module:apply` are resolved on use.

    trains: networks whose weights a method changes, of TRAINABLE; () = none. apply: the context manager of a
    method that acts while a point is drawn (`bench/models/saved/applied.py`). pipelines: families of
    pipelines that a method works on (`bench/training/families.py`), () = all. presets: settings of a method
    by the name by which they are asked for. moves, access, unit (of its budget): of an attack.
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
    trains: tuple[str, ...] = TRAINED
    apply: str = ""
    moves: str = ""
    access: str = ""
    unit: str = ""
    distribution: str = "unlearnbench"
    pipelines: tuple[str, ...] = ()
    presets: Mapping[str, Mapping[str, Any]] = field(default_factory=dict, hash=False)

    @property
    def inline(self) -> str:
        """Digest of a method that is a function of this process; "" for everything that is registered."""
        return ""

    def load(self) -> Any:
        """Import the module and return its function; an import error names the distribution."""
        return self._resolve(self.function)

    def load_config(self) -> Any:
        """Import the module and return its config class."""
        return self._resolve(self.config)

    def load_apply(self) -> Any:
        """Import the module and return its context manager; None where it has none."""
        return self._resolve(self.apply) if self.apply else None

    def _resolve(self, attribute: str) -> Any:
        try:
            return getattr(importlib.import_module(self.module), attribute)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # a module may even exit
            raise UserError(f"{self.name} (from {self.distribution}) does not load: {_say(error)}") from error


def _say(error: BaseException) -> str:
    """Return an error as one line, with its type where it has no message."""
    text = " ".join(str(error).split())
    return text if text and isinstance(error, Exception) else f"{type(error).__name__} {text}".strip()


E = TypeVar("E")


class Registry(Generic[E]):
    """Names to entries; a duplicate raises UserError, an unknown name raises one with close matches.

    broken: name -> why the plug-in of that name cannot be used. It is reported where that name is asked for;
    other plug-ins work.
    """

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._entries: dict[str, E] = {}
        self.broken: dict[str, str] = {}

    def add(self, name: str, entry: E) -> None:
        if name in self._entries:
            raise UserError(f"{self.kind}: {name!r} is registered twice: {self._entries[name]} and {entry}")
        self._entries[name] = entry

    def note_broken(self, name: str, reason: str) -> None:
        """Record why a plug-in cannot be used."""
        self.broken[name] = f"{self.broken[name]}; {reason}" if name in self.broken else reason

    def __getitem__(self, name: str) -> E:
        if name in self._entries:
            return self._entries[name]
        if name in self.broken:
            raise UserError(f"no {self.kind.rstrip('s')} named {name!r}: {self.broken[name]}")
        close = difflib.get_close_matches(name, self._entries, n=3, cutoff=0.4)
        lists = f"`unlearnbench list {self.kind}` lists the {len(self)} that are known"
        known = lists if len(self) > 40 else f"known: {', '.join(self)}"
        hint = f"did you mean {' or '.join(close)}?" if close else known
        lost = "".join(f"; {reason}" for reason in self.broken.values())
        raise UserError(f"no {self.kind.rstrip('s')} named {name!r}; {hint}{lost}")

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._entries))

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, name: object) -> bool:
        return name in self._entries

    def values(self) -> list[E]:
        return [self._entries[name] for name in self]


def read_registers(source: Path) -> list[dict[str, Any]]:
    """Return each literal `REGISTER` of a Python file: one table, or a list of them; executes nothing.

    A literal `PRESETS` in the file is added to each as `presets`.
    """
    found: dict[str, list[Any]] = {}
    for node in ast.parse(source.read_bytes()).body:
        if not isinstance(node, ast.Assign | ast.AnnAssign):
            continue
        for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
            if isinstance(target, ast.Name) and target.id in ("REGISTER", "PRESETS"):
                value = None if node.value is None else ast.literal_eval(node.value)
                tables = value if target.id == "REGISTER" and isinstance(value, list) else [value]
                if target.id == "REGISTER" and not all(isinstance(table, dict) for table in tables):
                    raise UserError(f"{target.id}: must be a table of literals (got {type(value).__name__})")
                found[target.id] = tables
    presets = {"presets": found["PRESETS"][0]} if "PRESETS" in found else {}
    return [dict(table) | presets for table in found.get("REGISTER", [])]


def read_register(source: Path) -> dict[str, Any] | None:
    """Return the `REGISTER` of a Python file that has at most one; None where it has none."""
    registers = read_registers(source)
    if len(registers) > 1:
        raise UserError(f"REGISTER: must be one table of literals (got a list of {len(registers)})")
    return registers[0] if registers else None


def make_entry(name: str, module: str, register: dict[str, Any], distribution: str = "unlearnbench") -> Entry:
    """Return the Entry of a REGISTER; UserError for an unknown key, a wrong type, or an unknown network."""
    values = dict(register)
    where = f"{module}: REGISTER: "
    presets = values.get("presets", {})
    if not isinstance(presets, dict) or not all(isinstance(preset, dict) for preset in presets.values()):
        raise UserError(f"{module}: PRESETS: not a table of settings for each name (from {distribution})")
    if "moves" in values:  # an attack
        values.setdefault("trains", ())
    elif values.get("config"):  # a method
        values.setdefault("needs", IMAGES)
    for key in NAMES:
        values[key] = _read_names(values.get(key, getattr(Entry, key)), f"{where}{key}", distribution)
    try:
        entry = Entry(name=values.pop("name", name), module=module, distribution=distribution, **values)
    except TypeError as error:
        raise UserError(f"{where}{error} (from {distribution})") from None
    for known in fields(Entry):
        value, wanted = getattr(entry, known.name), {int: int, str: str}.get(type(known.default), str)
        if known.name not in (*NAMES, "presets") and (type(value) is not wanted):
            raise UserError(
                f"{where}{known.name}: must be {wanted.__name__} (got {value!r}) (from {distribution})"
            )
    if not NAME.fullmatch(entry.name):
        raise UserError(
            f"{where}name: {entry.name!r}: use only letters, digits, `.`, `_`, `-` (from {distribution})"
        )
    _check_trained(entry, where, distribution)
    return entry


def _check_trained(entry: Entry, where: str, distribution: str) -> None:
    """Raise UserError where what is trained cannot be held by a point, or nothing could change."""
    unknown = [name for name in entry.trains if name not in TRAINABLE]
    if unknown or len(set(entry.trains)) < len(entry.trains):
        raise UserError(
            f"{where}trains: {', '.join(unknown) or 'a name stands twice'}: a point holds the weights of "
            f"{', '.join(TRAINABLE)} only; name some of them once each (from {distribution})"
        )
    if entry.function and entry.config and not (entry.trains or entry.apply or entry.moves):
        said = "names no network, and there is no `apply`: it could change nothing; name either"
        raise UserError(f"{where}trains: {said} (from {distribution})")


def _read_names(value: Any, where: str, distribution: str) -> tuple[str, ...]:
    if not isinstance(value, list | tuple) or not all(isinstance(name, str) for name in value):
        raise UserError(f"{where}: must be a list of names (got {value!r}) (from {distribution})")
    return tuple(value)


def read_folder(package: str, folder: Path) -> Iterator[Entry]:
    """Yield an entry for each file with a REGISTER in a package's folder."""
    for source in sorted(folder.glob("*.py")):
        for register in read_registers(source):
            yield make_entry(source.stem, f"{package}.{source.stem}", register)


def read_plugin(point: EntryPoint, kind: str) -> Entry:
    """Return a third party's entry; any failure becomes a UserError naming its distribution."""
    distribution = distribution_of(point)
    try:
        spec = importlib.util.find_spec(point.module)
        if spec is None or spec.origin is None:
            raise UserError(f"no module named {point.module!r}")
        register = read_register(Path(spec.origin))
        if register is None:
            raise UserError(f"{point.module} has no REGISTER")
        entry = make_entry(point.name, point.module, register, distribution)
        lacking = [key for key in NEEDED[kind] if not getattr(entry, key)]
        if lacking:
            raise UserError(f"{point.module}: REGISTER names no `{lacking[0]}`")
        return entry
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # importing the package of the module runs code that may even exit
        raise UserError(f"plug-in {point.name!r} of {distribution} does not load: {_say(error)}") from error


def distribution_of(point: EntryPoint) -> str:
    return point.dist.name if point.dist else "unknown distribution"


def build_registry(kind: str, builtins: Callable[[], Iterator[Entry]]) -> Registry[Entry]:
    """Return the registry of a kind: built-ins, then the plug-ins of its entry-point group.

    A plug-in that does not load, or whose name is taken, is in `broken`. Where several plug-ins share a name
    none is used, because the one that was meant is unknown.
    """
    registry: Registry[Entry] = Registry(kind)
    for entry in builtins():
        registry.add(entry.name, entry)
    found: dict[str, list[Entry]] = {}
    for point in sorted(entry_points(group=f"unlearnbench.{kind}"), key=lambda p: (p.name, p.module)):
        try:
            entry = read_plugin(point, kind)
        except UserError as error:
            registry.note_broken(point.name, str(error))
        else:
            found.setdefault(entry.name, []).append(entry)
    for name, entries in found.items():
        makers = ", ".join(f"{entry.module} of {entry.distribution}" for entry in entries)
        if name in registry:
            registry.note_broken(name, f"plug-in {makers}: {kind} has a {name!r} of its own; rename it")
        elif len(entries) > 1:
            registry.note_broken(name, f"plug-ins {makers}: share the name {name!r}; rename or remove one")
        else:
            registry.add(name, entries[0])
    return registry


def package_folder(package: str) -> Path:
    """Return the folder of a leaf package (`unlearnbench.methods`) without running its modules."""
    return Path(str(files(package)))


def builtin_registry(kind: str, package: str) -> Registry[Entry]:
    """Return the registry of a kind whose built-ins are the files of one package."""
    return build_registry(kind, lambda: read_folder(package, package_folder(package)))
