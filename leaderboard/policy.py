"""What a team asks of a model update: rules, and waivers with a reason, an owner and an end."""

from datetime import date
from pathlib import Path
from typing import Literal, Self

from pydantic import BaseModel, Field, model_validator

from ..bench.config import STRICT, build, read_toml
from ..bench.errors import UserError
from ..bench.tasks import PromptSizes

LIMITS = ("at_least", "at_most", "drop_at_most", "rise_at_most", "change_at_most")
PAIRED = ("UA", "UA_indirect", "VA", "in_prompt", "IRA", "CRA", "AS")
"""Metrics with a score for each image: those whose difference to a baseline has a paired interval."""
WEIGHTS = "weights"
"""Stands in a metric's place: how far the candidate's weights lie from the baseline's (bench/weights.py)."""


class Rule(BaseModel):
    """One threshold. at_least, at_most: of the candidate's value. drop_at_most, rise_at_most: of its paired
    difference to the baseline's; change_at_most: of that difference's size, image by image, so that gains do
    not make up for losses. per: `concept` asks it of every retained concept by itself.

    The metric `weights` knows change_at_most alone: the largest relative change (L2) of any tensor.
    """

    model_config = STRICT
    metric: str
    at_least: float | None = None
    at_most: float | None = None
    drop_at_most: float | None = Field(None, ge=0)
    rise_at_most: float | None = Field(None, ge=0)
    change_at_most: float | None = Field(None, ge=0)
    per: Literal["all", "concept"] = "all"

    @model_validator(mode="after")
    def _check(self) -> Self:
        given = [name for name in LIMITS if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(f"give exactly one of {', '.join(LIMITS)}; there are {len(given)}")
        if self.metric == WEIGHTS:
            if given[0] != "change_at_most" or self.per != "all":
                raise ValueError("weights knows change_at_most alone, of all of them")
            return self
        if given[0] in LIMITS[2:] and self.metric not in PAIRED:
            raise ValueError(f"{self.metric} has no paired difference; those that have: {', '.join(PAIRED)}")
        if self.per == "concept" and (given[0] not in LIMITS[2:] or self.metric not in ("IRA", "VA")):
            raise ValueError(f"per concept there are {', '.join(LIMITS[2:])} of IRA and VA alone")
        return self

    @property
    def limit(self) -> tuple[str, float]:
        """The name and value of the limit."""
        name = next(name for name in LIMITS if getattr(self, name) is not None)
        return name, float(getattr(self, name))

    @property
    def text(self) -> str:
        """The rule as people read it."""
        name, value = self.limit
        each = " of every retained concept" if self.per == "concept" else ""
        return f"{self.metric}{each} {name.replace('_', ' ')} {value:g}"


class Waiver(BaseModel):
    """Lets one rule's failure pass until a day, that day included. concept: of a rule per concept."""

    model_config = STRICT
    metric: str
    concept: str = ""
    reason: str = Field(min_length=1)
    owner: str = Field(min_length=1)
    expires: str

    @model_validator(mode="after")
    def _check(self) -> Self:
        try:
            date.fromisoformat(self.expires)
        except ValueError:
            raise ValueError(f"expires: {self.expires!r} is no date of the form 2026-12-31") from None
        return self

    def is_over(self, today: date) -> bool:
        return today > date.fromisoformat(self.expires)


class Policy(BaseModel):
    """Rules with their waivers. level: of paired intervals; a value's own interval is the record's, 95 %.

    sizes: of the evaluation, where the candidate is a model.
    """

    model_config = STRICT
    name: str
    summary: str = ""
    level: float = Field(0.95, gt=0, lt=1)
    rules: list[Rule] = Field(min_length=1)
    waivers: list[Waiver] = []
    sizes: PromptSizes = PromptSizes()


def read_policy(name: str | Path) -> Policy:
    """Return the policy of a TOML file, or of an example's name; raises UserError naming file and key."""
    path, examples = Path(name), Path(__file__).parent / "policies"
    if not path.exists() and (examples / f"{name}.toml").exists():
        path = examples / f"{name}.toml"
    elif not path.exists() and not path.suffix:
        known = sorted(file.stem for file in examples.glob("*.toml"))
        raise UserError(f"policy {name}: neither a file nor one of the examples {', '.join(known)}")
    return build(Policy, read_toml(path), str(path))
