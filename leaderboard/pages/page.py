"""Pages of tasks: every row, plot, image and training curve; and how any page is rendered."""

import base64
import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from jinja2 import Environment
from markupsafe import Markup

from ...bench.records.record import Record, name_point
from ..commands import repeat_row
from ..plots.curves import CurvePlot, logging_rows, plot_curves
from ..plots.gallery import Gallery, Locate, gather, inline_sheet
from ..plots.scatter import (
    Series,
    SeriesStyle,
    make_series,
    name_series,
    scatter,
    swatch,
    undrawn,
)
from ..plots.thresholds import Thresholds, make_thresholds
from ..ranking.claims import Beside
from ..ranking.columns import ARROWS, Column, columns_for, left_out, write_interval, write_number, write_value
from ..ranking.reported import Reported, reported_for
from ..ranking.standings import BANDS
from ..ranking.task_rows import CAUTION, TaskRow, by_task, differences
from ..templating import flatten, open_environment, read_template

ARXIV = re.compile(r"arXiv[:\s]*(\d{4}\.\d{4,5})", re.IGNORECASE)


@dataclass(frozen=True)
class Section:
    """The section of one task."""

    anchor: str
    rows: tuple[TaskRow, ...]
    columns: tuple[Column, ...]
    base: TaskRow | None
    left_out: tuple[tuple[str, str], ...]
    differences: tuple[str, ...]
    plots: tuple[Markup, ...]
    side_plot: Markup
    undrawn: tuple[str, ...]
    legend: tuple[tuple[str, SeriesStyle], ...]
    curve_legend: tuple[tuple[str, SeriesStyle], ...]
    gallery: Gallery | None
    curves: tuple[CurvePlot, ...]
    thresholds: Thresholds | None
    reported: tuple[Reported, ...]

    @property
    def captions(self) -> str:
        """Number and name of the published captions used as retained prompts; "" where none were."""
        source = next((row.source for row in self.rows if row.source.items is not None), None)
        if source is None or source.items is None or "captions" not in source.record.sampling:
            return ""
        others = (source.items["split"] == "retain") & (source.items["relation"] == "other")
        return f"{source.items.loc[others, 'prompt_id'].nunique()} {source.record.sampling['captions']}"

    @property
    def several(self) -> bool:
        """Whether a method has more than one row."""
        return any(row.siblings > 1 for row in self.rows)


def render_tasks(
    all_rows: Sequence[TaskRow],
    home: str,
    styles: Mapping[str, SeriesStyle],
    locate: Locate = inline_sheet,
    beside: Beside | None = None,
) -> str:
    """Return the page of the tasks of these rows as HTML.

    home: file of the board that it links to, "" where there is none. locate: finds the contact sheets, which
    the page itself holds by default. beside: claims and statements, on a page without a board.
    """
    sections = [
        _make_section(f"task-{i}", task_rows, styles, locate)
        for i, task_rows in enumerate(by_task(all_rows).values(), start=1)
    ]
    return render_page(
        "page.html.j2",
        ("page.js",),
        locate is inline_sheet,
        sections=sections,
        home=home,
        styles=styles,
        caution=CAUTION,
        records=len(all_rows),
        beside=beside or Beside(),
    )


def render_page(template: str, scripts: Iterable[str], self_contained: bool, **context: Any) -> str:
    """Return a page. Its security policy allows exactly these scripts, and images of the page itself or,
    where the page is not self-contained, of the site's files."""
    script = "\n".join(read_template(name) for name in scripts)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return (
        make_environment()
        .get_template(template)
        .render(
            css=Markup(read_template("style.css") + read_template("site.css")),
            script=Markup(script),
            script_digest=f"sha256-{digest}",
            image_sources="data:" if self_contained else "'self' file: data:",
            **context,
        )
    )


def _make_section(
    anchor: str, task_rows: Sequence[TaskRow], styles: Mapping[str, SeriesStyle], locate: Locate
) -> Section:
    series = [make_series(row, styles[row.method]) for row in task_rows if row.point]
    columns = columns_for(row.values for row in task_rows)
    base = next((row for row in task_rows if row.role == "reference" and row.point), None)
    return Section(
        anchor=anchor,
        rows=tuple(task_rows),
        columns=tuple(columns),
        base=base,
        left_out=tuple(left_out((row.values for row in task_rows), columns)),
        differences=tuple(differences(task_rows)),
        plots=_main_plots(series),
        side_plot=scatter(series, "in_prompt", "in-prompt alignment", 420, 440, "side"),
        undrawn=tuple(undrawn(series, "UA", "VA")),
        legend=_make_legend([row for row in task_rows if row.point], styles),
        curve_legend=_make_legend(logging_rows(task_rows), styles),
        gallery=gather(task_rows, locate),
        curves=tuple(plot_curves(task_rows, styles)),
        thresholds=make_thresholds(task_rows, styles),
        reported=reported_for(task_rows[0].task),
    )


def _make_legend(
    rows: Sequence[TaskRow], styles: Mapping[str, SeriesStyle]
) -> tuple[tuple[str, SeriesStyle], ...]:
    """Return one entry for each mark: a row's label, or the method of several rows with their number."""
    by_method: dict[str, list[str]] = {}
    for row in rows:
        by_method.setdefault(row.method, []).append(name_series(row.label))
    return tuple(
        (labels[0] if len(labels) == 1 else f"{name_series(method)} ({len(labels)} rows)", styles[method])
        for method, labels in by_method.items()
    )


def _main_plots(series: Sequence[Series]) -> tuple[Markup, ...]:
    """Return the plot for wide and for narrow windows; scaled down, its text would be too small."""
    title = "VA: alignment"
    return (
        scatter(series, "VA", title, 840, 440, "wide"),
        scatter(series, "VA", title, 360, 360, "narrow"),
    )


@cache
def make_environment() -> Environment:
    """Return the templates' environment: everything is escaped, and an unknown name is an error."""
    environment = open_environment()
    environment.globals.update(
        arrows=ARROWS,
        bands=BANDS,
        breakable=breakable,
        find_link=find_link,
        fingerprints=fingerprints,
        flatten=flatten,
        name_point=name_point,
        name_series=name_series,
        repeat_row=repeat_row,
        swatch=swatch,
        write_interval=write_interval,
        write_number=write_number,
        write_value=write_value,
    )
    return environment


def find_link(paper: str) -> str:
    """Return the address that a paper's text is or names, "" where there is none."""
    if re.fullmatch(r"https?://\S+", paper):
        return paper
    found = ARXIV.search(paper)
    return f"https://arxiv.org/abs/{found[1]}" if found else ""


def breakable(title: str) -> Markup:
    """Return a heading that may break after its underscores, for narrow columns."""
    return Markup("_<wbr>").join(title.split("_"))


def fingerprints(record: Record) -> list[tuple[str, str]]:
    """Return (name of the point, fingerprint of the model) of each point."""
    return [(f"model at {name_point(p.label, p.step)}", p.fingerprint) for p in record.points]
