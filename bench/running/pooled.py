"""Pooled distances of a suite's rows, written once every cell has its record."""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from ..measuring.pool import BASE_ROW, Part, make_pooled, read_pooled, whole_row, write_pooled
from ..planning.plan import Cell
from ..progress import show_progress
from ..records.record import name_row, read_record
from ..worlds.protocol import World
from .keys import pool_key


def pool_cells(
    folder: Path,
    cells: Sequence[Cell],
    worlds: Iterable[World],
    key_of: Callable[[Cell], str],
    part_of: Callable[[Cell], Part],
) -> None:
    """Write the pooled distances of each row's shown points; nothing where they are written already.

    key_of: a cell's key. part_of: a cell's images and features. A row without a point chosen beforehand is
    read at its last one.
    """
    shown = [cell for cell in cells if cell.row.shown != 0]
    key = pool_key([key_of(cell) for cell in shown], worlds)
    there = read_pooled(folder)
    if there is not None and there.key == key:
        return
    by_row: dict[str, list[tuple[Cell, Part]]] = {}
    with show_progress("pooled FD", len(shown)) as advance:
        for number, cell in enumerate(shown, 1):
            name = name_row(cell.row.name, cell.suite.data, cell.row.noise, cell.entry is None)
            by_row.setdefault(name, []).append((cell, part_of(cell)))
            advance(number, "")
    if BASE_ROW not in by_row:
        return
    rows = {
        name: whole_row(
            [read_record(folder / f"{cell.stem}.json") for cell, _ in found], [p for _, p in found]
        )
        for name, found in by_row.items()
    }
    write_pooled(folder, make_pooled(key, rows, there))
