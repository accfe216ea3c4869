"""Digest of the source that a result depends on: a module and every project module that it imports."""

import ast
import hashlib
import importlib.util
from functools import cache
from pathlib import Path

ROOT = "unlearnbench"


@cache
def _origin(module: str) -> Path | None:
    """Return the file of a module. The project's own are found by path: `find_spec` would import parents."""
    parts = module.split(".")
    if parts[0] != ROOT:
        try:
            spec = importlib.util.find_spec(module)
        except (ImportError, AttributeError, ValueError):
            return None
        return Path(spec.origin) if spec and spec.origin and spec.origin.endswith(".py") else None
    # this file is ROOT/bench/source.py: the packages of ROOT lie side by side
    stem = Path(__file__).resolve().parent.parent.joinpath(*parts[1:])
    choices = (stem.with_name(stem.name + ".py"), stem / "__init__.py")
    return next((path for path in choices if len(parts) > 1 and path.is_file()), None)


@cache
def _imported(module: str, path: Path) -> set[str]:
    """Return the absolute names of modules that a file imports, relative imports resolved."""
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            stem = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            base = ".".join([*stem, *([node.module] if node.module else [])])
            names.add(base)
            names.update(f"{base}.{alias.name}" for alias in node.names)
    return names


def source_files(module: str) -> dict[str, Path]:
    """Return the module and all project modules that it reaches by imports, by name."""
    found: dict[str, Path] = {}
    queue = [module]
    while queue:
        name = queue.pop()
        path = _origin(name)
        if name in found or path is None:
            continue
        found[name] = path
        queue += [n for n in _imported(name, path) if n.split(".")[0] == ROOT]
    return found


def source_digest(*modules: str) -> str:
    """Return the sha256 over the source of modules and of every project module that they import."""
    digest = hashlib.sha256()
    reached = {name: path for module in modules for name, path in source_files(module).items()}
    for name in sorted(reached):
        digest.update(name.encode() + hashlib.sha256(reached[name].read_bytes()).digest())
    return digest.hexdigest()
