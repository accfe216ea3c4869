"""Labels as a table for the terminal: does the judge agree with the person?"""

from rich.markup import escape
from rich.table import Table

from ..bench.types import Value
from .columns import write_interval, write_value
from .labels import Labels

COLUMNS = ("agreement", "kappa", "sensitivity", "specificity", "UA", "UA_person", "UA_corrected")


def make_labels_table(labels: Labels) -> Table:
    """Return one row a method with agreement, the judge's errors, and UA before and after correction."""
    title = f"{labels.who}: {len(labels.answers)} images, {labels.source}"
    table = Table(title=escape(title), title_justify="left", title_style="bold", box=None, pad_edge=False)
    for name in ("method", "answered", *(column.replace("_", " ") for column in COLUMNS)):
        table.add_column(name)
    for row in labels.methods:
        who = f"{row.method} {row.point}\n{row.task}"
        count = f"{row.answered} ({row.unsure} unsure)"
        table.add_row(escape(who), count, *(_write(getattr(row, column)) for column in COLUMNS))
    return table


def _write(value: Value) -> str:
    return "\n".join(filter(None, (write_value(value, "share"), write_interval(value, "share"))))
