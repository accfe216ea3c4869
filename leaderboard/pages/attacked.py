"""What attacks bring back: its page, and its tables in the terminal."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rich.markup import escape
from rich.table import Table

from ...bench.types import Value
from ..plots.curves import Curve, CurvePlot, draw_chart
from ..plots.scatter import SeriesStyle
from ..ranking.attacked import AttackedRow, AttackReport
from ..ranking.columns import write_interval, write_value
from .page import render_page
from .terminal import bare_table

TITLES = {
    "UA_before": "UA before",
    "UA_strongest": "UA under the strongest attack",
    "UA_best_of_n": "UA best of n",
    "hidden": "hidden",
}
PLAIN = SeriesStyle("ref", "circle", joined=False)


@dataclass(frozen=True)
class Cell:
    """One attack on one model. values: UA_before, UA_after, ASR, gain. cost: seconds and passes."""

    values: Mapping[str, Value]
    cost: tuple[float, int] | None


@dataclass(frozen=True)
class TaskAttacks:
    """One task. cells: (attack, one for each of the rows). readings: of diagnostics. controls: sentences."""

    task: str
    rows: tuple[str, ...]
    cells: tuple[tuple[str, tuple[Cell, ...]], ...]
    readings: tuple[tuple[str, tuple[float | None, ...]], ...]
    controls: tuple[str, ...]
    curves: tuple[CurvePlot, ...]
    legend: tuple[tuple[str, SeriesStyle], ...]


def divide_report(report: AttackReport, styles: Mapping[str, SeriesStyle]) -> list[TaskAttacks]:
    """Return the report task by task."""
    return [_describe_task(report, task, styles) for task in report.models]


def _describe_task(report: AttackReport, task: str, styles: Mapping[str, SeriesStyle]) -> TaskAttacks:
    models = {row: model for row in report.rows if (model := report.find(task, row)) is not None}
    cells = tuple(
        (name, tuple(Cell(model.values(name), model.cost(name)) for model in models.values()))
        for name in report.attacks
        if report.infos[name].moves != "nothing"
    )
    read = {name: [model.reading(name) for model in models.values()] for name in report.attacks}
    kinds = [(name, kind) for name, own in read.items() for kind in sorted({k for one in own for k in one})]
    readings = tuple((f"{name}: {kind}", tuple(one.get(kind) for one in read[name])) for name, kind in kinds)
    curves = []
    for name in report.attacks:
        points = {row: model.curve(name) for row, model in models.items() if name in model.attacks}
        drawn = [Curve(row, styles.get(row, PLAIN), found) for row, found in points.items() if found]
        if drawn:
            chart = draw_chart(f"UA under {name}", drawn, (0.0, 1.0), "the steps of the attack")
            curves.append(CurvePlot(name, chart, tuple(row for row in points if not points[row])))
    return TaskAttacks(
        task,
        tuple(models),
        cells,
        readings,
        tuple(report.controls(task)),
        tuple(curves),
        tuple((row, styles.get(row, PLAIN)) for row in models),
    )


def render_attacks(
    report: AttackReport, styles: Mapping[str, SeriesStyle], rows: Sequence[str], records: int
) -> str:
    """Return the page of the attacks as HTML. rows: of the board, those without attacked records, too."""
    names = list(dict.fromkeys([*report.rows, *rows]))
    shown = {name: styles.get(name, styles.get(name.partition(" ")[0], PLAIN)) for name in names}
    return render_page(
        "attacks.html.j2",
        ("page.js",),
        True,
        tasks=divide_report(report, shown),
        summary=report.summarise(names),
        titles=_titles(report),
        styles=shown,
        stale=report.stale,
        competing=report.competing,
        budgets={name: info.budget for name, info in sorted(report.infos.items())},
        records=records,
        home="index.html",
    )


def _titles(report: AttackReport) -> dict[str, str]:
    return {name: title for name, title in TITLES.items() if name == "UA_before" or report.has_value(name)}


def make_attack_tables(report: AttackReport) -> list[Table]:
    """Return for each task UA under each attack, model by model, then all models over the tasks."""
    return [
        *(_task_table(part) for part in divide_report(report, {})),
        _summary_table(report.summarise(), _titles(report)),
    ]


def _task_table(part: TaskAttacks) -> Table:
    table = bare_table(f"{escape(part.task)}: UA under each attack", "attack")
    for row in part.rows:
        table.add_column(escape(row), justify="right")
    for name, cells in part.cells:
        table.add_row(escape(name), *(_write(cell.values["UA_after"]) for cell in cells))
    for name, numbers in part.readings:
        table.add_row(escape(name), *("-" if n is None else f"{n:.2f}" for n in numbers))
    return table


def _summary_table(rows: Sequence[AttackedRow], titles: Mapping[str, str]) -> Table:
    table = bare_table("before and under attack, over the tasks", "model")
    for title in titles.values():
        table.add_column(title, justify="right")
    for row in rows:
        values = [_write(row.values[name], "signed" if name == "hidden" else "share") for name in titles]
        table.add_row(escape(row.row), *values)
    return table


def _write(value: Value, style: str = "share") -> str:
    kind = "signed" if style == "signed" else "share"
    interval = write_interval(value, kind)  # type: ignore[arg-type]
    return write_value(value, kind) + (f"\n[dim]{interval}[/dim]" if interval else "")  # type: ignore[arg-type]
