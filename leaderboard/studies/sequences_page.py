"""The page of sequences: requests to forget, one after another on the same model."""

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from markupsafe import Markup
from rich.markup import escape
from rich.table import Table

from ...bench.records.load import Loaded
from ...bench.types import Value
from ..pages.owned import write_owned
from ..pages.page import render_page
from ..pages.terminal import bare_table
from ..plots.curves import Curve, draw_chart
from ..plots.scatter import COLORS, SeriesStyle
from ..plots.svg import SHAPES
from ..ranking.columns import write_value
from .sequences import RequestSequence, SequenceRun, Step, collect_sequences

EXPORT = "sequences.csv"
COLUMNS = ("method", "seed", "step", "request", "value_of", "value", "low", "high", "n", "missing")
ALONG = "the steps of the sequence"


@dataclass(frozen=True)
class RunSection:
    """One run on the page. chart: UA of each target over the steps."""

    label: str
    run: SequenceRun
    style: SeriesStyle
    chart: Markup


@dataclass(frozen=True)
class Section:
    """One sequence on the page. charts: of all runs together, each with its caption."""

    sequence: RequestSequence
    charts: tuple[tuple[str, Markup], ...]
    runs: tuple[RunSection, ...]
    legend: tuple[tuple[str, SeriesStyle], ...]
    target_legend: tuple[tuple[str, SeriesStyle], ...]


def build_sequences(records: Sequence[Loaded], target: Path) -> Path:
    """Write the page of these records and its CSV; return the page's path. Equal records give equal bytes."""
    sections = [make_section(sequence) for sequence in collect_sequences(records)]
    html = render_page("sequences.html.j2", (), True, sections=sections, records=len(records))
    files = {"index.html": html.encode(), EXPORT: to_csv([s.sequence for s in sections]).encode()}
    write_owned(files, target, mark=EXPORT)
    return target / "index.html"


def make_section(sequence: RequestSequence) -> Section:
    """Return a sequence with its charts."""
    styles = [_style(i) for i in range(len(sequence.runs))]
    names = [_name(run, sequence.runs) for run in sequence.runs]
    targets = list(dict.fromkeys(target for run in sequence.runs for target in run.targets))
    marks = {target: _style(i) for i, target in enumerate(targets)}
    charts = []
    for name, caption in (
        ("UA", "UA of all concepts asked for so far"),
        ("VA", "VA: retained concepts that no request's data showed"),
        ("in_prompt", "in-prompt: other attributes of the forget prompts"),
    ):
        curves = [
            Curve(label, style, [(float(s.number), _number(s.values, name)) for s in run.steps])
            for label, style, run in zip(names, styles, sequence.runs, strict=True)
        ]
        charts.append((caption, draw_chart(caption, curves, (0.0, 1.0), ALONG)))
    runs = [
        RunSection(label, run, style, _plot_targets(run, marks))
        for label, run, style in zip(names, sequence.runs, styles, strict=True)
    ]
    return Section(
        sequence,
        tuple(charts),
        tuple(runs),
        tuple(zip(names, styles, strict=True)),
        tuple(marks.items()),
    )


def _plot_targets(run: SequenceRun, marks: Mapping[str, SeriesStyle]) -> Markup:
    """Return a line for each target, from the step that asked for it; its value at the base stands apart."""
    curves = []
    for target in run.targets:
        points = [(float(s.number), _number(s.targets, target)) for s in run.steps if s.targets]
        curves.append(Curve(target, marks[target], points))
    return draw_chart(f"UA of each concept, {run.name}", curves, (0.0, 1.0), ALONG)


def _style(place: int) -> SeriesStyle:
    return SeriesStyle(f"k{place % COLORS}", SHAPES[place % len(SHAPES)])


def _name(run: SequenceRun, runs: Sequence[SequenceRun]) -> str:
    """Return a run's name, with its seed where the method has several."""
    alike = sum(other.name == run.name for other in runs)
    return f"{run.name}, seed {run.seed}" if alike > 1 else run.name


def _number(values: Mapping[str, Value], name: str) -> float | None:
    return values[name].value if name in values else None


def make_sequence_table(sequence: RequestSequence) -> Table:
    """Return a rich table: the steps of each run, with UA of each target asked for so far."""
    table = bare_table(escape(f"{len(sequence.requests)} requests, one after another"), "method")
    targets = list(dict.fromkeys(target for run in sequence.runs for target in run.targets))
    table.add_column("step", justify="right")
    for title in (*(f"UA of {target}" for target in targets), "VA", "in-prompt", "seconds"):
        table.add_column(title, justify="right")
    for run in sequence.runs:
        for step in run.steps:
            shown = [step.targets.get(target) for target in targets]
            shown += [step.values.get("VA"), step.values.get("in_prompt")]
            cells = ["" if value is None else write_value(value, "share") for value in shown]
            seconds = "failed" if step.error else "" if step.seconds is None else f"{step.seconds:.1f}"
            table.add_row(escape(_name(run, sequence.runs)), str(step.number or "base"), *cells, seconds)
    return table


def to_csv(sequences: Sequence[RequestSequence]) -> str:
    """Return every number of the page as a table."""
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(COLUMNS)
    for sequence in sequences:
        for step in sequence.references:
            table.writerows(_cells(step.source.record.method.name, 0, step))
        for run in sequence.runs:
            for step in run.steps:
                if step.number:
                    table.writerows(_cells(run.name, run.seed, step))
            for change in run.changes:
                said = f"change of {change.name} since step {change.first}"
                table.writerow([run.name, run.seed, change.last, "", said, *_parts(change.value)])
    return text.getvalue()


def _cells(method: str, seed: int, step: Step) -> list[list[object]]:
    if step.error:
        return [[method, seed, step.number, step.request, "", "", "", "", "", step.error]]
    named = {**step.values, **{f"UA of {target}": value for target, value in step.targets.items()}}
    rows = [[method, seed, step.number, step.request, name, *_parts(v)] for name, v in named.items()]
    return [*rows, [method, seed, step.number, step.request, "seconds", step.seconds or "", "", "", "", ""]]


def _parts(value: Value) -> list[object]:
    numbers = (value.value, value.low, value.high)
    return [*("" if n is None else f"{n:.7g}" for n in numbers), value.n, value.missing or ""]
