"""Table cells made safe: no text runs as a spreadsheet formula or becomes markup."""

import csv
import io
import re
from collections.abc import Iterable, Sequence

FORMULA = re.compile(r"^[\s\x00-\x1f]*[=+\-@\t\r|%＝＋－＠]")
"""Start of a text that a spreadsheet may run: also after blanks, and in full-width characters."""
NUMBER = re.compile(r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$")


def plain_cell(cell: object) -> object:
    """Return a cell that no spreadsheet runs; numbers, and texts that are numbers, stay as they are."""
    if not isinstance(cell, str) or NUMBER.fullmatch(cell):
        return cell
    text = cell.replace("\r", " ").replace("\0", "")
    return f"'{text}" if FORMULA.match(text) or text[:1] in ("\t", "\r") else text


def write_csv(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return a table as CSV text, with every cell passed through `plain_cell`."""
    target = io.StringIO()
    writer = csv.writer(target, lineterminator="\n")
    writer.writerow([plain_cell(name) for name in header])
    writer.writerows([plain_cell(cell) for cell in row] for row in rows)
    return target.getvalue()


def markdown_cell(text: str) -> str:
    """Return a text as one line that Markdown and HTML show literally: no table, link, image or tag."""
    flat = " ".join(text.split())
    flat = re.sub(r"[\\`*{}\[\]<>|#!~&]|(?<!\w)_|_(?!\w)", lambda match: "\\" + match[0], flat)
    return re.sub(r"(?i)\b(https?|ftp|mailto)(?=:)|\bwww(?=\.)", lambda m: f"{m[0]}\u200b", flat)
