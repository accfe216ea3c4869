"""The point of a record that a report or a labelling is about; records that are never published."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ..errors import UserError
from ..files import replace_file, write_file
from .load import Loaded
from .packed.record_table import find_json, has_record, read_bytes, refuse_packed
from .record import PointInfo, Record, name_point, read_items, read_record
from .rows import write_items


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


def refuse_inline(path: Path, record: Record) -> None:
    """Raise UserError where nobody can repeat a record: of a function of one process, or of given images."""
    if record.inline:
        raise UserError(
            f"{path}: inline: {record.method.name} was a function of one process, nobody can run it again; "
            "put it into a package (README: I have a method) and measure it again"
        )
    if record.source == "external":
        raise UserError(
            f"{path}: source: its images were given and not drawn here, so nobody can draw them again; "
            "`unlearnbench evaluate --model` measures the model itself"
        )


def refuse_unranked(path: Path, record: Record) -> None:
    """Raise UserError for a record that is never published: one that nobody can repeat, or a limited one."""
    refuse_inline(path, record)
    if record.limit is not None:
        raise UserError(
            f"{path}: limit: it has at most {record.limit} prompts of each set; measure it without --limit"
        )


def copy_record(path: Path, folder: Path) -> None:
    """Copy a record's files (CELL.json, contact sheet), with its item rows in a file of their own."""
    refuse_packed(folder / path.name)
    items = read_items(path, read_record(path))
    if items is not None:
        replace_file(folder / f"{path.stem}.parquet", lambda p: write_items(items, p))
    sheet = path.with_suffix(".webp")
    if sheet.exists():
        write_file(folder / sheet.name, sheet.read_bytes())
    write_file(folder / path.name, read_bytes(path))


def is_copy(path: Path, other: Path) -> bool:
    """Return whether two records are of equal content in different files."""
    return (
        has_record(other)
        and not find_json(path).samefile(find_json(other))
        and read_bytes(path) == read_bytes(other)
    )
