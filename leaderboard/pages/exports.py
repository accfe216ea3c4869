"""The board as CSV and Parquet (every number in full) and as Markdown (as the page writes it)."""

from collections.abc import Sequence

import pyarrow as pa
import pyarrow.parquet as parquet

from ...bench.cells import markdown_cell, write_csv
from ..plots import thresholds
from ..ranking.columns import ARROWS, COSTS, Column, columns_for, write_interval, write_value
from ..ranking.task_rows import CAUTION, TaskRow, by_task

EXPORT = "leaderboard.parquet"
"""File with the numbers of every record. A listing that names it was written by this package."""
_FIXED = ("task", "method", "role", "seed", "status", "error", "point", "step", "reached", "choice")
_ORIGIN = ("interval", "interval_version", "source", "record", "digest", "commit", "command")


def to_texts(rows: Sequence[TaskRow]) -> dict[str, str]:
    """Return the text exports by file name."""
    texts = {"leaderboard.csv": to_csv(rows), "leaderboard.md": to_markdown(rows)}
    curves = thresholds.to_csv(rows)
    return texts if curves is None else texts | {"thresholds.csv": curves}


def to_csv(rows: Sequence[TaskRow]) -> str:
    """Return one line for each row: every value with low, high, n and, where it is missing, the reason."""
    columns = columns_for(row.values for row in rows)
    names = [f"{column.name}{part}" for column in columns for part in _parts(column)]
    return write_csv([*_FIXED, *names, *_ORIGIN], (_csv_cells(row, columns) for row in rows))


def _parts(column: Column) -> tuple[str, ...]:
    return ("", "_missing") if column.name in COSTS else ("", "_low", "_high", "_n", "_missing")


def _csv_cells(row: TaskRow, columns: Sequence[Column]) -> list[object]:
    record, point, choice = row.source.record, row.point, row.choice
    cells: list[object] = [row.task, row.method, row.role, row.seed, record.status, row.error]
    cells += [point.label, point.step] if point else [None, None]
    cells += [choice.reached, choice.reason] if choice else [None, None]
    for column in columns:
        value = row.value(column.name)
        parts: dict[str, object] = {
            "": value.value,
            "_low": value.low,
            "_high": value.high,
            "_n": value.n or None,
        }
        parts["_missing"] = value.missing
        cells += [parts[part] for part in _parts(column)]
    return [
        *cells,
        record.interval,
        record.interval_version,
        record.source,
        row.source.name,
        row.source.digest,
        record.commit,
        record.command,
    ]


def to_parquet(rows: Sequence[TaskRow]) -> bytes:
    """Return the CSV's table as Parquet: numbers as 64-bit floats, counts and seeds as integers."""
    columns = columns_for(row.values for row in rows)
    kinds = dict.fromkeys((*_FIXED, *_ORIGIN), pa.string())
    kinds |= {"seed": pa.int64(), "interval_version": pa.int64(), "step": pa.int64(), "reached": pa.bool_()}
    parts = {"_n": pa.int64(), "_missing": pa.string()}
    names = {f"{column.name}{part}": part for column in columns for part in _parts(column)}
    schema = pa.schema(
        [
            *((name, kinds[name]) for name in _FIXED),
            *((name, parts.get(part, pa.float64())) for name, part in names.items()),
            *((name, kinds[name]) for name in _ORIGIN),
        ]
    )
    cells = [_csv_cells(row, columns) for row in rows]
    arrays = [pa.array([row[i] for row in cells], schema.field(i).type) for i in range(len(schema))]
    target = pa.BufferOutputStream()
    parquet.write_table(
        pa.Table.from_arrays(arrays, schema=schema), target, compression="none", store_schema=False
    )
    return bytes(target.getvalue())


def to_markdown(rows: Sequence[TaskRow]) -> str:
    """Return one Markdown table for each task, with intervals; missing values are listed below it."""
    parts = ["# Leaderboard\n", f"{CAUTION}\n"]
    for task, task_rows in by_task(rows).items():
        columns = columns_for(row.values for row in task_rows)
        parts.append(f"## {markdown_cell(task)}\n")
        parts.append(_table(task_rows, columns))
        parts.append(_notes(task_rows, columns))
    return "\n".join(part for part in parts if part)


def _table(rows: Sequence[TaskRow], columns: Sequence[Column]) -> str:
    titles = [f"{markdown_cell(column.title)} {ARROWS[column.direction]}".strip() for column in columns]
    lines = [["method", "point", *titles], ["---", "---", *("---:" for _ in columns)]]
    lines += [
        [markdown_cell(row.label), markdown_cell(_point(row)), *(_cell(row, c) for c in columns)]
        for row in rows
    ]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _point(row: TaskRow) -> str:
    if row.point is None or row.choice is None:
        return "failed" if row.failed else "none"
    mark = " (did not reach .95)" if row.choice.reached is False else ""
    return ("failed; " if row.failed else "") + row.point.label + mark


def _cell(row: TaskRow, column: Column) -> str:
    value = row.value(column.name)
    interval = write_interval(value, column.style)
    return write_value(value, column.style) + (f" ({interval})" if interval else "")


def _notes(rows: Sequence[TaskRow], columns: Sequence[Column]) -> str:
    lines = [f"{row.label} failed: {row.error}" for row in rows if row.failed]
    for row in rows:
        reasons: dict[str, list[str]] = {}
        for column in columns if row.point else ():
            value = row.value(column.name)
            if value.value is None:
                reasons.setdefault(str(value.missing), []).append(column.title)
        lines += [f"{row.label}, missing {', '.join(titles)}: {why}" for why, titles in reasons.items()]
    intervals = sorted({row.source.record.interval_text for row in rows})
    lines += [f"Intervals: {text}." for text in intervals]
    return "".join(f"- {markdown_cell(line)}\n" for line in lines)
