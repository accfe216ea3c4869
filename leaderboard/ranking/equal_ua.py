"""VA at equal UA: a number of two methods on the concepts where both reach a level, beside the headline."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ...bench.stats.candidates import equal_ua
from ...bench.stats.compare import t_interval
from .declared import MethodPoints


@dataclass(frozen=True)
class EqualUa:
    """VA of a method minus the rival's over the levels of UA that both reach, a mean over concepts.

    low, high: 95 % t interval over concepts, None with fewer than two. concepts: on which a level is reached
    by both. reach: the share of levels that both reach, over all shared concepts.
    """

    difference: float | None
    low: float | None
    high: float | None
    concepts: int
    reach: float


def compare_at_equal_ua(groups: Sequence[MethodPoints], rival: str) -> dict[str, EqualUa]:
    """Return each method's comparison with the rival, on the concepts that both have."""
    own = {group.task: group for group in groups if group.method == rival and group.missing is None}
    found: dict[str, list[tuple[float, float]]] = {}
    for group in groups:
        if group.method != rival and group.missing is None and group.task in own:
            found.setdefault(group.method, []).append(_measure(group, own[group.task]))
    return {method: _summarise(pairs) for method, pairs in found.items()}


def _measure(first: MethodPoints, second: MethodPoints) -> tuple[float, float]:
    """Return the difference (NaN where no level is reached by both) and the reach on one concept."""
    count = max(len(first.points), len(second.points))
    table = np.stack([_table(first, count), _table(second, count)])
    difference, reach = equal_ua(table, table)
    return float(difference), float(reach)


def _table(group: MethodPoints, count: int) -> NDArray[np.float64]:
    """Return UA, VA and in-prompt (3, 1, 2, count); the points that fill it up reach no level."""
    table = np.full((3, 1, 2, count), -1.0)
    for k, point in enumerate(group.points):
        table[:, 0, :, k] = np.nan_to_num(point.halves, nan=-1.0)
    return table


def _summarise(pairs: Sequence[tuple[float, float]]) -> EqualUa:
    values = [difference for difference, _ in pairs if not np.isnan(difference)]
    reach = float(np.mean([reach for _, reach in pairs]))
    low, high = t_interval(values) if len(values) > 1 else (None, None)
    return EqualUa(float(np.mean(values)) if values else None, low, high, len(values), reach)
