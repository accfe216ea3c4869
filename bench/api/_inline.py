"""Inline methods: functions of the running process."""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, get_type_hints
from uuid import uuid4

from pydantic import BaseModel, ConfigDict

from ._digest import digest_values
from .bench.errors import UserError
from .bench.planning.own import read_own_entry
from .bench.registry import NAME, Entry, Registry
from .bench.source import source_digest
from .bench.types import Problem, SavePoint

UnlearnFunction = Callable[[Any, Problem, Any, SavePoint], Any]
"""unlearn(pipeline, problem, config, save): changes the pipeline's denoiser in place, calls save for each
point."""
PARAMETERS = 4


class Settings(BaseModel):
    """Settings of a function that declares none: all that are given, as attributes."""

    model_config = ConfigDict(extra="allow", frozen=True)


@dataclass(frozen=True)
class InlineEntry(Entry):
    """A method that is a function of this process. digest: of everything that it depends on."""

    call: UnlearnFunction | None = field(default=None, compare=False, repr=False)
    settings: type = Settings
    digest: str = ""

    @property
    def inline(self) -> str:
        """Digest of the function; a new one every time where its dependencies are not known."""
        return self.digest

    def load(self) -> Any:
        """Return the function."""
        return self.call

    def load_config(self) -> Any:
        """Return the class of the function's settings."""
        return self.settings


@dataclass(frozen=True)
class Method:
    """A method with settings, as `run` takes it. what: a registered name, a Python file, or a function."""

    what: str | UnlearnFunction
    settings: Mapping[str, Any]
    preset: str | None = None

    @property
    def file(self) -> Path | None:
        """The Python file where `what` is the path of one."""
        return Path(self.what) if isinstance(self.what, str) and self.what.endswith(".py") else None

    @property
    def name(self) -> str:
        """Its name in records."""
        return self.what if isinstance(self.what, str) else self.what.__name__


def method(what: str | UnlearnFunction, /, preset: str | None = None, **settings: Any) -> Method:
    """Return a method with settings, for `run(methods=[...])`.

    what: the name of a registered method, the path of a Python file with a REGISTER (`new method` writes
    one), or a function `unlearn(pipeline, problem, config, save)`. preset: named settings of a method
    (`paper`); settings override them. A function finds the settings as attributes of its `config`. Where its
    `config` is annotated with a pydantic model or a dataclass, that class checks the settings.

    >>> unlearnbench.run("demo", methods=[unlearnbench.method("balanced", steps=40)])
    """
    return Method(what, settings, preset)


def make_entry(function: UnlearnFunction, known: Registry[Entry]) -> InlineEntry:
    """Return the entry of a function; raises UserError where it cannot be run or has no usable name."""
    if not inspect.isfunction(function):
        raise UserError(f"methods: {function!r:.60}: give a name, or a function (def) of a module or a cell")
    name = function.__name__
    if not NAME.fullmatch(name):
        raise UserError(
            f"methods: {name}: give the function a name of letters, digits, `_`: records carry it"
        )
    if name in known:
        raise UserError(f"methods: {name}: a registered method has this name; give the function another one")
    if len(inspect.signature(function).parameters) != PARAMETERS:
        raise UserError(f"methods: {name}: must take (pipeline, problem, config, save)")
    summary = (inspect.getdoc(function) or "a function given to run").strip().splitlines()[0]
    return InlineEntry(
        name=name,
        module=function.__module__,
        summary=summary,
        function=name,
        config="config",
        distribution="given to run",
        call=function,
        settings=_settings_of(function),
        digest=digest_function(function) or f"new {uuid4().hex}",
    )


def make_file_entry(path: Path, known: Registry[Entry]) -> InlineEntry:
    """Return the entry of a method in a Python file with a REGISTER, as in a plug-in's module.

    Nobody else has the file, so what it measures is marked as of a function. Raises UserError naming the file
    where it cannot be used.
    """
    entry = read_own_entry(path, "methods")
    if entry.name in known and known[entry.name].module != entry.module:
        raise UserError(f"methods: {path}: two files or methods have the name {entry.name}")
    digest = source_digest(entry.module)
    kept = {own.name: getattr(entry, own.name) for own in fields(Entry)}
    return InlineEntry(**kept, call=entry.load(), settings=entry.load_config(), digest=digest)


def _settings_of(function: UnlearnFunction) -> type:
    """Return the class with which the function's third parameter is annotated, where it can be built."""
    try:
        hints = get_type_hints(function)
    except (NameError, TypeError):
        return Settings
    wanted = hints.get(list(inspect.signature(function).parameters)[2])
    is_built = isinstance(wanted, type) and (
        issubclass(wanted, BaseModel) or hasattr(wanted, "__dataclass_fields__")
    )
    return wanted if is_built and wanted is not None else Settings


def check_settings(entry: InlineEntry, settings: Mapping[str, Any]) -> None:
    """Raise UserError for a setting that a function's own class of settings does not have."""
    kind = entry.settings
    if issubclass(kind, BaseModel):
        known = None if kind.model_config.get("extra") == "allow" else set(kind.model_fields)
    else:
        known = {own.name for own in fields(kind)}  # type: ignore[arg-type]
    unknown = sorted(set(settings) - known) if known is not None else []
    if unknown:
        raise UserError(f"methods: {entry.name}: {unknown[0]}: no setting of {kind.__name__}")


def digest_function(function: UnlearnFunction) -> str | None:
    """Return the digest of everything that a method depends on; None where that is not known."""
    return digest_values(function, _settings_of(function))
