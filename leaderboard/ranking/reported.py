"""Numbers that papers report under a task's protocol. Only the page of that task shows them."""

from fnmatch import fnmatchcase
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, Field, StringConstraints, model_validator

from ...bench.config import STRICT, Text, build, read_toml

Number = Annotated[str, StringConstraints(pattern=r"^-?(\d+(\.\d+)?|\.\d+)$")]
"""A number as text, because a float would lose trailing digits of its source."""


class ReportedColumn(BaseModel):
    """A metric as its paper calls it. closest: the value here that measures the same, "" = none."""

    model_config = STRICT
    metric: Text
    unit: str = ""
    direction: Literal["up", "down"]
    closest: str = ""


class Reported(BaseModel):
    """A published table, or a part of one.

    tasks: patterns of the ids of tasks whose page shows it. read: its place in the source. tag: "table": read
    on a public page. protocol: how it was measured. differs: why its numbers cannot be compared with
    those measured here. rows: method -> a number for each column, in the order of the source.
    """

    model_config = STRICT
    tasks: list[Text] = Field(min_length=1)
    title: Text
    paper: Text
    url: Annotated[str, StringConstraints(pattern=r"^https://[^\s\"'<>]+$")]
    read: Text
    tag: Literal["table"]
    protocol: Text
    differs: Text
    columns: list[ReportedColumn] = Field(min_length=1)
    rows: dict[Text, list[Number]] = Field(min_length=1)

    @model_validator(mode="after")
    def _fill_every_cell(self) -> "Reported":
        for method, numbers in self.rows.items():
            if len(numbers) != len(self.columns):
                raise ValueError(f"rows: {method}: {len(numbers)} numbers for {len(self.columns)} columns")
        return self

    def is_of(self, task: str) -> bool:
        """Return whether a task's page shows it."""
        return any(fnmatchcase(task, pattern) for pattern in self.tasks)


class ReportedFile(BaseModel):
    """All tables of a file."""

    model_config = STRICT
    tables: list[Reported]


def read_reported(path: Path) -> tuple[Reported, ...]:
    """Read a file of published tables; raises UserError naming file and key."""
    return tuple(build(ReportedFile, read_toml(path), str(path)).tables)


@cache
def shipped() -> tuple[Reported, ...]:
    """Return the tables that ship with the package."""
    return read_reported(Path(str(files(__package__).joinpath("reported.toml"))))


def reported_for(task: str) -> tuple[Reported, ...]:
    """Return the tables that a task's page shows, in the order of the file."""
    return tuple(table for table in shipped() if table.is_of(task))
