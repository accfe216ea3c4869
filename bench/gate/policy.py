"""Policies: a team's rules for a model update, and waivers with a reason, an owner and an end."""

from collections.abc import Iterable, Sequence
from datetime import date
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, Field, model_validator

from ..checking.ranges import RANGES, range_of, write_range
from ..config import STRICT, build, read_toml
from ..errors import UserError, suggest
from ..planning.tasks import PromptSizes

LIMITS = ("at_least", "at_most", "drop_at_most", "rise_at_most", "change_at_most")
PAIRED = ("UA", "UA_indirect", "VA", "in_prompt", "IRA", "CRA", "AS")
"""Metrics with a score for each image: those whose difference to a baseline has a paired interval."""
WEIGHTS = "weights"
"""Stands in a metric's place: how far the candidate's weights lie from the baseline's
(bench/gate/weights.py).
"""
Limit = Annotated[float | None, Field(allow_inf_nan=False)]
Change = Annotated[float | None, Field(ge=0, allow_inf_nan=False)]


class Rule(BaseModel):
    """One threshold. at_least, at_most: of the candidate's value. drop_at_most, rise_at_most: of its paired
    difference to the baseline's; change_at_most: of that difference's size, image by image, so that gains do
    not make up for losses. per: `concept` asks it of every retained concept by itself.

    The metric `weights` takes only change_at_most: the largest relative change (L2) of any tensor.
    """

    model_config = STRICT
    metric: str
    at_least: Limit = None
    at_most: Limit = None
    drop_at_most: Change = None
    rise_at_most: Change = None
    change_at_most: Change = None
    per: Literal["all", "concept"] = "all"

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.metric not in (WEIGHTS, *known_values()):
            raise ValueError(
                f"no metric gives a value named {self.metric!r}{suggest(self.metric, _all_names())}"
            )
        given = [name for name in LIMITS if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(f"give exactly one of {', '.join(LIMITS)}; there are {len(given)}")
        self._check_kind(given[0])
        least, most = self._ends(given[0])
        if not least <= self.limit[1] <= most:
            hint = ""
            if most == 1 and 1 < self.limit[1] <= 100:
                hint = f"; {self.limit[1]:g} per cent is {self.limit[1] / 100:g}"
            raise ValueError(f"{given[0]} of {self.metric} lies {write_range((least, most))}{hint}")
        return self

    def _check_kind(self, name: str) -> None:
        if self.metric == WEIGHTS:
            if name != "change_at_most" or self.per != "all":
                raise ValueError("weights knows change_at_most alone, of all of them")
        elif name in LIMITS[2:] and self.metric not in PAIRED:
            raise ValueError(f"{self.metric} has no paired difference; those that have: {', '.join(PAIRED)}")
        elif self.per == "concept" and (name not in LIMITS[2:] or self.metric not in ("IRA", "VA")):
            raise ValueError(f"per concept there are {', '.join(LIMITS[2:])} of IRA and VA alone")

    def _ends(self, name: str) -> tuple[float, float]:
        """Return the range of a limit: that of the value, or that of its change."""
        if self.metric == WEIGHTS:
            return 0.0, 1.0
        least, most = range_of(self.metric)
        return (0.0, most - least) if name in LIMITS[2:] else (least, most)

    @property
    def limit(self) -> tuple[str, float]:
        """The name and value of the limit."""
        name = next(name for name in LIMITS if getattr(self, name) is not None)
        return name, float(getattr(self, name))

    @property
    def text(self) -> str:
        """The rule as people read it, and as a waiver names it."""
        name, value = self.limit
        each = " of every retained concept" if self.per == "concept" else ""
        return f"{self.metric}{each} {name.replace('_', ' ')} {value:g}"


def known_values() -> frozenset[str]:
    """Return the names of values that a rule may be about: this package's, and plug-ins' metrics by their
    own."""
    from ..registry import builtin_registry

    return frozenset(RANGES) | frozenset(builtin_registry("metrics", "unlearnbench.bench.metrics"))


def _all_names() -> list[str]:
    return [WEIGHTS, *known_values()]


class Waiver(BaseModel):
    """Lets one rule's failure pass until a day, that day included.

    rule: the rule's text, as reports write it (`VA drop at most 0.05`). metric: in its place, where the
    policy has one rule of this metric. concept: of a rule per concept.
    """

    model_config = STRICT
    rule: str = ""
    metric: str = ""
    concept: str = ""
    reason: str = Field(min_length=1)
    owner: str = Field(min_length=1)
    expires: str

    @model_validator(mode="after")
    def _check(self) -> Self:
        if bool(self.rule) == bool(self.metric):
            raise ValueError(
                'give the rule that is waived, as reports write it: rule = "VA drop at most 0.05"'
            )
        for name in ("reason", "owner"):
            if not getattr(self, name).strip():
                raise ValueError(f"{name}: says nothing")
        try:
            day = date.fromisoformat(self.expires)
        except ValueError:
            day = None
        if day is None or day.isoformat() != self.expires:
            raise ValueError(f"expires: {self.expires!r} is no date of the form 2026-12-31")
        return self

    def is_over(self, today: date) -> bool:
        return today > date.fromisoformat(self.expires)


class Policy(BaseModel):
    """Rules with their waivers. level: of the intervals of differences; a value's own interval is of 95 %.

    sizes: of the evaluation, where the candidate is a model. Waivers that name a metric get the rule's text.
    """

    model_config = STRICT
    name: str = Field(min_length=1, max_length=200)
    summary: str = ""
    level: float = Field(default=0.95, ge=0.5, le=0.9999)
    rules: list[Rule] = Field(min_length=1)
    waivers: list[Waiver] = []
    sizes: PromptSizes = PromptSizes()

    @model_validator(mode="after")
    def _check(self) -> Self:
        texts = [rule.text for rule in self.rules]
        if twice := _find_twice(texts):
            raise ValueError(f"rules: {twice!r} stands twice")
        waivers = [self._name_rule(number, waiver) for number, waiver in enumerate(self.waivers)]
        if pair := _find_twice((waiver.rule, waiver.concept) for waiver in waivers):
            raise ValueError(f"waivers: two are of {' of '.join(filter(None, pair))!r}")
        object.__setattr__(self, "waivers", waivers)  # the model is frozen for everybody else
        return self

    def _name_rule(self, number: int, waiver: Waiver) -> Waiver:
        """Return the waiver with the text of the one rule that it names."""
        field = "rule" if waiver.rule else "metric"
        named = waiver.rule or waiver.metric
        found = [rule for rule in self.rules if named in (rule.text, rule.metric if waiver.metric else "")]
        if not found:
            known = [rule.text if waiver.rule else rule.metric for rule in self.rules]
            raise ValueError(
                f"waivers.{number}.{field}: the policy has no rule {named!r}{suggest(named, known)}"
            )
        if len(found) > 1:
            texts = " or ".join(f'"{rule.text}"' for rule in found)
            raise ValueError(f"waivers.{number}.metric: {named} has {len(found)} rules; give rule = {texts}")
        if bool(waiver.concept) != (found[0].per == "concept"):
            said = (
                "is of no concept" if waiver.concept else "is of every concept; name the one that is waived"
            )
            raise ValueError(f"waivers.{number}.concept: the rule {found[0].text!r} {said}")
        return waiver.model_copy(update={"rule": found[0].text})

    def check_concepts(self, asked: Sequence[tuple[str, str]]) -> None:
        """Raise UserError where a waiver is of a concept that its rule does not ask of. asked: (rule,
        concept)."""
        for number, waiver in enumerate(self.waivers):
            concepts = [concept for rule, concept in asked if rule == waiver.rule]
            if waiver.concept not in concepts:
                said = f"waivers.{number}.concept: {waiver.rule!r} asks nothing of {waiver.concept!r}"
                raise UserError(f"policy {self.name}: {said}{suggest(waiver.concept, concepts)}")


def _find_twice(names: Iterable[Any]) -> Any:
    """Return the first repeated name, None where all are different."""
    seen: set[Any] = set()
    for name in names:
        if name in seen:
            return name
        seen.add(name)
    return None


def read_policy(name: str | Path) -> Policy:
    """Return the policy of a TOML file, or of an example's name; raises UserError naming file and key."""
    path, examples = Path(name), Path(__file__).parent / "policies"
    if not path.exists() and (examples / f"{name}.toml").exists():
        path = examples / f"{name}.toml"
    elif not path.exists() and not path.suffix:
        known = sorted(file.stem for file in examples.glob("*.toml"))
        raise UserError(f"policy {name}: neither a file nor one of the examples {', '.join(known)}")
    return build(Policy, read_toml(path), str(path))
