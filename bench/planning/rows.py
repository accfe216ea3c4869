"""Rows of a suite: a method with its configuration and training seeds, and an attack."""

import math
from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import BaseModel, Field, field_validator

from ..config import STRICT
from ..errors import UserError

MOST_SEEDS, MOST_STEPS, MOST_THREADS = 1_000, 10**9, 1024
MOST_SEED = 2**32 - 1
Seed = Annotated[int, Field(ge=0, le=MOST_SEED)]
"""Largest seed of a training run or of evaluation noise."""


class MethodRow(BaseModel):
    """One method with the configuration that it runs with.

    config: settings of the method, the name of one of its presets (`config = "paper"`), or a preset with
    settings that override it (`config = { preset = "paper", steps = 40 }`).
    noise: seed of the evaluation noise. shown: step of the point that a board shows for this method, chosen
    beforehand on tuning concepts; 0: no point of this row; None: nothing was chosen beforehand. tuned: number
    of configurations to take from the suite's choice in place of `config`. seeds: training seeds of this row
    only, in place of the suite's. label: sets configurations apart that a board shows in a row of their own
    (`paper` for a preset beside the tuned row); the board's row is then named `NAME (LABEL)`.
    """

    model_config = STRICT
    name: str = Field(min_length=1)
    label: str = Field(default="", pattern=r"^([a-z0-9][a-z0-9 ._-]*)?$", max_length=40)
    config: dict[str, Any] = {}
    noise: Seed = 0
    shown: int | None = Field(default=None, ge=0, le=MOST_STEPS)
    tuned: int = Field(default=0, ge=0, le=100)
    seeds: list[Seed] = Field(default=[], max_length=MOST_SEEDS)

    @field_validator("seeds")
    @classmethod
    def _once(cls, seeds: list[int]) -> list[int]:
        return check_seeds(seeds)

    @field_validator("config")
    @classmethod
    def _drop_infinity(cls, value: dict[str, Any]) -> dict[str, Any]:
        """Write `no bound` as None: TOML can only say `inf`, which the JSON of keys and records cannot."""
        for name, setting in value.items():
            if isinstance(setting, float) and (math.isnan(setting) or setting == -math.inf):
                raise ValueError(f"{name}: {setting} is no setting")
        return {name: None if setting == math.inf else setting for name, setting in value.items()}

    @field_validator("config", mode="before")
    @classmethod
    def _name_preset(cls, value: Any) -> Any:
        return {"preset": value} if isinstance(value, str) else value


class AttackRow(BaseModel):
    """One attack on the models of a suite, run after its cells.

    config: settings, budget included. seed: of the attack. methods, tasks: of the suite, whose models are
    attacked; empty: all. seeds: training seeds of the attacked models; empty: all. point: label of the
    attacked point; None: the shown one, else the last.
    """

    model_config = STRICT
    name: str = Field(min_length=1)
    config: dict[str, Any] = {}
    seed: Seed = 0
    methods: list[str] = []
    tasks: list[str] = []
    seeds: list[Seed] = Field(default=[], max_length=MOST_SEEDS)
    point: str | None = None


def check_attacks(attacks: Sequence[AttackRow], methods: Sequence[str], tasks: Sequence[str]) -> None:
    """Raise ValueError where an attack names a method or task that the suite does not have.

    tasks: none in a suite with a sequence.
    """
    for row in attacks:
        if row.tasks and not tasks:
            said = "leave it out, because a sequence is attacked at every step"
            raise ValueError(f"attacks: {row.name}: tasks: {said}")
        for field, names in (("methods", methods), ("tasks", tasks)):
            if unknown := sorted(set(getattr(row, field)) - set(names)):
                raise ValueError(f"attacks: {row.name}: {field}: {unknown[0]!r:.80} is none of the suite")


def check_seeds(seeds: list[int]) -> list[int]:
    """Return the seeds; raises ValueError where one stands twice."""
    if len(set(seeds)) < len(seeds):
        raise ValueError(f"a seed stands twice in {seeds}: its run would be counted twice")
    return seeds


def check_options_seeds(option: str, seeds: list[int]) -> None:
    """Raise UserError where a seed of the command line is out of range, or stands twice."""
    for seed in seeds:
        if not 0 <= seed <= MOST_SEED or seeds.count(seed) > 1:
            said = "stands twice" if 0 <= seed <= MOST_SEED else f"must be from 0 to {MOST_SEED}"
            raise UserError(f"{option} {seed}: {said}")
