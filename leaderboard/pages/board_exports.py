"""The board's own table as CSV, JSON and Markdown, where H orders it."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from ...bench.cells import markdown_cell, write_csv
from ..ranking.board_columns import Cell
from ..ranking.claims import Beside
from ..ranking.columns import ARROWS
from ..ranking.h_score import HComparison
from ..ranking.standings import BANDS, Line, Standings
from .scopes import Scope, standings_of

PLACE = ("world", "base", "family", "band", "row", "kind", "origin", "paper", "concepts")
PARTS = ("", "_low", "_high", "_missing")


def board_texts(scopes: Sequence[Scope], beside: Beside) -> dict[str, str]:
    """Return the exports of boards that H orders by file name; none for boards that AVA orders."""
    found = [(scope, standings_of(scope, beside)) for scope in scopes if scope.headline == "H"]
    if not found:
        return {}
    return {"board.csv": to_csv(found), "board.json": to_json(found), "board.md": to_markdown(found)}


def to_csv(found: Sequence[tuple[Scope, Standings]]) -> str:
    """Return one line for each row of each scope, every number in full."""
    names = list(dict.fromkeys(column.name for _, table in found for column in table.columns))
    heads = [*PLACE, *(f"{name}{part}" for name in names for part in PARTS)]
    lines = [
        [*_place(scope, band, line), *(part for name in names for part in _parts(table, line, name))]
        for scope, table in found
        for band in BANDS
        for line in table.bands[band]
    ]
    return write_csv(heads, lines)


def _place(scope: Scope, band: str, line: Line) -> list[object]:
    row = line.row
    own: list[object] = [scope.world, scope.base, scope.family or "all", band]
    return [*own, row.name, row.kind, row.origin, row.paper, row.concepts]


def _parts(table: Standings, line: Line, name: str) -> list[object]:
    cell = _cells(table, line).get(name)
    if cell is None:
        return [None] * len(PARTS)
    return [cell.text if cell.number is None else cell.number, cell.low, cell.high, cell.missing or None]


def _cells(table: Standings, line: Line) -> dict[str, Cell]:
    return {column.name: cell for column, cell in zip(table.columns, line.cells, strict=True)}


def to_json(found: Sequence[tuple[Scope, Standings]]) -> str:
    """Return the boards with the meaning of each column, their rows in order, and the differences of H."""
    return json.dumps([_board(scope, table) for scope, table in found], indent=1, allow_nan=False) + "\n"


def _board(scope: Scope, table: Standings) -> dict[str, Any]:
    compared = scope.by_h
    assert compared is not None
    return {
        "headline": scope.headline,
        "world": scope.world,
        "base": scope.base,
        "family": scope.family or "all",
        "concepts": list(scope.tasks),
        "seeds": list(scope.seeds),
        "columns": {column.name: column.definition for column in table.columns},
        "rows": [
            dict(zip(PLACE[3:], _place(scope, band, line)[3:], strict=True))
            | {"values": {name: _value(cell) for name, cell in _cells(table, line).items() if _says(cell)}}
            for band in BANDS
            for line in table.bands[band]
        ],
        "declared": compared.is_declared,
        "comparisons": [_comparison(row) for row in compared.rows],
        "missing": [list(pair) for pair in scope.missing],
    }


def _says(cell: Cell) -> bool:
    return bool(cell.text or cell.missing)


def _value(cell: Cell) -> dict[str, object]:
    if cell.missing:
        return {"missing": cell.missing}
    ends = {} if cell.low is None else {"low": cell.low, "high": cell.high}
    return {"value": cell.text if cell.number is None else cell.number, **ends}


def _comparison(row: HComparison) -> dict[str, object]:
    return asdict(row) | {"stands": row.stands}


def to_markdown(found: Sequence[tuple[Scope, Standings]]) -> str:
    """Return one table for each scope, with the columns that a page shows at first."""
    parts = []
    for scope, table in found:
        shown = [k for k, column in enumerate(table.columns) if not column.group]
        columns = [table.columns[k] for k in shown]
        parts.append(f"## {markdown_cell(scope.family or 'All families')}: {markdown_cell(scope.world)}\n")
        parts.append(f"{len(scope.tasks)} concepts, base model {markdown_cell(scope.base)}\n")
        titles = [f"{column.title} {ARROWS[column.direction]}".strip() for column in columns]
        lines = [["method", "kind", *titles], ["---", "---", *("---:" for _ in columns)]]
        for band, title in BANDS.items():
            if band != "ranked" and table.bands[band]:
                lines.append([f"*{title}*", "", *("" for _ in columns)])
            lines += [_markdown_row(line, shown) for line in table.bands[band]]
        parts.append("".join(f"| {' | '.join(line)} |\n" for line in lines))
    return "\n".join(["# Board, ordered by H\n", *parts])


def _markdown_row(line: Line, shown: Sequence[int]) -> list[str]:
    kind = " · ".join(filter(None, (line.row.kind or line.row.role, line.row.origin)))
    return [markdown_cell(line.row.name), kind, *(_markdown_cell(line.cells[k]) for k in shown)]


def _markdown_cell(cell: Cell) -> str:
    if cell.missing:
        return "missing"
    return f"{cell.text} ({cell.small})" if cell.small else cell.text
