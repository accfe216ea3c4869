"""Does the order of methods here agree with published tables? Spearman's rank correlation, by table.

Which tables, which number and which rows stand for which methods is in `transfer.toml`. The correlation is
over the methods that both have; it says nothing about methods that only one has.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from pydantic import BaseModel, Field
from scipy.stats import permutation_test, spearmanr

from ...bench.config import STRICT, Text, build, read_toml

FEWEST = 3
"""Methods below which no correlation is given: of two it is always 1 or -1."""
RESAMPLES = 99_999
"""Permutations of the test; with eight methods or fewer all are tried, so its p is exact."""


class PublishedRow(BaseModel):
    """A published method. ours: methods here that stand for it. numbers: as published; their mean counts."""

    model_config = STRICT
    name: Text
    ours: Annotated[list[Text], Field(min_length=1)]
    numbers: Annotated[list[float], Field(min_length=1)]


class PublishedTable(BaseModel):
    """A published order of methods. number: what is compared. read: its place in the source."""

    model_config = STRICT
    name: Text
    number: Text
    direction: Literal["up", "down"]
    url: Text
    read: Text
    rows: Annotated[list[PublishedRow], Field(min_length=1)]


class _File(BaseModel):
    model_config = STRICT
    tables: list[PublishedTable]


@dataclass(frozen=True)
class Transfer:
    """A table against a board. methods: in the published order, best first. lacking: rows without a method.

    rho: Spearman's rank correlation, ties by mean ranks, +1 where both orders agree. p: two-sided, by
    permutation. Both are None, with a reason, where too few methods are shared or all of one side are equal.
    """

    table: PublishedTable
    methods: tuple[str, ...]
    lacking: tuple[str, ...]
    rho: float | None
    p: float | None
    missing: str | None = None


@cache
def published_tables() -> tuple[PublishedTable, ...]:
    """Return the tables that ship with the package."""
    path = Path(str(files(__package__).joinpath("transfer.toml")))
    return tuple(build(_File, read_toml(path), str(path)).tables)


def measure_transfers(
    values: Mapping[str, float], tables: Sequence[PublishedTable] | None = None
) -> list[Transfer]:
    """Return the correlation with each table. values: method -> its number on the board, higher is better."""
    return [_measure(table, values) for table in (published_tables() if tables is None else tables)]


def _measure(table: PublishedTable, values: Mapping[str, float]) -> Transfer:
    sign = 1.0 if table.direction == "up" else -1.0
    theirs = {row.name: sign * float(np.mean(row.numbers)) for row in table.rows}
    shared = [row for row in table.rows if all(name in values for name in row.ours)]
    shared.sort(key=lambda row: (-theirs[row.name], row.name))
    lacking = tuple(row.name for row in table.rows if row not in shared)
    names = tuple(row.name for row in shared)
    if len(shared) < FEWEST:
        return Transfer(table, names, lacking, None, None, f"{len(shared)} shared methods, {FEWEST} needed")
    first = np.array([theirs[row.name] for row in shared])
    second = np.array([np.mean([values[name] for name in row.ours]) for row in shared])
    if np.ptp(first) == 0 or np.ptp(second) == 0:
        return Transfer(table, names, lacking, None, None, "all shared methods are equal on one side")
    found = permutation_test(
        (first,),
        lambda order: spearmanr(order, second).statistic,
        permutation_type="pairings",
        n_resamples=RESAMPLES,
        rng=np.random.default_rng(0),
    )
    return Transfer(table, names, lacking, float(found.statistic), float(found.pvalue))
