"""Tables in the terminal: one that is wider than the terminal is printed in parts, none of which is cut."""

from collections.abc import Iterator
from typing import Any

from rich.console import Console
from rich.measure import Measurement
from rich.table import Column, Table

FOLDED = 12
"""Characters: a column that folds its words anywhere is legible from this width on."""
SHORT = 20
"""Characters: texts up to this length stay on one line, or rich would rather cut the widest column."""


class TableConsole(Console):
    """A console that prints wide tables in parts."""

    def print(self, *objects: Any, **options: Any) -> None:
        """Print objects; a table whose numbers would be cut is printed in parts."""
        parts = [part for one in objects for part in (self._split(one) if isinstance(one, Table) else [one])]
        for part in parts or [""]:
            super().print(part, **options)

    def _split(self, table: Table) -> Iterator[Table]:
        """Yield a table in parts that fit, each with its first column; the table itself where it fits."""
        left = list(range(1, len(table.columns)))
        if not left or self._least(table) <= self.width:
            yield table
            return
        title = table.title
        while left:
            count = 1
            while count < len(left) and self._least(take_columns(table, left[: count + 1])) <= self.width:
                count += 1
            part = take_columns(table, left[:count])
            part.title, title, left = title, None, left[count:]
            part.caption = None if left else table.caption
            yield part

    def _least(self, table: Table) -> int:
        """Return the width below which a table would be cut."""
        gaps = 3 * len(table.columns) + 1 if table.box else 2 * (len(table.columns) - 1)
        return gaps + sum(self._least_of(column) for column in table.columns)

    def _least_of(self, column: Column) -> int:
        """Return the width below which a column's numbers or words would be cut."""
        widths = []
        for cell in (column.header, *column.cells):
            text = self.render_str(cell) if isinstance(cell, str) else cell
            least, most = Measurement.get(self, self.options, text)
            widths.append(most if column.no_wrap or most <= SHORT else least)
        least = max(widths, default=0)
        return min(least, FOLDED) if column.overflow == "fold" else least


def take_columns(table: Table, places: list[int]) -> Table:
    """Return a table of the first column of a table and those at some places."""
    part = Table(title_justify="left", title_style=table.title_style, box=table.box, pad_edge=table.pad_edge)
    columns = [table.columns[place] for place in (0, *places)]
    for column in columns:
        part.add_column(
            column.header, justify=column.justify, no_wrap=column.no_wrap, overflow=column.overflow
        )
    for row, *cells in zip(table.rows, *(column.cells for column in columns), strict=True):
        part.add_row(*cells, style=row.style, end_section=row.end_section)
    return part
