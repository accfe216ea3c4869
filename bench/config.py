"""Reads TOML and keyword values into frozen, validated records; every error names file and key."""

import json
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, StringConstraints, TypeAdapter, ValidationError

from .errors import UserError, suggest

T = TypeVar("T")
M = TypeVar("M", bound=BaseModel)
Text = Annotated[str, StringConstraints(min_length=1, strip_whitespace=True)]
"""A text that is not empty, without space at its ends."""
MOST_JSON = 64 * 2**20
"""Size in bytes of the largest JSON file that is read."""
STRICT = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)
"""Base of every record read from TOML: unknown keys are errors, numbers are finite, values do not change."""


def read_toml(path: Path) -> dict[str, Any]:
    """Return the table in a TOML file; raises UserError with file and line when it cannot be read."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8 (byte {error.start + 1}): save it as UTF-8") from None
    except tomllib.TOMLDecodeError as error:
        raise UserError(f"{path}: not valid TOML: {error}") from None


def read_whole(path: Path) -> bytes:
    """Return the bytes of a JSON file; raises UserError where it is too large, OSError where it is absent."""
    if path.stat().st_size > MOST_JSON:
        raise UserError(f"{path}: {path.stat().st_size:,} bytes; at most {MOST_JSON:,} are read")
    return path.read_bytes()


def read_json(
    kind: type[M], path: Path, absent: str = "no such file", read: Callable[[Path], bytes] = read_whole
) -> M:
    """Return the validated record in a JSON file; raises UserError naming file and field.

    absent: the message where there is no such file. read: returns the file's bytes.
    """
    try:
        return kind.model_validate_json(read(path).decode("utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path}: {absent}") from None
    except ValidationError as error:
        if _lacks_all(kind, error):
            raise UserError(f"{path}: not a {kind.__name__.lower()}: it has none of its fields") from None
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "(top level)"
        raise UserError(f"{path}: {where}: {first['msg']}") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not a text file: {error}") from None


def _lacks_all(kind: type[BaseModel], error: ValidationError) -> bool:
    """Return whether not one required field of a record was there: the file is of another kind."""
    lacking = [fault for fault in error.errors() if fault["type"] == "missing" and len(fault["loc"]) == 1]
    return 1 < len(lacking) == sum(field.is_required() for field in kind.model_fields.values())


def build(kind: type[T], values: Mapping[str, Any], source: str) -> T:
    """Return `values` as a validated `kind`; raises UserError naming `source` and the first bad key."""
    try:
        # through JSON, whose strict mode takes a list for a tuple but no text or truth value for a number
        return TypeAdapter(kind).validate_json(json.dumps(dict(values), default=str), strict=True)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"]) or "(top level)"
        given = "" if first["type"] == "missing" else f" (got {first['input']!r:.60})"
        hint = _hint(kind, first["loc"]) if first["type"] == "extra_forbidden" else ""
        raise UserError(f"{source}: {key}: {first['msg']}{given}{hint}") from None


def _hint(kind: Any, place: tuple[int | str, ...]) -> str:
    """Return which keys are known where an unknown one stands, "" where that cannot be told."""
    models = _models_in(kind)
    for name in (part for part in place[:-1] if isinstance(part, str)):
        fields = [model.model_fields[name] for model in models if name in model.model_fields]
        models = [model for field in fields for model in _models_in(field.annotation)]
    known = [name for model in models for name in model.model_fields]
    return suggest(str(place[-1]), known) if known else ""


def _models_in(kind: Any) -> list[type[BaseModel]]:
    """Return the records that a type is, or holds as a list or an option does."""
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return [kind]
    return [model for part in get_args(kind) for model in _models_in(part)]


def apply_preset(
    values: Mapping[str, Any], presets: Mapping[str, Mapping[str, Any]], source: str
) -> dict[str, Any]:
    """Return settings in which the key `preset` is replaced by the preset that it names.

    The other settings override those of the preset. Raises UserError naming `source` and the known presets.
    """
    given = dict(values)
    name = given.pop("preset", None)
    if name is None:
        return given
    if not isinstance(name, str) or name not in presets:
        known = ", ".join(sorted(presets)) or "none"
        raise UserError(f"{source}: no preset named {name!r}; known: {known}")
    return {**presets[name], **given}
