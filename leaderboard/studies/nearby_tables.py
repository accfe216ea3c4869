"""Tables of what forgetting did near the target: in the terminal, and as CSV."""

import csv
import io
from collections.abc import Callable, Sequence

from rich.markup import escape
from rich.table import Table

from ...bench.records.load import Loaded
from ...bench.records.record import Record
from ...bench.types import Value
from ..pages.terminal import bare_table
from ..ranking.columns import write_interval, write_value
from .nearby import RINGS, Nearby

MOST_SHOWN = 3
"""Replacements that the terminal shows of each record; the CSV has all."""
COLUMNS = ("record", "task", "method", "seed", "what", "of", "value", "low", "high", "n", "missing")


def make_nearby_tables(found: Sequence[Nearby]) -> list[Table]:
    """Return four tables with a row for each record: targets, distance, leakage and replacement."""
    return [
        _table(found, "UA of each target, and their mean", _targets, ("targets", "mean")),
        _table(
            found,
            "Retained concepts by distance to the target: still drawn / all asked attributes found (VA)",
            _rings,
            RINGS,
        ),
        _table(
            found,
            "Leakage: retain images that show a target, an anchor, or another attribute than asked",
            _leaks,
            ("target", "anchor", "subject", "style", "background"),
        ),
        _table(found, "What replaced the target", _replaced, ("images", "most often", "entropy, bits")),
    ]


def _table(
    found: Sequence[Nearby], title: str, cells: Callable[[Nearby], Sequence[str]], columns: Sequence[str]
) -> Table:
    table = bare_table(title, "task")
    table.columns[0].no_wrap, table.columns[0].overflow = False, "fold"
    table.add_column("method", no_wrap=True)
    for column in columns:
        table.add_column(column)
    for near in found:
        table.add_row(escape(near.source.record.task.id), escape(_name(near.source)), *cells(near))
    return table


def _name(entry: Loaded) -> str:
    record: Record = entry.record
    place = "" if record.sequence is None else f" step {record.sequence.step}"
    return f"{record.method.name}{place}, seed {record.seed}"


def _write(value: Value | None) -> str:
    if value is None:
        return ""
    interval = write_interval(value, "share")
    return write_value(value, "share") + (f" ({interval})" if interval else "")


def _targets(near: Nearby) -> tuple[str, str]:
    parts = [f"{escape(target)} {_write(value)}" for target, value in near.targets.items()]
    return "\n".join(parts), "missing" if near.mean is None else f"{near.mean:.2f}"


def _rings(near: Nearby) -> list[str]:
    rings = {ring.name: ring for ring in near.rings}
    return [f"{_write(rings[n].drawn)} / {_write(rings[n].attributes)}" if n in rings else "" for n in RINGS]


def _leaks(near: Nearby) -> list[str]:
    return [_write(near.leaks.get(name)) for name in ("target", "anchor", "subject", "style", "background")]


def _replaced(near: Nearby) -> list[str]:
    shown = near.replacement
    most = [f"{escape(name)} {share:.2f}" for name, share in list(shown.shares.items())[:MOST_SHOWN]]
    return [str(shown.images), ", ".join(most), "" if shown.bits is None else f"{shown.bits:.2f}"]


def to_csv(found: Sequence[Nearby]) -> str:
    """Return every number as a table, one a row."""
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(COLUMNS)
    for near in found:
        record = near.source.record
        first = [near.source.name, record.task.id, record.method.name, record.seed]
        table.writerows([*first, "UA", target, *_parts(value)] for target, value in near.targets.items())
        for ring in near.rings:
            names = f"{ring.name}: {', '.join(ring.names)}"
            table.writerow([*first, "drawn", names, *_parts(ring.drawn)])
            table.writerow([*first, "VA", names, *_parts(ring.attributes)])
        table.writerows([*first, "leaks", name, *_parts(value)] for name, value in near.leaks.items())
        shown = near.replacement
        for name, share in shown.shares.items():
            table.writerow([*first, "replaced by", name, f"{share:.7g}", "", "", shown.images, ""])
        if shown.bits is not None:
            table.writerow(
                [*first, "replaced by", "entropy, bits", f"{shown.bits:.7g}", "", "", shown.images, ""]
            )
    return text.getvalue()


def _parts(value: Value) -> list[object]:
    numbers = (value.value, value.low, value.high)
    return [*("" if n is None else f"{n:.7g}" for n in numbers), value.n, value.missing or ""]
