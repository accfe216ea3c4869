"""The board over concepts: ranking, primary comparison, frontiers, what was over-erased, images."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from ..bench.types import Value
from .board import FEWEST_CONCEPTS, Duel, duel, list_worlds, measure
from .columns import COLUMNS, Column
from .comparison import Comparison, compare_images
from .declared import read_groups
from .frontiers import Panel, concept_panels, family_panels
from .heatmap import HeatMap, heat_maps
from .load import Loaded
from .plots import Look
from .standing import Standing, stand

SHOWN = ("UA", "UA_other", "UA_nothing", "UA_indirect", "VA", "in_prompt", "AS_delta", "IRA", "CRA",
         "KID", "FD", "seconds")  # fmt: skip
KEYS = ("UA", "VA", "in_prompt", "KID", "seconds")
"""Columns of a board at first sight, beside AVA; the others are shown by their group, on demand."""


@dataclass(frozen=True)
class Board:
    """All that the board's page shows. missing: (method, reason) of concepts without an AVA."""

    standings: tuple[Standing, ...]
    primary: Duel | None
    duels: tuple[Duel, ...]
    columns: tuple[Column, ...]
    missing: tuple[tuple[str, str], ...]
    families: tuple[Panel, ...]
    concepts: tuple[Panel, ...]
    heat: tuple[HeatMap, ...]
    images: tuple[Comparison, ...]
    tasks: int
    seeds: tuple[int, ...]

    @property
    def ranks(self) -> bool:
        """Whether there are concepts enough for a sign-flip test to tell anything apart."""
        return self.tasks >= FEWEST_CONCEPTS


def make_board(
    loaded: Sequence[Loaded], looks: Mapping[str, Look], pooled: Mapping[str, Value]
) -> Board | None:
    """Return the board of these records, None where no method was measured on two evaluated concepts of one
    world, or the records are of several worlds.

    pooled: FD by row, of all concepts' images together.
    """
    groups = read_groups(loaded)
    results = [measure(group) for group in groups]
    tasks = {row.task for row in results}
    if len(tasks) < 2 or len(list_worlds(loaded)) > 1:
        return None
    standings = [with_fd(row, pooled) for row in stand(loaded, results)]
    duels = duel(results)
    names = [row.name for row in standings]
    return Board(
        standings=tuple(standings),
        primary=next((d for d in duels if d.primary), None),
        duels=tuple(duels),
        columns=tuple(column for column in COLUMNS if column.name in SHOWN),
        missing=tuple((row.method, f"{row.task}: {row.missing}") for row in results if row.frontier is None),
        families=tuple(family_panels(groups, looks)),
        concepts=tuple(concept_panels(groups, looks)),
        heat=tuple(heat_maps(loaded, names)),
        images=tuple(compare_images(loaded, names)),
        tasks=len(tasks),
        seeds=tuple(sorted({seed for row in results for seed in row.seeds})),
    )


def with_fd(row: Standing, fd: Mapping[str, Value]) -> Standing:
    """Return a row with the pooled FD that its name has there."""
    return replace(row, values={**row.values, "FD": fd[row.name]}) if row.name in fd else row
