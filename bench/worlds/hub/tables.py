"""CSV files that a user supplies, read row by row; an error names file, row and column."""

import csv
import io
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...errors import UserError
from ...unlearning.texts import read_text

SEEDS = 2**64
"""Seeds that torch's generator takes: 0 to SEEDS - 1."""


def shorten(text: str) -> str:
    """Return a text as a message shows it: at most 40 characters."""
    return text if len(text) <= 40 else f"{text[:37]}..."


class Table:
    """A CSV read line by line, its columns checked by name."""

    def __init__(self, path: Path, needed: Sequence[str]) -> None:
        self.path = path
        try:
            reader = csv.reader(io.StringIO(read_text(path), newline=""), strict=True)
            self.heading = [name.strip() for name in next(reader, [])]
            self.rows = list(self._read(reader))
        except csv.Error as error:
            raise UserError(f"{path}: not readable as a CSV file: {error}") from None
        lacking = [name for name in needed if name not in self.heading]
        if lacking:
            there = ", ".join(self.heading) or "none"
            raise UserError(f"{path}: row 1: no column {lacking[0]!r}; its columns: {there}")

    @staticmethod
    def _read(reader: Any) -> Iterator[tuple[int, list[str]]]:
        """Yield rows that are not blank, with the line on which each begins: cells may hold line breaks."""
        line = reader.line_num + 1
        for cells in reader:
            if any(cell.strip() for cell in cells):
                yield line, cells
            line = reader.line_num + 1

    def __iter__(self) -> Iterator["Cells"]:
        for line, cells in self.rows:
            if len(cells) != len(self.heading):
                raise UserError(
                    f"{self.path}: row {line}: {len(cells)} cells for {len(self.heading)} columns "
                    "(a comma outside quotes?)"
                )
            yield Cells(self.path, line, dict(zip(self.heading, cells, strict=True)))


@dataclass(frozen=True)
class Cells:
    path: Path
    line: int
    values: dict[str, str]

    def text(self, column: str) -> str:
        """Return a cell that must not be empty."""
        value = self.values[column].strip()
        if not value:
            self.fail(column, "is empty")
        return value

    def number(self, column: str, kind: Callable[[str], float] = float) -> float | None:
        """Return a number, None where the file has no such column or the cell is empty."""
        value = self.values.get(column, "").strip()
        if not value:
            return None
        try:
            number = kind(value)
        except ValueError:
            number = math.nan
        if not math.isfinite(number):
            self.fail(column, f"is {shorten(value)!r}, not a number")
        return number

    def whole(self, column: str) -> int | None:
        """Return a seed that torch's generator takes; pandas wrote some of them as `1234.0`."""
        text = self.values.get(column, "").strip()
        if text.isdecimal() and len(text) <= len(str(SEEDS)):  # not through a float, which holds 53 bits
            found: float | None = int(text)
        else:
            found = self.number(column)
        if found is not None and (found != int(found) or not 0 <= found < SEEDS):
            self.fail(column, f"is {shorten(text)!r}, not a whole number from 0 to 2^64 - 1")
        return None if found is None else int(found)

    def fail(self, column: str, complaint: str) -> None:
        raise UserError(f"{self.path}: row {self.line}: {column}: {complaint}")
