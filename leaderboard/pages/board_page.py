"""The board over concepts: ranking, primary comparison, frontiers, what was over-erased, images."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from ...bench.measuring.pool import KD
from ...bench.records.load import Loaded
from ...bench.types import Value, missing
from ..plots.comparison import Comparison, compare_images
from ..plots.frontiers import Panel, concept_panels, family_panels
from ..plots.heatmap import HeatMap, heat_maps
from ..plots.scatter import SeriesStyle
from ..ranking.board import FEWEST_CONCEPTS, PairedComparison, duel, find_tasks, list_worlds, measure
from ..ranking.columns import COLUMNS, Column
from ..ranking.declared import read_groups
from ..ranking.standing import BoardRow, stand

SHOWN = ("UA", "UA_other", "UA_nothing", "UA_indirect", "VA", "in_prompt", "AS_delta", "IRA", "CRA",
         "KID", "FD", "KD_efficientnet_lite0", "seconds")  # fmt: skip
KEYS = ("UA", "VA", "in_prompt", "KID", "seconds")
"""Columns of a board at first sight, beside AVA; the others are shown by their group, on demand."""
PooledValues = Mapping[str, Mapping[str, Value]]
"""Values of all concepts' images together, by metric and then by row."""


@dataclass(frozen=True)
class Board:
    """All that the board's page shows. missing: (method, reason) of concepts without an AVA."""

    standings: tuple[BoardRow, ...]
    primary: PairedComparison | None
    duels: tuple[PairedComparison, ...]
    columns: tuple[Column, ...]
    pooled: tuple[str, ...]  # metrics of all concepts' images together; the others are means over concepts
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
    loaded: Sequence[Loaded], looks: Mapping[str, SeriesStyle], pooled: PooledValues
) -> Board | None:
    """Return the board of these records, None where no method was measured on two evaluated concepts of one
    world, or the records are of several worlds."""
    groups = read_groups(loaded)
    results = [measure(group) for group in groups]
    tasks = find_tasks(results)
    if len(tasks) < 2 or len(list_worlds(loaded)) > 1:
        return None
    standings = [with_pooled(row, pooled) for row in stand(loaded, results)]
    duels = duel(results)
    names = [row.name for row in standings]
    return Board(
        standings=tuple(standings),
        primary=next((d for d in duels if d.primary), None),
        duels=tuple(duels),
        columns=tuple(column for column in COLUMNS if column.name in SHOWN and _has(column, standings)),
        pooled=tuple(pooled),
        missing=tuple((row.method, f"{row.task}: {row.missing}") for row in results if row.frontier is None),
        families=tuple(family_panels(groups, looks)),
        concepts=tuple(concept_panels(groups, looks)),
        heat=tuple(heat_maps(loaded, names)),
        images=tuple(compare_images(loaded, names)),
        tasks=len(tasks),
        seeds=tuple(sorted({seed for row in results for seed in row.seeds})),
    )


def _has(column: Column, standings: Sequence[BoardRow]) -> bool:
    """Return whether a column belongs on the board: an extractor that is an extra was not always there."""
    return column.name != KD or any(row.value(KD).value is not None for row in standings)


def with_pooled(row: BoardRow, pooled: PooledValues) -> BoardRow:
    """Return a row with its pooled values; where others have one and it has none, it is missing.

    What was averaged over concepts does not stand beside what was pooled over them.
    """
    own = {
        name: by_row.get(row.name, missing("not pooled with the other rows"))
        for name, by_row in pooled.items()
    }
    return replace(row, values={**row.values, **own})
