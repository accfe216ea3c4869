"""Digest of everything that a function of the running process depends on, as far as that can be known."""

import dis
import hashlib
import inspect
import sys
import types
from collections.abc import Iterator
from typing import Any

from .bench.source import ROOT, installed_version, source_digest

UNSEEN = frozenset(
    (
        "eval",
        "exec",
        "compile",
        "globals",
        "locals",
        "vars",
        "__import__",
        "importlib",
        "import_module",
        "input",
        "open",
        "load",
        "load_file",
        "safe_open",
        "read_text",
        "read_bytes",
        "from_pretrained",
        "loadtxt",
        "fromfile",
        "read_csv",
        "read_parquet",
        "urlopen",
        "environ",
        "getenv",
        "argv",
    )
)
"""Names with which a function reaches what its code does not show: text that is run, files, variables."""
PLAIN = (bool, int, float, complex, str, bytes, types.NoneType, types.EllipsisType)


class OpaqueError(Exception):
    """The dependencies of a function are not known."""


def digest_values(*values: Any) -> str | None:
    """Return the sha256 over values, and over the dependencies of the functions among them.

    These are source and code, closures, defaults, the globals that they name, and the same of every function
    and class among those.

    None where they are not known: no source; a value that is no number, text, list of these, array or
    function; a module of no installed distribution; a function that reads files or runs text (`UNSEEN`).
    """
    digest = hashlib.sha256()
    try:
        for part in _walk(values, set()):
            digest.update(part.encode("utf-8", "surrogatepass") + b"\0")
    except (OpaqueError, RecursionError):
        return None
    return digest.hexdigest()


def _walk(value: Any, seen: set[int]) -> Iterator[str]:
    """Yield texts that identify a value; raises OpaqueError where it cannot be identified."""
    if type(value) in PLAIN:
        yield f"{type(value).__name__} {value!r}"
    elif isinstance(value, types.ModuleType):
        yield _name_module(value.__name__)
    elif isinstance(value, types.FunctionType | type | types.BuiltinFunctionType):
        yield from _walk_code(value, seen)
    elif isinstance(value, types.MethodType):
        yield from _walk((value.__func__, value.__self__), seen)
    elif isinstance(value, list | tuple | set | frozenset | dict):
        yield from _walk_collection(value, seen)
    else:
        yield _name_array(value)


def _walk_collection(value: Any, seen: set[int]) -> Iterator[str]:
    if id(value) in seen:
        raise OpaqueError
    inner = seen | {id(value)}
    yield f"{type(value).__name__} {len(value)}"
    if type(value) not in (list, tuple, set, frozenset, dict):
        raise OpaqueError
    parts = list(value.items()) if isinstance(value, dict) else list(value)
    if isinstance(value, set | frozenset):
        yield from sorted("|".join(_walk(part, inner)) for part in parts)
        return
    for part in parts:
        for own in part if isinstance(value, dict) else (part,):
            yield from _walk(own, inner)


def _walk_code(value: Any, seen: set[int]) -> Iterator[str]:
    """Yield texts that identify a function or class: for an installed distribution, its name and version."""
    yield f"{type(value).__name__} {value.__module__}.{value.__qualname__}"
    if id(value) in seen:
        return
    seen.add(id(value))
    is_function = isinstance(value, types.FunctionType)
    # a decorator may give its result the module of the function that it wraps
    home = value.__globals__.get("__name__", "") if is_function else value.__module__ or "builtins"
    owner = getattr(value, "__self__", None)
    if isinstance(value, types.BuiltinFunctionType) and not isinstance(
        owner, types.ModuleType | types.NoneType
    ):
        raise OpaqueError
    named = _find_module(home)
    if named is not None:
        yield named
        if is_function:
            yield from _walk_closure(value, seen)  # of a decorator: the function that it wraps
        return
    try:
        yield inspect.getsource(value)
    except (OSError, TypeError):
        raise OpaqueError from None
    yield from _walk_function(value, seen) if is_function else _walk_class(value, seen)


def _walk_class(value: type, seen: set[int]) -> Iterator[str]:
    for base in value.__bases__:
        yield from _walk(base, seen)
    for name, member in sorted(vars(value).items()):
        if isinstance(member, classmethod | staticmethod):
            member = member.__func__
        if isinstance(member, types.FunctionType):
            if _find_module(member.__globals__.get("__name__", "")) is None:
                yield name
                yield from _walk(member, seen)
        elif not name.startswith("_"):
            yield name
            yield from _walk(member, seen)


def _walk_function(value: types.FunctionType, seen: set[int]) -> Iterator[str]:
    yield from _walk_constants(value.__code__)
    yield from _walk((value.__defaults__, value.__kwdefaults__, dict(vars(value))), seen)
    yield from _walk_closure(value, seen)
    names = set(_names(value.__code__))
    if names & UNSEEN:
        raise OpaqueError
    for name in sorted(names & value.__globals__.keys()):
        yield name
        yield from _walk(value.__globals__[name], seen)
    for name in sorted(_imports(value.__code__)):
        yield _name_module(name)


def _walk_closure(value: types.FunctionType, seen: set[int]) -> Iterator[str]:
    for cell in value.__closure__ or ():
        try:
            yield from _walk(cell.cell_contents, seen)
        except ValueError:  # not filled yet
            yield "empty"


def _walk_constants(code: types.CodeType) -> Iterator[str]:
    yield f"{code.co_code.hex()} {code.co_names} {code.co_varnames} {code.co_freevars} {code.co_cellvars}"
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _walk_constants(constant)
        else:
            yield repr(constant)


def _codes(code: types.CodeType) -> Iterator[types.CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _codes(constant)


def _names(code: types.CodeType) -> Iterator[str]:
    for own in _codes(code):
        yield from own.co_names


def _imports(code: types.CodeType) -> Iterator[str]:
    for own in _codes(code):
        for step in dis.get_instructions(own):
            if step.opname == "IMPORT_NAME":
                yield str(step.argval) or "."


def _name_module(name: str) -> str:
    """Return a module of an installed distribution, with its version; raises OpaqueError for any other.

    The file of a user's own module may have been edited since it was imported.
    """
    found = _find_module(name)
    if found is None:
        raise OpaqueError
    return found


def _find_module(name: str) -> str | None:
    top = name.partition(".")[0]
    if top == ROOT:
        return f"{name} {source_digest(name)}"
    if top in sys.stdlib_module_names:
        return name
    version = installed_version(top)
    return None if version is None else f"{name} {version}"


def _name_array(value: Any) -> str:
    """Return the content of a tensor or an array; raises OpaqueError for anything else."""
    numpy, torch = sys.modules.get("numpy"), sys.modules.get("torch")
    if torch is not None and type(value) in (torch.Tensor, torch.nn.Parameter):
        if value.layout != torch.strided or value.is_quantized:
            raise OpaqueError
        value = value.detach().cpu().contiguous()
        bits = value.reshape(-1).view(torch.uint8).numpy() if value.numel() else b""
        return f"tensor {value.dtype} {tuple(value.shape)} {hashlib.sha256(bits).hexdigest()}"
    if torch is not None and type(value) in (torch.no_grad, torch.enable_grad):
        return type(value).__name__
    if torch is not None and isinstance(value, torch.dtype | torch.device):
        return str(value)
    if numpy is not None and type(value) is numpy.ndarray and value.dtype != object:
        return f"array {value.dtype} {value.shape} {hashlib.sha256(value.tobytes()).hexdigest()}"
    raise OpaqueError
