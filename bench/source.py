"""Digest of the source that a result depends on: a module and every module of its project that it imports.

Of a third party's module it covers the whole package, data files included, and the modules that it imports
from the same distribution or from folders outside any installation (a checkout, an editable install). Other
distributions that it imports count with their versions.
"""

import ast
import contextlib
import hashlib
import importlib.util
import json
import os
import sys
from collections.abc import Iterator
from functools import cache
from importlib.metadata import PackageNotFoundError, distribution, packages_distributions
from pathlib import Path

from .syntax import plain_source

ROOT = "unlearnbench"
PACKAGES = ("bench", "leaderboard", "methods", "results", "tasks")
"""Packages of ROOT; everything else in it is the Python API."""
CODE = (".py", ".so", ".pyd")
LEFT_OUT = {".pyc", ".pyo", ".log", ".tmp", ".lock", ".swp"}
"""Suffixes of files in a package that affect no result: Python, a run or an editor leaves them there."""


@cache
def _places(top: str) -> tuple[Path | None, tuple[Path, ...]]:
    """Return the file of a top-level module, None where it has none, and the folders of its submodules.

    It is not imported.
    """
    try:
        spec = importlib.util.find_spec(top)
    except (ImportError, AttributeError, ValueError):
        return None, ()
    if spec is None:
        return None, ()
    file = Path(spec.origin) if spec.origin and Path(spec.origin).suffix in CODE else None
    return file, tuple(Path(place) for place in spec.submodule_search_locations or ())


@cache
def _origin(module: str) -> Path | None:
    """Return the file of a module, found by path: `find_spec` would import the packages that contain it."""
    parts = module.split(".")
    if parts[0] == ROOT:
        if len(parts) == 2 and parts[1] not in PACKAGES:
            return None  # the Python API only calls the other packages and affects no result
        # this file is ROOT/bench/source.py: the packages of ROOT lie side by side
        file: Path | None = None
        folders: tuple[Path, ...] = (Path(__file__).resolve().parent.parent,)
    else:
        file, folders = _places(parts[0])
    if len(parts) == 1:
        return file
    for folder in folders:
        stem = folder.joinpath(*parts[1:])
        found = next((path for path in _candidates(stem) if path.is_file()), None)
        if found is not None:
            return found
    return None


def _candidates(stem: Path) -> Iterator[Path]:
    yield stem.with_name(stem.name + ".py")
    yield stem / "__init__.py"
    for suffix in CODE[1:]:
        yield from sorted(stem.parent.glob(f"{stem.name}.*{suffix}"))


@cache
def _imported(module: str, path: Path) -> set[str]:
    """Return the absolute names of all modules that a file imports anywhere, relative imports resolved."""
    if path.suffix != ".py":
        return set()
    try:
        tree = ast.parse(path.read_bytes())
    except (SyntaxError, ValueError):  # its bytes count all the same
        return set()
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = _resolve(package, node.level, node.module or "")
            names.add(base)
            names.update(f"{base}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Call):
            names.update(_named_in_call(node, package))
    return names


def _resolve(package: str, level: int, name: str) -> str:
    """Return the absolute name of a module that a package names with `level` dots in front."""
    stem = package.split(".")[: len(package.split(".")) - level + 1] if level else []
    return ".".join([*stem, *([name] if name else [])])


def _named_in_call(node: ast.Call, package: str) -> Iterator[str]:
    """Yield the module of `import_module("name")`, where the name is written out."""
    called = getattr(node.func, "attr", getattr(node.func, "id", ""))
    name = getattr(node.args[0], "value", None) if node.args else None
    if called in ("import_module", "__import__") and isinstance(name, str):
        bare = name.lstrip(".")
        yield _resolve(package, len(name) - len(bare), bare)


def source_files(module: str) -> dict[str, Path]:
    """Return name -> file of a module and of all modules of its project that it reaches by imports.

    For a third party's package that is all its files, with data files under their paths.
    """
    home, found, packages = _top(module), dict[str, Path](), set[Path]()
    queue = [(module, _origin(module))]
    if home != ROOT:
        queue += [entry for name in _distributions(home) for entry in _installed(name)]
    while queue:
        name, path = queue.pop()
        if path is None or name in found:
            continue
        found[name] = path
        if _top(name) != ROOT and path.parent not in packages:
            members = list(_package(name, path)) if "/" not in name else []
            packages.update(member.parent for _, member in members)
            queue += members
        queue += [(n, _origin(n)) for n in _imported(name, path) if _is_own(_top(n), home)]
    return found


def _top(module: str) -> str:
    return module.partition(".")[0]


def _is_own(top: str, home: str) -> bool:
    """Return whether a top-level module is followed from `home`: its version would not show a change."""
    if top in (ROOT, home):
        return True
    if home == ROOT or top in sys.stdlib_module_names or _places(top) == (None, ()):
        return False
    makers = _distributions(top)
    return not makers or bool(set(makers) & set(_distributions(home))) or any(map(_is_editable, makers))


def _package(module: str, path: Path) -> Iterator[tuple[str, Path]]:
    """Yield all files of the package that contains a module; in a namespace, those of the module's folder."""
    own = module.split(".")
    parts = own[:-1] if path.name != "__init__.py" else own
    folder = path.parent
    if not (folder / "__init__.py").is_file():
        if parts:
            yield from _named(folder, ".".join(parts), [f for f in folder.iterdir() if f.is_file()])
        return
    while len(parts) > 1 and (folder.parent / "__init__.py").is_file():
        folder, parts = folder.parent, parts[:-1]
    yield from _named(folder, ".".join(parts), list(_walk(folder)))


def _walk(folder: Path) -> Iterator[Path]:
    seen = set()
    for place, folders, files in os.walk(folder, followlinks=True):
        real = os.path.realpath(place)
        folders[:] = [] if real in seen else [f for f in folders if not f.startswith((".", "__pycache__"))]
        if real not in seen:
            yield from (Path(place, file) for file in files)
        seen.add(real)


def _named(folder: Path, package: str, files: list[Path]) -> Iterator[tuple[str, Path]]:
    """Yield the files of a package's folder by their names as modules, or by their paths."""
    for file in files:
        if file.name.startswith(".") or file.suffix in LEFT_OUT:
            continue
        inner = file.relative_to(folder)
        if file.suffix == ".py":
            stem = inner.with_suffix("").parts
            stem = stem[:-1] if stem[-1] == "__init__" else stem
            yield ".".join([package, *stem]), file
        else:
            yield f"{package}/{inner.as_posix()}", file


@cache
def _known_packages() -> dict[str, list[str]]:
    return {top: sorted(set(makers)) for top, makers in packages_distributions().items()}


def _distributions(top: str) -> list[str]:
    return _known_packages().get(top, [])


def installed_version(top: str) -> str | None:
    """Return a top-level module's distribution with its version; None where that does not identify it."""
    makers = _distributions(top)
    if not makers or any(map(_is_editable, makers)):
        return None
    return " ".join(f"{maker}=={distribution(maker).version}" for maker in makers)


@cache
def _is_editable(name: str) -> bool:
    """Return whether a distribution is a checkout or editable install, whose version identifies nothing."""
    try:
        told = json.loads(distribution(name).read_text("direct_url.json") or "{}")
        return bool(told.get("dir_info", {}).get("editable"))
    except (PackageNotFoundError, ValueError, AttributeError):
        return False


def _installed(name: str) -> Iterator[tuple[str, Path]]:
    """Yield the files of a distribution outside packages: single modules, and their data."""
    for file in distribution(name).files or []:
        place = Path(str(file.locate()))
        if len(file.parts) == 1 and place.suffix not in {*LEFT_OUT, ".pth"} and place.is_file():
            yield (place.stem if place.suffix == ".py" else f"{name}/{file.name}"), place


def _versions(module: str, files: dict[str, Path]) -> list[str]:
    """Return the versions of the distributions that a third party's files import."""
    home = _top(module)
    if home == ROOT:
        return []
    own = {name: path for name, path in files.items() if _top(name) != ROOT and "/" not in name}
    tops = {_top(other) for name, path in own.items() for other in _imported(name, path)}
    makers = {maker for top in tops if not _is_own(top, home) for maker in _distributions(top)}
    return sorted(f"{maker}=={distribution(maker).version}" for maker in makers)


@cache
def _digest(path: str, size: int, written: int) -> str:
    """Return the digest of a Python file's syntax tree ("" where it does nothing), else of a file's bytes."""
    content = Path(path).read_bytes()
    if path.endswith(".py"):
        with contextlib.suppress(SyntaxError, ValueError):  # else its bytes count
            content = plain_source(content, ROOT)
    return hashlib.sha256(content).hexdigest() if content else ""


def source_digest(*modules: str) -> str:
    """Return the sha256 over the source of modules and of every module of their projects that they import.

    Comments, docstrings and the locations of modules do not count (`syntax.plain_source`).
    """
    parts: set[str] = set()
    for module in modules:
        files = source_files(module)
        parts.update(_versions(module, files))
        for name, path in files.items():
            state = path.stat()
            found = _digest(str(path), state.st_size, state.st_mtime_ns)
            if path.suffix == ".py":
                parts.add(found)
            else:
                parts.add(f"{name} {found}")
    return hashlib.sha256("\n".join(sorted(parts - {""})).encode()).hexdigest()
