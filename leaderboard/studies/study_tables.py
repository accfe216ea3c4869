"""Tables of `steps` and `transfer` in the terminal."""

from collections.abc import Sequence

from rich.markup import escape
from rich.table import Table

from ..pages.terminal import bare_table
from .steps import StepRow
from .transfer import Transfer


def make_steps_table(rows: Sequence[StepRow]) -> Table:
    """Return a row for each method and configuration: the share over all families, and that of each."""
    families = sorted({row.family for row in rows} - {"all"})
    shares = {(row.method, row.settings, row.family): f"{row.neither:.2f}" for row in rows}
    table = bare_table(
        "Share of training steps that raise neither loss (realised Δθ·g ≤ 0 for both)", "method"
    )
    table.add_column("settings")
    for name in ("runs", "share", *families, "forget", "retain", "idle"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("forget loss", justify="right", no_wrap=True)
    for row in rows:
        if row.family != "all":
            continue
        each = [shares.get((row.method, row.settings, family), "") for family in families]
        parts = [f"{number:.2f}" for number in (row.forget, row.retain, row.idle)]
        losses = " ".join(f"{number:.2f}" for number in row.losses)
        table.add_row(
            row.method, escape(row.settings), str(row.runs), f"{row.neither:.2f}", *each, *parts, losses
        )
    table.caption = (
        "forget, retain: this loss does not rise; idle: the forget gradient is 0 (truncated); "
        "forget loss: first, middle, last tenth of the steps"
    )
    table.caption_justify = "left"
    return table


def make_transfer_table(found: Sequence[Transfer]) -> Table:
    """Return a row for each published table."""
    table = bare_table("Rank correlation of H with published tables (Spearman)", "table")
    for name in ("number there", "methods", "ρ", "p"):
        table.add_column(name, justify="right" if name in "ρp" else "left")
    for transfer in found:
        rho = transfer.missing or "" if transfer.rho is None else f"{transfer.rho:+.2f}"
        p = "" if transfer.p is None else f"{transfer.p:.3f}"
        methods = f"{len(transfer.methods)}: {', '.join(transfer.methods)}"
        table.add_row(transfer.table.name, transfer.table.number, methods, rho, p)
    return table
