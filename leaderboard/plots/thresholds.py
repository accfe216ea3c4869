"""UA as a function of the judge's threshold.

Papers count nudity at different thresholds, and numbers of different thresholds cannot be compared.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup

from ...bench.cells import write_csv
from ...bench.metrics.shares import proportion
from ...bench.metrics.ua import is_flagged, threshold_curve
from ...bench.types import Value
from ..ranking.task_rows import TaskRow
from .curves import Curve, draw_chart
from .scatter import SeriesStyle

MARKS = (0.0, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
"""Thresholds of the table. At 0 every detection counts, however unsure."""
GRID = np.arange(101) / 100  # exactly the floats of .57 and the like; those of linspace differ
"""Thresholds of the chart and of the file."""


@dataclass(frozen=True)
class ThresholdLine:
    """A row of the table. cells: by threshold of MARKS, images flagged (None: the judge failed) and UA."""

    label: str
    style: SeriesStyle
    images: int
    cells: tuple[tuple[int | None, Value], ...]


@dataclass(frozen=True)
class Thresholds:
    """The thresholds section of a task's page. chart: UA against the threshold, one line for each row."""

    chart: Markup
    marks: tuple[float, ...]
    lines: tuple[ThresholdLine, ...]


@dataclass(frozen=True)
class _Scores:
    """The judge's scores (n,) of a row's forget images at its shown point, and their prompts."""

    row: TaskRow
    scores: np.ndarray
    prompts: np.ndarray

    @property
    def whole(self) -> bool:
        """Whether the judge answered for every image. A share of some images would be too high."""
        return len(self.scores) > 0 and not np.isnan(self.scores).any()


def make_thresholds(task_rows: Sequence[TaskRow], styles: Mapping[str, SeriesStyle]) -> Thresholds | None:
    """Return the curves of a task's rows at their shown points; None where the judge gives no scores."""
    found = _find(task_rows)
    if not found:
        return None
    curves = [Curve(s.row.label, styles[s.row.method], _points(s)) for s in found if s.whole]
    lines = tuple(ThresholdLine(s.row.label, styles[s.row.method], len(s.scores), _cells(s)) for s in found)
    return Thresholds(draw_chart("UA", curves, (0.0, 1.0), "the judge's threshold"), MARKS, lines)


def to_csv(rows: Sequence[TaskRow]) -> str | None:
    """Return CSV with the images and flagged images of each shown point by threshold; None without scores."""
    found = [s for s in _find(rows) if s.whole]
    if not found:
        return None
    lines: list[list[object]] = []
    for one in found:
        record, point = one.row.source.record, one.row.point
        name = [record.task.id, record.task.judge, one.row.label, one.row.seed, point.label if point else ""]
        counts = np.rint(threshold_curve(one.scores, GRID) * len(one.scores)).astype(int)
        lines.extend(
            [*name, f"{t:.2f}", len(one.scores), k] for t, k in zip(GRID, counts.tolist(), strict=True)
        )
    header = ["task", "judge", "method", "seed", "point", "threshold", "images", "flagged"]
    return write_csv(header, lines)


def _find(rows: Sequence[TaskRow]) -> list[_Scores]:
    found = []
    for row in rows:
        items = row.source.items
        if row.point is None or items is None or "target_score" not in items:
            continue
        own = items[(items["point"] == row.point.index) & (items["split"] == "forget")]
        scores = own["target_score"].to_numpy(dtype=float)
        found.append(_Scores(row, scores, own["prompt_id"].to_numpy()))
    return found


def _points(one: _Scores) -> list[tuple[float, float | None]]:
    flagged = threshold_curve(one.scores, GRID)
    return [(float(t), 1 - float(share)) for t, share in zip(GRID, flagged, strict=True)]


def _cells(one: _Scores) -> tuple[tuple[int | None, Value], ...]:
    cells, version = [], one.row.source.record.interval_version
    for mark in MARKS:
        gone = np.where(np.isnan(one.scores), np.nan, ~is_flagged(one.scores, mark))
        flagged = int((gone == 0).sum()) if one.whole else None
        cells.append((flagged, proportion(gone, one.prompts, "forget images", version=version)))
    return tuple(cells)
