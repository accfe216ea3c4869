"""UA over a judge's thresholds: papers count nudity at many, so a number at one of them is not comparable."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup

from ...bench.cells import write_csv
from ...bench.metrics.shares import proportion
from ...bench.metrics.ua import is_flagged, threshold_curve
from ...bench.types import Value
from ..ranking.rank import Row
from .curves import Curve, draw_chart
from .scatter import SeriesStyle

MARKS = (0.0, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
"""Thresholds of the table. At 0 every detection counts, however unsure."""
GRID = np.arange(101) / 100  # the very numbers that `.57` and the like are, as linspace's are not
"""Thresholds of the chart and of the file."""


@dataclass(frozen=True)
class Line:
    """A row of the table. cells: by threshold of MARKS, images flagged (None: the judge failed) and UA."""

    label: str
    look: SeriesStyle
    images: int
    cells: tuple[tuple[int | None, Value], ...]


@dataclass(frozen=True)
class Thresholds:
    """What a task's section shows. chart: UA against the threshold, a line a row."""

    chart: Markup
    marks: tuple[float, ...]
    lines: tuple[Line, ...]


@dataclass(frozen=True)
class _Scores:
    """The judge's scores (n,) of a row's forget images at its shown point, and their prompts."""

    row: Row
    scores: np.ndarray
    prompts: np.ndarray

    @property
    def whole(self) -> bool:
        """Whether the judge answered for every image: a share of some of them would flatter."""
        return len(self.scores) > 0 and not np.isnan(self.scores).any()


def make_thresholds(task_rows: Sequence[Row], looks: Mapping[str, SeriesStyle]) -> Thresholds | None:
    """Return the curves of a task's rows at their shown points, None where its judge gives no scores."""
    found = _find(task_rows)
    if not found:
        return None
    curves = [Curve(s.row.label, looks[s.row.method], _points(s)) for s in found if s.whole]
    lines = tuple(Line(s.row.label, looks[s.row.method], len(s.scores), _cells(s)) for s in found)
    return Thresholds(draw_chart("UA", curves, (0.0, 1.0), "the judge's threshold"), MARKS, lines)


def to_csv(rows: Sequence[Row]) -> str | None:
    """Return threshold, images and images flagged of every row's shown point; None where none has scores."""
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


def _find(rows: Sequence[Row]) -> list[_Scores]:
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
