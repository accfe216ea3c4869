"""The plot of forgetting against alignment: one line for each method, its points in order of step."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from markupsafe import Markup

from ...bench.records.record import PointInfo
from ...bench.types import Value
from ..ranking.columns import write_interval, write_number
from ..ranking.task_rows import THRESHOLD, TaskRow
from .svg import SHAPES, Scale, canvas, mark, tag, ticks

LEFT, RIGHT, TOP, BOTTOM = 46, 16, 16, 44
COLORS = 8
MOST_LABELLED = 40  # points of a plot; of more, only some have labels
LETTER = 6.4  # mean width of a letter of a label, in SVG units


@dataclass(frozen=True)
class SeriesStyle:
    """How a method is drawn everywhere on the page: CSS class of its colour, shape of its mark."""

    color: str
    shape: str
    joined: bool = True  # whether a line joins its points; references have none


def assign_styles(rows: Sequence[TaskRow]) -> dict[str, SeriesStyle]:
    """Return a style for each method. References and the noise floor are grey: a colour marks a method."""
    roles = {row.method: row.role for row in rows}
    references = sorted(name for name in roles if roles[name] == "reference")
    styles = {
        name: SeriesStyle("ref", SHAPES[i % len(SHAPES)], joined=False) for i, name in enumerate(references)
    }
    styles.update({name: SeriesStyle("floor", "cross") for name in roles if roles[name] == "noise floor"})
    for i, name in enumerate(sorted(name for name in roles if roles[name] == "method")):
        styles[name] = SeriesStyle(f"k{i % COLORS}", SHAPES[i % len(SHAPES)])
    return styles


def name_styles(styles: Mapping[str, SeriesStyle], names: Iterable[str]) -> dict[str, SeriesStyle]:
    """Return styles of the rows of a board too.

    A row has its method's style. A row of the same method on other data has a colour of its own, and a
    reference drawn from other noise has a shape of its own.
    """
    found, used = dict(styles), sum(style.color.startswith("k") for style in styles.values())
    black = sum(not style.joined for style in styles.values())
    for name in sorted(set(names) - set(styles)):
        method = re.split(r", noise | \(", name)[0]
        own = styles[method]
        if own.joined and name != method:
            own, used = SeriesStyle(f"k{used % COLORS}", SHAPES[used % len(SHAPES)]), used + 1
        elif name != method:
            own, black = replace(own, shape=SHAPES[black % len(SHAPES)]), black + 1
        found[name] = own
    return found


def swatch(style: SeriesStyle) -> Markup:
    """Return a method's mark for tables and legends."""
    return canvas(14, 14, "", [mark(style.shape, 7, 7, class_="dot")], class_=f"swatch {style.color}")


@dataclass(frozen=True)
class Series:
    """One row's points in order of step. shown: index of the point that the table shows."""

    label: str
    style: SeriesStyle
    points: tuple[PointInfo, ...]
    shown: int | None


@dataclass(frozen=True)
class Dot:
    """A point that can be drawn: it has both values."""

    series: Series
    point: PointInfo
    x: Value
    y: Value

    @property
    def shown(self) -> bool:
        return self.point.index == self.series.shown

    @property
    def place(self) -> tuple[float, float]:
        """(x, y), rounded as a page writes it."""
        return round(_number(self.x.value), 6), round(_number(self.y.value), 6)


def make_series(row: TaskRow, style: SeriesStyle) -> Series:
    """Return the points of a row in order of step."""
    ordered = sorted(row.source.record.points, key=lambda p: (p.step, p.index))
    return Series(row.label, style, tuple(ordered), row.point.index if row.point else None)


def name_series(label: str) -> str:
    """Return a row's name in plots and galleries, where `none` is called the base model."""
    return re.sub(r"^none(?= · |$)", "base model", label)


def dots(series: Series, x: str, y: str) -> list[Dot]:
    """Return the points of a series that have both values."""
    pairs = [(p, p.values.get(x), p.values.get(y)) for p in series.points]
    return [
        Dot(series, p, a, b) for p, a, b in pairs if a and b and a.value is not None and b.value is not None
    ]


def undrawn(all_series: Sequence[Series], x: str, y: str) -> list[str]:
    """Return the names of points that lack a value and are not in the plot."""
    drawn = {(d.series.label, d.point.index) for series in all_series for d in dots(series, x, y)}
    every = [(series.label, p) for series in all_series for p in series.points]
    return [f"{label} {p.label}" for label, p in every if (label, p.index) not in drawn]


def scatter(
    all_series: Sequence[Series],
    y: str,
    title: str,
    width: int,
    height: int,
    style: str,
    front: frozenset[str] = frozenset(),
) -> Markup:
    """Return UA (x) against a share (y), intervals behind the points; "" where nothing can be drawn.

    front: labels of the series whose points may be on the Pareto front; that is then drawn, and every mark
    carries the data from which a script draws the front of some of the series.
    """
    found = [dot for series in all_series for dot in dots(series, "UA", y)]
    if not found:
        return Markup("")
    lows = [v for d in found for v in (d.y.value, d.y.low) if v is not None]
    floor = max(0.0, int((min(lows) - 1e-9) * 10) / 10)
    across = Scale(-0.02, 1.02, LEFT, width - RIGHT)
    up = Scale(floor - 0.02 * (1 - floor), 1 + 0.02 * (1 - floor), height - BOTTOM, TOP)
    parts = [*_axes(across, up, floor, title)]
    if front:
        places = [
            (across(x), up(y)) for x, y in pareto_front(d.place for d in found if d.series.label in front)
        ]
        parts.append(tag("polyline", points=write_steps(places, across.start, up.start), class_="front"))
    parts += [_interval(dot, across, up) for dot in found]
    for series in all_series:
        parts.append(_line(dots(series, "UA", y), across, up, series.label in front))
    parts += _labels(found, across, up)
    text = f"Forgetting (UA) against {title}, one line a method: {', '.join(s.label for s in all_series)}"
    return canvas(width, height, text, parts, class_=f"plot {style}")


def pareto_front(points: Iterable[tuple[float, float]]) -> list[tuple[float, float]]:
    """Return the points that no other point beats in one coordinate and equals or beats in the other.

    Higher is better both ways; in order of the first coordinate, equal points once.
    """
    best, front = float("-inf"), []
    for x, y in sorted(set(points), reverse=True):
        if y > best:
            best = y
            front.append((x, y))
    return front[::-1]


def write_steps(places: Sequence[tuple[float, float]], left: float, bottom: float) -> str:
    """Return the outline of a front as SVG points: a step line, because no model lies between two points."""
    corners: list[tuple[float, float]] = []
    x = left
    for right, y in places:
        corners += [(x, y), (right, y)]
        x = right
    corners += [(x, bottom)] if places else []
    return " ".join(f"{x:.2f},{y:.2f}" for x, y in corners)


def _axes(across: Scale, up: Scale, floor: float, title: str) -> list[Markup]:
    bottom, top, left, right = up.start, up.end, across.start, across.end
    parts = []
    for value in ticks(0.0, 1.0):
        x = across(value)
        parts.append(tag("line", x1=x, x2=x, y1=top, y2=bottom, class_="grid"))
        parts.append(tag("text", f"{value:g}", x=x, y=bottom + 16, class_="tick", text_anchor="middle"))
    for value in ticks(floor, 1.0):
        y = up(value)
        parts.append(tag("line", x1=left, x2=right, y1=y, y2=y, class_="grid"))
        parts.append(tag("text", f"{value:g}", x=left - 8, y=y + 4, class_="tick", text_anchor="end"))
    x = across(THRESHOLD)
    parts.append(tag("line", x1=x, x2=x, y1=top, y2=bottom, class_="threshold"))
    middle = (top + bottom) / 2
    parts.append(tag("text", "UA: forgetting →", x=(left + right) / 2, y=bottom + 36, class_="axis",
                     text_anchor="middle"))  # fmt: skip
    parts.append(tag("text", f"{title} →", x=12.0, y=middle, class_="axis", text_anchor="middle",
                     transform=f"rotate(-90 12 {middle:g})"))  # fmt: skip
    return parts


def _interval(dot: Dot, across: Scale, up: Scale) -> Markup:
    x, y = across(_number(dot.x.value)), up(_number(dot.y.value))
    bars = []
    if dot.x.low is not None and dot.x.high is not None:
        bars.append(tag("line", x1=across(dot.x.low), x2=across(dot.x.high), y1=y, y2=y))
    if dot.y.low is not None and dot.y.high is not None:
        bars.append(tag("line", x1=x, x2=x, y1=up(dot.y.low), y2=up(dot.y.high)))
    return tag("g", *bars, class_=f"interval {dot.series.style.color}", data_series=dot.series.label)


def _line(line: Sequence[Dot], across: Scale, up: Scale, ranked: bool) -> Markup:
    if not line:
        return Markup("")
    series = line[0].series
    places = [(across(_number(d.x.value)), up(_number(d.y.value))) for d in line]
    parts = []
    if series.style.joined and len(line) > 1:
        parts.append(tag("polyline", points=" ".join(f"{x:.2f},{y:.2f}" for x, y in places), class_="path"))
    for dot, (x, y) in zip(line, places, strict=True):
        if dot.shown and series.style.joined:
            parts.append(tag("circle", cx=x, cy=y, r=9, class_="ring"))
        linked: dict[str, object] = {}
        if ranked:
            ua, other = dot.place
            linked = {"data_ua": repr(ua), "data_y": repr(other), "data_at": f"{x:.2f},{y:.2f}"}
        title = tag("title", _describe(dot))
        parts.append(tag("g", title, mark(series.style.shape, x, y, class_="dot"), **linked))
    return tag("g", *parts, class_=f"series {series.style.color}", data_series=series.label)


def _describe(dot: Dot) -> str:
    texts = [f"{dot.series.label}, {dot.point.label}"]
    for name, value in (("UA", dot.x), ("alignment", dot.y)):
        interval = write_interval(value, "share")
        number = write_number(_number(value.value), "share")
        texts.append(f"{name} {number}" + (f" ({interval})" if interval else ""))
    return "\n".join(texts)


def _labels(found: Sequence[Dot], across: Scale, up: Scale) -> list[Markup]:
    """Label the points by step. A label that would cover another mark is left out.

    Where points are many, only references, shown points and the last point of each line have labels.
    """
    last = {id(dot.series): i for i, dot in enumerate(found)}
    places = [(across(_number(d.x.value)), up(_number(d.y.value))) for d in found]
    taken = [(x - 6, y - 6, x + 6, y + 6) for x, y in places]
    parts = []
    # References and shown points come first, so that they keep their labels where room is short.
    order = sorted(range(len(found)), key=lambda i: (found[i].series.style.joined, not found[i].shown, i))
    if len(found) > MOST_LABELLED:
        kept = set(last.values())
        order = [i for i in order if i in kept or found[i].shown or not found[i].series.style.joined]
    for i in order:
        dot, (x, y) = found[i], places[i]
        text = dot.point.label if dot.series.style.joined else name_series(dot.series.label)
        room = _find_room(x, y, len(text) * LETTER, taken, across, up)
        if room:
            box, anchor, at = room
            taken.append(box)
            parts.append(tag("text", text, x=at, y=box[3] - 3, class_=f"label {dot.series.style.color}",
                             text_anchor=anchor, data_series=dot.series.label))  # fmt: skip
    return parts


Box = tuple[float, float, float, float]


def _find_room(
    x: float, y: float, width: float, taken: Sequence[Box], across: Scale, up: Scale
) -> tuple[Box, str, float] | None:
    """Return the first free box next to a point, with the text's anchor and its x; None where all are taken.

    Corners come first: along the axes run the intervals.
    """
    gap, half, tall = 7.0, width / 2, 13.0
    right, left = (x + gap, x + gap + width), (x - gap - width, x - gap)
    above, below = (y - gap - tall + 3, y - gap + 3), (y + gap - 3, y + gap + tall - 3)
    middle, level = (x - half, x + half), (y - tall / 2, y + tall / 2)
    places = [(right, above, "start", right[0]), (right, below, "start", right[0]),
              (left, below, "end", left[1]), (left, above, "end", left[1]),
              (middle, (above[0] - 4, above[1] - 4), "middle", x),
              (middle, (below[0] + 4, below[1] + 4), "middle", x),
              ((right[0] + 4, right[1] + 4), level, "start", right[0] + 4),
              ((left[0] - 4, left[1] - 4), level, "end", left[1] - 4)]  # fmt: skip
    for (x1, x2), (y1, y2), anchor, at in places:
        box = (x1, y1, x2, y2)
        inside = box[0] >= across.start and box[2] <= across.end and box[1] >= up.end and box[3] <= up.start
        if inside and not any(_overlap(box, other) for other in taken):
            return box, anchor, at
    return None


def _overlap(a: Box, b: Box) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def _number(value: float | None) -> float:
    return 0.0 if value is None else value  # dots() keeps only points that have a number
