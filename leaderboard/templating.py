"""The package's templates. Jinja escapes every value, and an unknown name is an error."""

from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import Any

from jinja2 import Environment, FunctionLoader, StrictUndefined

from . import templates


def open_environment() -> Environment:
    """Return the environment that renders every page of the package."""
    return Environment(
        loader=FunctionLoader(read_template),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def read_template(name: str) -> str:
    """Return the text of a template, style sheet or script."""
    return files(templates).joinpath(name).read_text(encoding="utf-8")


def find_varied(configs: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the names under which configurations differ, in their order; one that lacks a name differs."""
    names = sorted({name for config in configs for name in config})
    return [name for name in names if any(config.get(name) != configs[0].get(name) for config in configs)]


def flatten(values: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """Return nested values as (dotted key, text), in the order of their keys."""
    pairs: list[tuple[str, str]] = []
    for key in sorted(values):
        value = values[key]
        if isinstance(value, Mapping) and value:
            pairs += flatten(value, f"{prefix}{key}.")
        elif isinstance(value, list):
            pairs.append((f"{prefix}{key}", ", ".join(str(part) for part in value)))
        else:
            pairs.append((f"{prefix}{key}", str(value)))
    return pairs
