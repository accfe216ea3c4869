"""H in the terminal: methods, best first, and their paired differences."""

from collections.abc import Mapping, Sequence

from rich.markup import escape
from rich.table import Table

from ..ranking.h_score import HComparison, HLine, find_complete, summarise_h
from .scopes import Division, Scope
from .terminal import bare_table


def make_h_tables(division: Division, scope: Scope) -> list[Table]:
    """Return the tables of a board that H orders: its methods with their places, and the differences."""
    assert division.by_h is not None
    assert scope.by_h is not None
    names = {row.name for row in scope.board_rows if row.role == "method"}
    results = [row for row in division.by_h if row.method in names]
    found = [make_h_table(summarise_h(results), find_complete(results), scope.ranks)]
    return [*found, *([make_h_comparison_table(scope.by_h.rows)] if scope.by_h.rows else [])]


def make_h_table(
    lines: Sequence[HLine], complete: frozenset[str], ranks: Mapping[str, tuple[int, int]] | None = None
) -> Table:
    """Return a rich table of every method's H; those that are not ranked stand last, in brackets.

    ranks: first and last place by method, for a column of places.
    """
    title = "H: harmonic mean of UA, alignment and in-prompt alignment; 95 % interval over concepts"
    table = bare_table(title, "method")
    for column in ("concepts", "runs", "H ↑", "interval", "UA ↑", "alignment ↑", "in-prompt ↑"):
        table.add_column(column, justify="right", no_wrap=True)
    if ranks:
        table.add_column("place", justify="right", no_wrap=True)
    for line in lines:
        name = escape(line.method if line.method in complete else f"({line.method})")
        if not line.concepts:
            table.add_row(name, "0", str(line.runs), *["missing"] * 5)
            continue
        numbers = [f"{value:.3f}" for value in (line.ua, line.alignment)]
        other = "not asked" if line.in_prompt is None else f"{line.in_prompt:.3f}"
        interval = f"{line.low:.3f}..{line.high:.3f}"
        cells = [str(line.concepts), str(line.runs), f"{line.h:.3f}", interval, *numbers, other]
        held = (ranks or {}).get(line.method)
        place = "" if held is None else str(held[0]) if held[0] == held[1] else f"{held[0]}-{held[1]}"
        table.add_row(name, *cells, *([place] if ranks else []))
    return table


def make_h_comparison_table(rows: Sequence[HComparison]) -> Table:
    """Return a rich table of paired differences of H."""
    table = bare_table("Difference of H, paired by concept; Holm's p over the comparisons below", "methods")
    for column in (
        "concepts",
        "difference",
        "95 % interval",
        "sign-flip p",
        "Holm p",
        "guard",
        "stands",
        "detectable",
    ):
        table.add_column(column, justify="right", no_wrap=True)
    for row in rows:
        found = row.comparison
        ends = [f"{low:+.3f}..{high:+.3f}" for low, high in ((found.low, found.high), row.guard)]
        table.add_row(
            escape(f"{row.first} - {row.second}"), str(found.n), f"{found.mean:+.3f}", ends[0],
            f"{found.p:.4f}", f"{row.adjusted:.4f}", ends[1], "yes" if row.stands else "no",
            f"{row.detectable:.3f}",
        )  # fmt: skip
    return table
