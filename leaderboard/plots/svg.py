"""SVG elements as escaped markup, linear scales, and the marks that tell series apart."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

from markupsafe import Markup, escape

SHAPES = ("circle", "square", "triangle", "diamond", "cross")


def tag(name: str, *children: str, **attributes: object) -> Markup:
    """Return one element; attributes and children that are not markup are escaped.

    A trailing underscore of an attribute's name is dropped (`class_`), inner ones become hyphens.
    """
    pairs = [(key.rstrip("_").replace("_", "-"), value) for key, value in attributes.items()]
    written = "".join(f' {key}="{escape(_plain(value))}"' for key, value in pairs if value is not None)
    inner = "".join(str(escape(child)) for child in children)
    return Markup(f"<{name}{written}>{inner}</{name}>" if inner else f"<{name}{written}/>")


def canvas(width: int, height: int, label: str, children: Iterable[str], class_: str = "plot") -> Markup:
    """Return an <svg> that scales with its container. label: its text for screen readers, "" = decoration."""
    name: dict[str, object] = {"role": "img", "aria_label": label} if label else {"aria_hidden": "true"}
    size = {"viewBox": f"0 0 {width} {height}", "width": width, "height": height}
    return tag("svg", *children, class_=class_, **size, **name)


def _plain(value: object) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)


@dataclass(frozen=True)
class Scale:
    """A linear map of [low, high] to [start, end] in SVG units; values outside are held at the edges."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        share = (value - self.low) / (self.high - self.low)
        return self.start + min(max(share, 0.0), 1.0) * (self.end - self.start)


def ticks(low: float, high: float, most: int = 6) -> list[float]:
    """Return round numbers within [low, high], at most `most` of them."""
    span = high - low
    power = 10.0 ** math.floor(math.log10(span))
    steps = [power * factor for factor in (0.1, 0.2, 0.25, 0.5, 1, 2, 5)]
    for step in steps:
        first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
        if last - first + 1 <= most:
            return [round(n * step, 10) for n in range(first, last + 1)]
    return [low, high]


def mark(shape: str, x: float, y: float, size: float = 4.5, **attributes: object) -> Markup:
    """Return the mark of a series, centred on (x, y)."""
    if shape == "circle":
        return tag("circle", cx=x, cy=y, r=size, **attributes)
    corners = {
        "square": ((-0.9, -0.9), (0.9, -0.9), (0.9, 0.9), (-0.9, 0.9)),
        "triangle": ((0, -1.2), (1.15, 0.85), (-1.15, 0.85)),
        "diamond": ((0, -1.3), (1.3, 0), (0, 1.3), (-1.3, 0)),
        "cross": ((-0.4, -1.2), (0.4, -1.2), (0.4, -0.4), (1.2, -0.4), (1.2, 0.4), (0.4, 0.4), (0.4, 1.2),
                  (-0.4, 1.2), (-0.4, 0.4), (-1.2, 0.4), (-1.2, -0.4), (-0.4, -0.4)),
    }[shape]  # fmt: skip
    points = " ".join(f"{x + dx * size:.2f},{y + dy * size:.2f}" for dx, dy in corners)
    return tag("polygon", points=points, **attributes)
