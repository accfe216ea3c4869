"""Training curves: a small line chart for each column of the logs, with one line for each method."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from ..ranking.task_rows import TaskRow
from .scatter import SeriesStyle
from .svg import Scale, canvas, mark, tag, ticks

WIDTH, HEIGHT = 320, 176
LEFT, RIGHT, TOP, BOTTOM = 46, 12, 8, 22
BUCKETS = 32
"""Maximum number of points of a curve; a longer log is drawn as means of neighbouring steps."""
TITLES = {
    "forget_loss": "forget loss",
    "retain_loss": "retain loss",
    "cos": "cos(g_f, g_r)",
    "conflict": "conflicting steps",
    "update_dot_forget": "Δθ·g_f",
    "update_dot_retain": "Δθ·g_r",
    "norm_before_clipping": "gradient norm",
    "update_norm": "‖Δθ‖",
}
SHARES = ("conflict",)
"""Columns of 0 and 1: their means are shares, drawn from 0 to 1."""


@dataclass(frozen=True)
class CurvePlot:
    """The chart of one column of the logs, one line for each row. without: rows whose log lacks it."""

    title: str
    chart: Markup
    without: tuple[str, ...]


@dataclass(frozen=True)
class Log:
    """A training log and how its lines are drawn. columns: name -> one entry a step."""

    label: str
    style: SeriesStyle
    columns: Mapping[str, Sequence[float | None]]


def logging_rows(task_rows: Sequence[TaskRow]) -> list[TaskRow]:
    """Return the rows whose record has a training log."""
    return [row for row in task_rows if any(row.source.record.log.values())]


def plot_curves(task_rows: Sequence[TaskRow], styles: Mapping[str, SeriesStyle]) -> list[CurvePlot]:
    """Return a chart for every column that some row's log has."""
    return draw_logs(
        [Log(row.label, styles[row.method], row.source.record.log) for row in logging_rows(task_rows)]
    )


def draw_logs(logs: Sequence[Log]) -> list[CurvePlot]:
    """Return a chart for every column that some log has, with one line for each log."""
    names = {name for log in logs for name, entries in log.columns.items() if entries} - {"step"}
    panels = []
    for name in sorted(names, key=_place):
        curves = [Curve(log.label, log.style, _points(log.columns, name)) for log in logs]
        drawn = [curve for curve in curves if curve.points]
        title = TITLES.get(name, name.replace("_", " "))
        chart = draw_chart(title, drawn, (0.0, 1.0) if name in SHARES else _range(drawn))
        panels.append(CurvePlot(title, chart, tuple(curve.label for curve in curves if not curve.points)))
    return panels


def _place(name: str) -> tuple[int, str]:
    return (list(TITLES).index(name) if name in TITLES else len(TITLES), name)


Point = tuple[float, float | None]


@dataclass(frozen=True)
class Curve:
    """A row's line in a chart: (step, value) in order of step."""

    label: str
    style: SeriesStyle
    points: Sequence[Point]


def _points(log: Mapping[str, Sequence[float | None]], name: str) -> list[Point]:
    """Return (last step, mean) of each bucket of a column; a bucket without a number breaks the line."""
    column = log.get(name, [])
    counted = list(range(1, len(column) + 1))
    steps = [step or 0 for step in log.get("step", counted)]
    size = max(1, -(-len(column) // BUCKETS))
    points: list[Point] = []
    for start in range(0, len(column), size):
        bucket = [y for y in column[start : start + size] if y is not None]
        last = min(start + size, len(column)) - 1
        points.append((float(steps[last]), sum(bucket) / len(bucket) if bucket else None))
    return points


def _range(curves: Sequence[Curve]) -> tuple[float, float]:
    """Return the range of the lines that are drawn."""
    numbers = [y for curve in curves for _, y in curve.points if y is not None]
    if not numbers:
        return 0.0, 1.0
    low, high = min(numbers), max(numbers)
    pad = (high - low) * 0.05 or abs(high) * 0.05 or 1.0
    return low - pad if low < 0 else max(0.0, low - pad), high + pad


def draw_chart(
    title: str, curves: Sequence[Curve], bounds: tuple[float, float], along: str = "the training steps"
) -> Markup:
    """Return a chart of lines between bounds; its x axis runs from 0 to the last point, or to 1."""
    low, high = bounds
    steps = max([1.0, *(curve.points[-1][0] for curve in curves)])
    across, up = Scale(0, steps, LEFT, WIDTH - RIGHT), Scale(low, high, HEIGHT - BOTTOM, TOP)
    parts = []
    for value in ticks(low, high, most=5):
        y = up(value)
        parts.append(tag("line", x1=LEFT, x2=WIDTH - RIGHT, y1=y, y2=y, class_="grid"))
        parts.append(tag("text", _write(value), x=LEFT - 6, y=y + 4, class_="tick", text_anchor="end"))
    for value in ticks(0, steps, most=5):
        place = {"x": across(value), "y": HEIGHT - 4, "text_anchor": "middle"}
        parts.append(tag("text", f"{value:g}", class_="tick", **place))
    parts += [_line(curve, across, up) for curve in curves]
    return canvas(WIDTH, HEIGHT, f"{title} over {along}", parts, class_="plot curve")


def _line(curve: Curve, across: Scale, up: Scale) -> Markup:
    parts = [tag("title", curve.label)]
    for run in _runs(curve.points):
        if len(run) == 1:
            parts.append(tag("circle", cx=across(run[0][0]), cy=up(run[0][1]), r=1.8, class_="dot"))
        places = " ".join(f"{across(x):.1f},{up(y):.1f}" for x, y in run)
        parts.append(tag("polyline", points=places, class_="path"))
    ends = [(x, y) for x, y in curve.points if y is not None][-1:]
    parts += [mark(curve.style.shape, across(x), up(y), size=3.2, class_="dot") for x, y in ends]
    return tag("g", *parts, class_=f"series {curve.style.color}")


def _runs(points: Sequence[Point]) -> list[list[tuple[float, float]]]:
    """Return the stretches of a curve between missing entries."""
    runs: list[list[tuple[float, float]]] = [[]]
    for x, y in points:
        if y is None:
            runs.append([])
        else:
            runs[-1].append((x, y))
    return [run for run in runs if run]


def _write(number: float) -> str:
    text = f"{number:g}" if number == 0 or abs(number) >= 0.001 else f"{number:.2g}"
    mantissa, small, power = (
        f"{number:.0e}".partition("e") if "e" in text or len(text) > 7 else (text, "", "")
    )
    return (mantissa + (f"e{int(power)}" if small else "")).replace("-", "−")
