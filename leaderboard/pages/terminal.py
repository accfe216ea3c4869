"""Tables in the terminal."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.markup import escape
from rich.table import Table
from rich.text import Text

from ...bench.checking.agreement import Agreement
from ...bench.checking.named import Check
from ...bench.labels.labels import Labels
from ...bench.planning.choice import Choice
from ...bench.stats.share_coverage import ShareCoverage, Truth
from ...bench.store import content_key
from ...bench.types import Value
from ..ranking.board import FEWEST_CONCEPTS, MethodSummary, PairedComparison, describe_levels
from ..ranking.columns import COLUMNS, Style, write_interval, write_value
from ..ranking.task_rows import TaskRow, by_task

SHOWN = ("UA", "UA_indirect", "VA", "in_prompt", "IRA", "AS_delta", "KID", "seconds")
DIGITS = {"share": 2, "signed": 3, "decimal": 3}
LABEL_COLUMNS = ("agreement", "kappa", "sensitivity", "specificity", "UA", "UA_person", "UA_corrected")
CHECK_NAMES = ("files", "names", "versions", "prompts", "coverage", "values")


def make_result_tables(all_rows: Sequence[TaskRow]) -> list[Table]:
    """Return a rich table for each task: the point that each row shows, with intervals where they exist."""
    return [_task_table(task, rows) for task, rows in by_task(all_rows).items()]


def bare_table(title: str, first: str) -> Table:
    """Return an empty table without lines; `first` heads its column of names."""
    table = Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False)
    table.add_column(first, no_wrap=True)
    return table


def _task_table(task: str, rows: Sequence[TaskRow]) -> Table:
    columns = [
        c for c in COLUMNS if c.name in SHOWN and any(row.value(c.name).value is not None for row in rows)
    ]
    table = bare_table(escape(task), "method")
    table.columns[0].no_wrap = False  # a label of many settings
    table.add_column("step", justify="right", no_wrap=True)
    for column in columns:
        arrow = {"up": " ↑", "down": " ↓"}.get(column.direction, "")
        table.add_column(column.title + arrow, justify="right", no_wrap=True)
    for row in rows:
        if row.failed:
            table.add_row(escape(row.label), "failed", *["missing"] * len(columns), style="red")
            continue
        step = "" if row.point is None or row.role == "reference" else escape(row.point.label)
        cells = []
        for column in columns:
            value = row.value(column.name)
            interval = _interval(value, column.style)
            cells.append(write_value(value, column.style) + (f"\n[dim]{interval}[/dim]" if interval else ""))
        reached = row.choice is None or row.choice.reached is not False
        method, *rest = escape(row.label).replace(", ", " · ").split(" · ")
        label = "\n  ".join([method, *rest])
        table.add_row(label + ("" if reached else "\n[dim]did not reach .95[/dim]"), step, *cells)
    return table


def _interval(value: Value, style: Style) -> str:
    """Return an interval short enough for a terminal's column: `.46-.95`, `-.009..+.085`."""
    if value.value is None or value.low is None or value.high is None:
        return ""
    digits = DIGITS.get(style, 2)
    low, high = (f"{end:{'+' if style != 'share' else ''}.{digits}f}" for end in (value.low, value.high))
    if style == "share":
        return "-".join(end.removeprefix("0") for end in (low, high))
    return f"{low.replace('0.', '.', 1)}..{high.replace('0.', '.', 1)}"


def make_board_table(lines: Sequence[MethodSummary]) -> Table:
    """Return a rich table of every method's AVA over its concepts; rows are ordered by name."""
    title = f"AVA: alignment along the frontier, {describe_levels()}; 95 % t interval over concepts"
    table = bare_table(title, "method")
    for column in ("concepts", "AVA ↑", "interval", "reach ↑", "in-prompt ↑"):
        table.add_column(column, justify="right", no_wrap=True)
    for line in lines:
        if not line.concepts:
            table.add_row(escape(line.method), "0", *["missing"] * 4)
            continue
        interval = "-" if line.low is None else f"{line.low:.3f}..{line.high:.3f}"
        other = "missing" if line.in_prompt is None else f"{line.in_prompt:.3f}"
        table.add_row(
            escape(line.method), str(line.concepts), f"{line.ava:.3f}", interval, f"{line.reach:.2f}", other
        )
    return table


def make_comparison_table(comparisons: Sequence[PairedComparison]) -> Table:
    """Return a rich table of paired differences of AVA, the primary endpoint first."""
    rival = comparisons[0].second
    table = bare_table(f"Difference of AVA to {escape(rival)}, paired by concept", "method")
    for column in ("concepts", "difference", "95 % interval", "sign-flip p", "Holm p", "detectable"):
        table.add_column(column, justify="right", no_wrap=True)
    for row in sorted(comparisons, key=lambda d: (not d.primary, d.first)):
        found = row.comparison
        table.add_row(
            escape(row.first) + ("" if row.primary else " (exploratory)"),
            str(found.n),
            f"{found.mean:+.3f}",
            f"{found.low:+.3f}..{found.high:+.3f}",
            f"{found.p:.4f}",
            "" if row.primary or row.adjusted is None else f"{row.adjusted:.4f}",
            f"{row.detectable:.3f}",
        )
    if any(row.comparison.n < FEWEST_CONCEPTS for row in comparisons):
        table.caption = (
            f"Fewer than {FEWEST_CONCEPTS} concepts: an interval for these concepts, not a ranking."
        )
    return table


def make_choice_table(choice: Choice) -> Table:
    """Return a rich table of every candidate's headline on the tuning concepts, the chosen ones marked."""
    table = bare_table(f"Candidates on the {len(choice.concepts)} tuning concepts", "method")
    table.add_column("configuration")
    for column in (f"{choice.headline} ↑", "highest UA ↑", "chosen", "point shown"):
        table.add_column(column, justify="right", no_wrap=True)
    for method, found in choice.methods.items():
        chosen = {content_key(row.config): row.shown for row in found.rows}
        varied = _varied([candidate.config for candidate in found.candidates])
        for candidate in found.candidates:
            shown = chosen.get(content_key(candidate.config))
            table.add_row(
                escape(method),
                ", ".join(f"{name} {candidate.config[name]}" for name in varied),
                "missing" if candidate.value is None else f"{candidate.value:.3f}",
                f"{candidate.best_ua:.3f}",
                "" if shown is None else "yes",
                f"step {shown}" if shown else "",
            )
    totals = [f"{m} {c.value:.3f}" for m, c in choice.methods.items() if c.value is not None]
    table.caption = f"{choice.headline} of the chosen configurations together: " + ", ".join(totals)
    return table


def _varied(configs: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the settings in which configurations differ."""
    return [name for name in configs[0] if len({repr(c.get(name)) for c in configs}) > 1] if configs else []


def make_share_table(found: Mapping[Truth, tuple[ShareCoverage, ShareCoverage]]) -> Table:
    """Return a rich table of the coverage of the intervals of shares, by samples a prompt and correlation."""
    title = "95 % intervals of a share over prompts: coverage (least) and width, on simulated images"
    table = bare_table(title, "samples a prompt")
    for column in ("correlation", "version 2", "width", "version 1", "width", "truths"):
        table.add_column(column, justify="right")
    for samples, correlation in sorted({(t.samples, t.correlation) for t in found}):
        own = [pair for t, pair in found.items() if (t.samples, t.correlation) == (samples, correlation)]
        table.add_row(str(samples), f"{correlation:.1f}", *_cells_of([b for _, b in own]),
                      *_cells_of([a for a, _ in own]), str(len(own)))  # fmt: skip
    pairs = list(found.values())
    table.add_row("all", "", *_cells_of([b for _, b in pairs]), *_cells_of([a for a, _ in pairs]),
                  str(len(pairs)), style="bold")  # fmt: skip
    return table


def _cells_of(found: Sequence[ShareCoverage]) -> tuple[str, str]:
    mean = sum(row.coverage for row in found) / len(found)
    least, width = min(row.coverage for row in found), sum(row.width for row in found) / len(found)
    return f"{mean:.3f} ({least:.3f})", f"{width:.3f}"


def make_labels_table(labels: Labels) -> Table:
    """Return one row for each method: agreement, the judge's errors, and UA before and after correction."""
    title = f"{labels.who}: {len(labels.answers)} images, {labels.source}"
    table = Table(title=escape(title), title_justify="left", title_style="bold", box=None, pad_edge=False)
    for name in ("method", "answered", *(column.replace("_", " ") for column in LABEL_COLUMNS)):
        table.add_column(name)
    for row in labels.methods:
        who = f"{row.method} {row.point}\n{row.task}"
        count = f"{row.answered} ({row.unsure} unsure)"
        table.add_row(escape(who), count, *(_write_label(getattr(row, column)) for column in LABEL_COLUMNS))
    return table


def _write_label(value: Value) -> str:
    return "\n".join(filter(None, (write_value(value, "share"), write_interval(value, "share"))))


def make_check_table(found: Mapping[Path, Sequence[Check]]) -> Table:
    """Return one row for each folder: how many records and files beside them passed each check."""
    table = Table("folder", "checked", *CHECK_NAMES)
    folders = dict.fromkeys(path.parent for path in found)
    for folder in folders:
        records = [checks for path, checks in found.items() if path.parent == folder]
        table.add_row(str(folder), str(len(records)), *(_count_states(records, name) for name in CHECK_NAMES))
    return table


def _count_states(records: Sequence[Sequence[Check]], name: str) -> Text:
    states = [check.state for checks in records for check in checks if check.name == name]
    parts = [f"{states.count(state)} {state}" for state in ("failed", "unchecked") if state in states]
    if parts:
        return Text(", ".join(parts), style="bold red" if "failed" in states else "yellow")
    return Text(f"{len(states)} passed" if states else "")


def make_agreement_table(agreement: Agreement) -> Table:
    """Return one row for each headline number: claimed value, repeated value, difference and verdict."""
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
