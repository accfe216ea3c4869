"""Tables in narrow terminals: printed in parts, none of which is cut."""

import io

import pytest
from rich.table import Table

from unlearnbench.bench.cli.tools.tables import TableConsole

HEADS = ("method", "difference", "95 % interval", "sign-flip p", "detectable")
ROWS = (
    ("balanced", "-0.028", "-0.160..+0.103", "0.6514", "0.184"),
    ("esd_x", "+0.1", "+0.05..+0.15", "0.02", "0.1"),
)


def _print(width: int) -> str:
    table = Table(title="Difference", title_justify="left", box=None, pad_edge=False)
    for head in HEADS:
        table.add_column(head, no_wrap=True)
    for row in ROWS:
        table.add_row(*row)
    target = io.StringIO()
    TableConsole(width=width, file=target).print(table)
    return target.getvalue()


@pytest.mark.parametrize("width", [100, 60, 40, 30])
def test_every_cell_is_whole_at_every_width(width: int) -> None:
    said = _print(width)
    assert "…" not in said
    assert max(len(line) for line in said.splitlines()) <= width
    for text in (*HEADS, *(cell for row in ROWS for cell in row)):
        assert text in said


def test_each_part_repeats_the_names_and_the_title_stands_once() -> None:
    wide, narrow = _print(100), _print(40)
    assert (wide.count("balanced"), wide.count("Difference")) == (1, 1)
    assert narrow.count("balanced") == narrow.count("esd_x") > 1
    assert narrow.count("Difference") == 1
