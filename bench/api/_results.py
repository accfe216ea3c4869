"""Results of the API: records that know their files, and how a notebook shows them."""

import base64
import html
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

from pydantic import PrivateAttr

from .bench.errors import UserError
from .bench.records.record import Record, name_entry, read_items, read_record
from .bench.store import content_key

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = ("UA", "UA_indirect", "VA", "in_prompt", "IRA", "CRA")
"""Metrics in the short table that a notebook shows."""


def frame_values(records: Iterable[tuple[Record, str]]) -> "pd.DataFrame":
    """Return the values of records, given with the names of their rows: one row for each point and metric."""
    import pandas as pd

    return pd.DataFrame([values for record, row in records for values in _values(record, row)])


def describe_origin(record: Record, row: str) -> dict[str, Any]:
    """Return the columns that all table rows of a record share. row: its name on a board."""
    return {
        "cell": record.cell,
        "task": record.task.id,
        "method": record.method.name,
        "row": row,
        "seed": record.seed,
    }


def _values(record: Record, row: str) -> list[dict[str, Any]]:
    """Return one row for each point and metric."""
    origin = describe_origin(record, row) | {
        "config": content_key(record.method.config)[:6],
        "status": record.status,
        "source": record.source,
        "inline": record.inline,
    }
    number = {"value": None, "low": None, "high": None, "n": 0}
    if not record.points:
        nothing = {"point": None, "step": None, "label": None, "shown": False, "metric": None}
        return [origin | nothing | number | {"missing": record.error or "the run failed"}]
    return [
        origin
        | {
            "point": point.index,
            "step": point.step,
            "label": point.label,
            "shown": point.shown,
            "metric": name,
        }
        | value.model_dump()
        for point in record.points
        for name, value in point.values.items()
    ]


class MeasuredRecord(Record):
    """A record with the path of its file. Its fields: `bench/records/record.py`.

    `record.points[-1].values["UA"].value` is a number, or None where it is `missing`; `record.frame()` has
    all values as a table.
    """

    _path: Path = PrivateAttr()

    @property
    def path(self) -> Path:
        """Its JSON file."""
        return self._path

    @property
    def items(self) -> "pd.DataFrame | None":
        """The judge's answers for each image, one row each; None for a run that failed."""
        items = read_items(self._path, self)
        return None if items is None else items.infer_objects()  # texts of pandas' own type, where it has one

    def frame(self) -> "pd.DataFrame":
        """Return the record's values, one row for each point and metric, as `load` does."""
        return frame_values([(self, name_entry(self))])

    def _repr_html_(self) -> str:
        return _short_table([self])


def read_measured(path: Path) -> MeasuredRecord:
    """Return the record in a file; raises UserError naming file and field."""
    known = read_record(path)
    record = MeasuredRecord.model_construct(**{name: getattr(known, name) for name in Record.model_fields})
    record._path = path
    return record


@dataclass(frozen=True)
class Records(Sequence[MeasuredRecord]):
    """The records of a run, in the order of its plan.

    folder: where they are. failed: names of the cells that failed; `folder/failures` holds the reasons.
    cells: number of cells in the run, `unchanged` of which had been measured before. drawn: images drawn in
    this run. attacked: records of the attacks that the suite names; they are no part of the sequence.
    """

    folder: Path
    found: tuple[MeasuredRecord, ...]
    failed: tuple[str, ...] = ()
    cells: int = 0
    unchanged: int = 0
    drawn: int = 0
    attacked: tuple[MeasuredRecord, ...] = ()

    def frame(self) -> "pd.DataFrame":
        """Return their values, one row for each point and metric, as `load` does."""
        return frame_values([(record, name_entry(record)) for record in self.found])

    def __len__(self) -> int:
        return len(self.found)

    @overload
    def __getitem__(self, index: int) -> MeasuredRecord: ...
    @overload
    def __getitem__(self, index: slice) -> list[MeasuredRecord]: ...
    def __getitem__(self, index: int | slice) -> MeasuredRecord | list[MeasuredRecord]:
        return list(self.found[index]) if isinstance(index, slice) else self.found[index]

    def __iter__(self) -> Iterator[MeasuredRecord]:
        return iter(self.found)

    def _repr_html_(self) -> str:
        return _short_table(self.found)


def _short_table(records: Sequence[MeasuredRecord]) -> str:
    """Return a table of the last points; a missing value is a dash whose title is the reason."""
    head = "".join(f"<th>{name}</th>" for name in ("task", "row", "seed", "point", *COLUMNS))
    lines = []
    for record in records:
        point = record.points[-1] if record.points else None
        cells = [record.task.id, name_entry(record), str(record.seed), point.label if point else "failed"]
        line = "".join(f"<td>{html.escape(cell)}</td>" for cell in cells)
        for name in COLUMNS:
            value = point.values.get(name) if point else None
            if value is None or value.value is None:
                why = record.error or (value.missing if value else None) or "not measured"
                line += f'<td title="{html.escape(why)}">–</td>'
            else:
                line += f"<td>{value.value:.3f}</td>"
        lines.append(f"<tr>{line}</tr>")
    return f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(lines)}</tbody></table>"


@dataclass(frozen=True)
class Images(Sequence[Any]):
    """Images (PIL) with the item rows of their judgement, in the same order; a notebook shows them."""

    images: tuple[Any, ...]
    rows: "pd.DataFrame"

    @overload
    def __getitem__(self, index: int) -> Any: ...
    @overload
    def __getitem__(self, index: slice) -> list[Any]: ...
    def __getitem__(self, index: int | slice) -> Any:
        return list(self.images[index]) if isinstance(index, slice) else self.images[index]

    def __len__(self) -> int:
        return len(self.images)

    def _repr_html_(self) -> str:
        figures = []
        for image, prompt in zip(self.images, self.rows["prompt"], strict=True):
            buffer = BytesIO()
            image.save(buffer, "PNG")
            source = f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"
            text = html.escape(str(prompt))
            figures.append(
                f'<figure style="display:inline-block;margin:4px"><img width="128" src="{source}" '
                f'alt="{text}"><figcaption style="font-size:11px">{text}</figcaption></figure>'
            )
        return "".join(figures) or "<p>no such image</p>"


@dataclass(frozen=True)
class Plot:
    """A plot as SVG text, which a notebook shows with the pages' own style."""

    svg: str

    def _repr_html_(self) -> str:
        from .leaderboard.templating import read_template

        page = f"<!doctype html><style>{read_template('style.css')}</style>{self.svg}"
        return (
            f'<iframe srcdoc="{html.escape(page)}" width="720" height="480" style="border:0" '
            'title="forgetting against alignment"></iframe>'
        )


def check_point(record: Record, label: str | None) -> Any:
    """Return a record's point by its label, or the last one; UserError where there is no such point."""
    if not record.points:
        raise UserError(f"{record.cell}: the run failed: {record.error}; it has no images")
    labels = [point.label for point in record.points]
    if label is not None and label not in labels:
        raise UserError(f"point {label!r}: {record.cell} has the points {', '.join(labels)}")
    return record.points[-1 if label is None else labels.index(label)]
