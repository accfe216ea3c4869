"""Tables of the terminal about records that were checked or repeated."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.table import Table
from rich.text import Text

from .agreement import Agreement
from .validate import Check

NAMES = ("files", "names", "versions", "prompts", "coverage", "values")


def make_check_table(found: Mapping[Path, Sequence[Check]]) -> Table:
    """Return one row a folder: its records, and how many passed, failed or could not be checked, by check."""
    table = Table("folder", "records", *NAMES)
    folders = dict.fromkeys(path.parent for path in found)
    for folder in folders:
        records = [checks for path, checks in found.items() if path.parent == folder]
        table.add_row(str(folder), str(len(records)), *(_cell(records, name) for name in NAMES))
    return table


def _cell(records: Sequence[Sequence[Check]], name: str) -> Text:
    states = [check.state for checks in records for check in checks if check.name == name]
    parts = [f"{states.count(state)} {state}" for state in ("failed", "unchecked") if state in states]
    if parts:
        return Text(", ".join(parts), style="bold red" if "failed" in states else "yellow")
    return Text(f"{len(states)} passed" if states else "")


def make_agreement_table(agreement: Agreement) -> Table:
    """Return one row a headline number: as claimed, as repeated, and what that says."""
    table = Table("point", "metric", "claimed", "re-run", "difference [95 %]", "state")
    styles = {"differs": "bold red", "unclear": "yellow"}
    for number in agreement.numbers:
        between = (
            "" if number.low is None or number.high is None else f"[{number.low:+.3f}, {number.high:+.3f}]"
        )
        values = [f"{v:.4f}" if v is not None else "missing" for v in (number.claimed, number.rerun)]
        state = Text(number.state, style=styles.get(number.state, ""))
        table.add_row(number.point, number.metric, *values, between, state)
    return table
