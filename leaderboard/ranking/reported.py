"""Numbers that papers report of a task's protocol: on its page, in a table of their own, and nowhere else."""

from fnmatch import fnmatchcase
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, Field, StringConstraints, model_validator

from ...bench.config import STRICT, build, read_toml

Text = Annotated[str, StringConstraints(min_length=1, strip_whitespace=True)]
Number = Annotated[str, StringConstraints(pattern=r"^-?(\d+(\.\d+)?|\.\d+)$")]
"""With the digits of its source, which a float would lose."""


class ReportedColumn(BaseModel):
    """A metric as its paper calls it. closest: our value that asks the same, "" where there is none."""

    model_config = STRICT
    metric: Text
    unit: str = ""
    direction: Literal["up", "down"]
    closest: str = ""


class Reported(BaseModel):
    """A published table, or a part of one.

    tasks: patterns of the ids of tasks whose page shows it. read: where it stands. tag: "table", that is,
    read on a public page itself. protocol: what was measured, in words. differs: what keeps its numbers from
    being compared with ours. rows: method -> a number for each column, in the order of the source.
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
