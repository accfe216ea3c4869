"""How values change with the number of concepts that one model forgets at once."""

from collections.abc import Mapping, Sequence
from statistics import fmean

from ..ranking.task_rows import TaskRow
from .curves import Curve, CurvePlot, draw_chart
from .scatter import SeriesStyle

CHARTS = (
    ("UA", "UA of all concepts"),
    ("VA", "VA: retained concepts"),
    ("in_prompt", "in-prompt: other attributes of the forget prompts"),
)
ALONG = "the number of concepts forgotten at once"


def count_concepts(row: TaskRow) -> int:
    """Return how many concepts a row's task joins (`classes/cat-face+guitar`: 2)."""
    return row.task.count("+") + 1


def plot_counts(found: Sequence[TaskRow], styles: Mapping[str, SeriesStyle]) -> list[CurvePlot]:
    """Return a chart of each value against the number of concepts; [] where all tasks have equally many.

    Values are of the points shown, and means over the tasks with the same number of concepts.
    A value that is missing on a task makes its mean missing: a mean over fewer tasks is of other tasks.
    """
    counts = sorted({count_concepts(row) for row in found})
    if len(counts) < 2:
        return []
    methods = [name for name in styles if any(row.method == name for row in found)]
    plots = []
    for name, title in CHARTS:
        curves = [
            Curve(method, styles[method], [(float(n), _mean(found, method, name, n)) for n in counts])
            for method in methods
        ]
        without = tuple(curve.label for curve in curves if all(y is None for _, y in curve.points))
        plots.append(CurvePlot(title, draw_chart(title, curves, (0.0, 1.0), ALONG), without))
    return plots


def _mean(found: Sequence[TaskRow], method: str, name: str, count: int) -> float | None:
    values = [row.value(name).value for row in found if row.method == method and count_concepts(row) == count]
    numbers = [value for value in values if value is not None]
    return fmean(numbers) if numbers and len(numbers) == len(values) else None
