"""The configurations that were chosen on tuning concepts before anything was evaluated."""

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from ..config import read_json
from ..errors import UserError


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Candidate(_Part):
    """A configuration that was tried. ava: mean over the tuning concepts, None where it is missing on one."""

    config: dict[str, Any]
    ava: float | None = Field(ge=0, le=1)
    best_ua: float = Field(ge=0, le=1)


class ChosenRow(_Part):
    """A configuration that was chosen, with the step of the point that a board shows; 0 = no point of it."""

    config: dict[str, Any]
    shown: int = Field(ge=0)


class MethodChoice(_Part):
    """The choice for one method.

    ava: tuning AVA of the chosen rows together; None for the placebo, of which only the length was measured.
    reached: whether a chosen point has a mean UA >= .95.
    """

    rows: list[ChosenRow]
    ava: float | None = Field(ge=0, le=1)
    reached: bool
    candidates: list[Candidate]


class Choice(_Part):
    """The chosen configurations. records: stem -> digest of each record of the tuning suite."""

    suite: str
    concepts: list[str]
    methods: dict[str, MethodChoice]
    records: dict[str, str]


def read_choice(path: Path) -> Choice:
    """Return a choice; raises UserError naming file and field."""
    return read_json(Choice, path, "no such file; make it with: unlearnbench choose RECORDS")


def rows_of(choice: Choice, method: str, path: Path) -> list[ChosenRow]:
    """Return the rows chosen for a method; raises UserError where nothing was chosen for it."""
    if method not in choice.methods:
        known = ", ".join(sorted(choice.methods))
        raise UserError(f"{path}: nothing was chosen for {method!r}; methods: {known}")
    return choice.methods[method].rows
