"""What `unlearnbench coverage` prints of simulated boards."""

from collections.abc import Mapping
from math import isnan

from rich.table import Table

from ...bench.stats.coverage import Board, Held, Judged
from .terminal import bare_table


def make_candidates_table(title: str, found: Mapping[str, Judged]) -> Table:
    """Return a rich table of how the candidates for the board's number do on a pair of methods."""
    table = bare_table(f"Candidates, {title}", "number")
    columns = ("truth", "regret", "bias", "coverage", "gap", "power", "wrong sign")
    for column in columns:
        table.add_column(column, justify="right")
    for name, row in found.items():
        signed = [f"{x:+.3f}" for x in (row.regret, row.bias)]
        rest = (f"{row.gap:+.3f}", f"{row.power:.2f}", f"{row.wrong:.2f}")
        table.add_row(name, f"{row.truth:.3f}", *signed, f"{row.coverage:.3f}", *rest)
    return table


def make_extremes_table(found: Mapping[str, Mapping[str, float]]) -> Table:
    """Return a rich table of what the candidates give to methods that do nothing, too much or garbage."""
    table = bare_table("Candidates: what a method gets that ...", "number")
    for column in next(iter(found.values())):
        table.add_column(column, justify="right")
    for name, row in found.items():
        table.add_row(name, *(f"{value:.3f}" for value in row.values()))
    return table


def make_power_table(found: Mapping[Board, Mapping[float, tuple[float, float, float]]]) -> Table:
    """Return a rich table of the power of the paired test of H, and of test and guard together."""
    table = bare_table(
        "Restricted step against plain sum: how often a true difference of H is found", "concepts"
    )
    for column in ("runs", "difference", "test", "test and guard"):
        table.add_column(column, justify="right")
    for board, rows in found.items():
        for gap, test, both in rows.values():
            table.add_row(str(board.concepts), str(board.runs), f"{gap:+.3f}", f"{test:.2f}", f"{both:.2f}")
    return table


def make_held_tables(found: Mapping[Board, Held]) -> list[Table]:
    """Return rich tables over the grid: coverage of intervals of means and differences, sizes of tests."""
    texts = {
        "means": "95 % intervals of a method's H over concepts: coverage, the lower of two methods",
        "differences": "95 % intervals of a paired difference of H: coverage",
        "sizes": "Tests at 5 %, methods equal in the mean though one alone loses concepts: size",
    }
    return [_make_held_table(text, {board: getattr(held, name) for board, held in found.items()})
            for name, text in texts.items()]  # fmt: skip


def _make_held_table(title: str, found: Mapping[Board, Mapping[str, float]]) -> Table:
    table = bare_table(title, "lost")
    names = list(next(iter(found.values())))
    for column in ("concepts", "families", *names):
        table.add_column(column, justify="right")
    for board, values in found.items():
        place = (
            f"{board.lost:.2f} {board.depth}",
            str(board.concepts),
            "equal" if board.equal else "unequal",
        )
        table.add_row(*place, *(f"{values[name]:.3f}" for name in names))
    for text, reduce in (("least", min), ("most", max)):
        columns = ([values[name] for values in found.values() if not isnan(values[name])] for name in names)
        ends = (f"{reduce(column):.3f}" if column else "nan" for column in columns)
        table.add_row(text, "", "", *ends, style="bold")
    return table
