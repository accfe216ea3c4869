"""The attacks that a suite names."""

from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel, Field

from ..config import STRICT

MOST_SEED = 2**32 - 1


class AttackRow(BaseModel):
    """One attack on the models of a suite, run after its cells.

    config: settings, budget included. seed: of the attack. methods, tasks: of the suite, whose models are
    attacked; empty: all. seeds: training seeds of the attacked models; empty: all. point: label of the
    attacked point; None: the shown one, else the last.
    """

    model_config = STRICT
    name: str = Field(min_length=1)
    config: dict[str, Any] = {}
    seed: int = Field(default=0, ge=0, le=MOST_SEED)
    methods: list[str] = []
    tasks: list[str] = []
    seeds: list[int] = []
    point: str | None = None


def check_attacks(rows: Sequence[AttackRow], methods: Sequence[str], tasks: Sequence[str]) -> None:
    """Raise ValueError where an attack names a method or task that the suite does not have."""
    there = {"methods": methods, "tasks": tasks}
    for row in rows:
        for field, names in there.items():
            if unknown := sorted(set(getattr(row, field)) - set(names)):
                raise ValueError(f"attacks: {row.name}: {field}: {unknown[0]!r:.80} is none of the suite")
