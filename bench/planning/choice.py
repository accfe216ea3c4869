"""The configurations that were chosen on tuning concepts before anything was evaluated."""

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from ..config import read_json
from ..errors import UserError
from ..types import Headline


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class _Scored(_Part):
    """ava, h: on the tuning concepts; the one that was chosen by, where it is not missing."""

    ava: float | None = Field(default=None, ge=0, le=1)
    h: float | None = Field(default=None, ge=0, le=1)

    @property
    def value(self) -> float | None:
        """The number that was chosen by, None where it is missing."""
        return self.h if self.ava is None else self.ava


class Candidate(_Scored):
    """A configuration that was tried. ava, h: means over the concepts, missing where one is."""

    config: dict[str, Any]
    best_ua: float = Field(ge=0, le=1)


class ChosenRow(_Part):
    """A configuration that was chosen, with the step of the point that a board shows; 0 = no point of it."""

    config: dict[str, Any]
    shown: int = Field(ge=0)


class MethodChoice(_Scored):
    """The choice for one method.

    ava, h: of the chosen rows together; missing for the placebo, of which only the length was measured.
    reached: whether a chosen point has a mean UA >= .95 (with H: whether the shown one has).
    """

    rows: list[ChosenRow]
    reached: bool
    candidates: list[Candidate]


class Choice(_Part):
    """The chosen configurations. records: stem -> digest of each record of the tuning suite. headline: the
    number that they were chosen by."""

    suite: str
    headline: Headline = "AVA"
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
