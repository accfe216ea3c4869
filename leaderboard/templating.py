"""The package's templates: everything is escaped, and an unknown name is an error."""

from importlib.resources import files

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
