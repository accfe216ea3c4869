"""The point of a record that a report or a labelling is about."""

from dataclasses import dataclass
from typing import Literal

from ..errors import UserError
from .load import Loaded
from .record import PointInfo, name_point


@dataclass(frozen=True)
class Chosen:
    """The point of a record that a report is about, and how it was chosen."""

    loaded: Loaded
    point: PointInfo
    how: Literal["shown", "only", "last", "named"]

    @property
    def name(self) -> str:
        return name_point(self.point.label, self.point.step)


def choose_point(loaded: Loaded, label: str | None = None) -> Chosen:
    """Return the point named, else the one chosen beforehand on tuning concepts, else the last.

    Raises UserError where the run failed or there is no such point.
    """
    record = loaded.record
    if record.status != "ok" or loaded.items is None:
        raise UserError(f"{loaded.name}: status: the record is of a run that failed; it shows nothing")
    points = record.points
    if label is not None:
        found = [point for point in points if label in (point.label, name_point(point.label, point.step))]
        if not found:
            raise UserError(
                f"--point {label}: {loaded.name} has the points {', '.join(p.label for p in points)}"
            )
        return Chosen(loaded, found[0], "named")
    if len(points) == 1:
        return Chosen(loaded, points[0], "only")
    shown = [point for point in points if point.shown]
    return Chosen(loaded, shown[0], "shown") if shown else Chosen(loaded, points[-1], "last")
