"""The leaderboard as one self-contained static page, with its exports beside it."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment
from markupsafe import Markup

from ...bench.measuring.pool import read_pooled
from ...bench.records.load import Loaded, load_together
from ...bench.records.record import Record, name_point, safe_command
from ...bench.types import Value
from ..plots.curves import Panel, curve_panels, logging_rows
from ..plots.gallery import Gallery, Locate, gather, inline_sheet
from ..plots.scatter import (
    Series,
    SeriesStyle,
    assign_looks,
    make_series,
    name_looks,
    name_series,
    scatter,
    swatch,
    undrawn,
)
from ..plots.thresholds import Thresholds, make_thresholds
from ..ranking.board import describe_levels
from ..ranking.claims import Beside, read_beside
from ..ranking.columns import ARROWS, Column, columns_for, left_out, write_interval, write_number, write_value
from ..ranking.rank import CAUTION, Row, by_task, differences, rows
from ..ranking.reported import Reported, reported_for
from ..templating import flatten, open_environment, read_template
from .board_page import KEYS, Board, make_board
from .exports import EXPORT, to_parquet, to_texts
from .owned import write_owned


@dataclass(frozen=True)
class Section:
    """All that the page shows of one task."""

    anchor: str
    rows: tuple[Row, ...]
    columns: tuple[Column, ...]
    base: Row | None
    left_out: tuple[tuple[str, str], ...]
    differences: tuple[str, ...]
    plots: tuple[Markup, ...]
    side_plot: Markup
    undrawn: tuple[str, ...]
    legend: tuple[tuple[str, SeriesStyle], ...]
    curve_legend: tuple[tuple[str, SeriesStyle], ...]
    gallery: Gallery | None
    curves: tuple[Panel, ...]
    thresholds: Thresholds | None
    reported: tuple[Reported, ...]

    @property
    def captions(self) -> str:
        """How many of which published captions were drawn as retained prompts; "" where none were."""
        source = next((row.source for row in self.rows if row.source.items is not None), None)
        if source is None or source.items is None or "captions" not in source.record.sampling:
            return ""
        others = (source.items["split"] == "retain") & (source.items["relation"] == "other")
        return f"{source.items.loc[others, 'prompt_id'].nunique()} {source.record.sampling['captions']}"

    @property
    def several(self) -> bool:
        """Whether a method has more than one row."""
        return any(row.siblings > 1 for row in self.rows)


def build(folders: Path | Sequence[Path], target_folder: Path) -> Path:
    """Write index.html and leaderboard.csv, .md and .parquet from folders of records; return the page's path.

    Records of several concepts make a board, with a page a task beside it; others are one page. Equal
    records give equal bytes. Raises UserError naming file and field where a record is broken; then nothing
    is written.
    """
    folders = [folders] if isinstance(folders, Path) else folders
    return write_pages(load_together(folders), folders, target_folder)


def write_pages(loaded: Sequence[Loaded], folders: Sequence[Path], target_folder: Path) -> Path:
    """Write the pages of records that were read from these folders; return the first page's path."""
    beside = read_beside(folders, loaded)
    here = {entry.name for entry in loaded}
    found = rows([*loaded, *(entry for entry in beside.claimed if entry.name not in here)])
    looks = name_looks(assign_looks(found), (entry.row for entry in loaded))
    measured = [entry for entry in loaded if entry.record.source == "measured"]
    board = make_board(measured, looks, read_pooled_values(folders))
    contents = to_texts(found)
    if board is None:
        contents["index.html"] = render(found, beside=beside)
    else:
        pages = {task: f"task-{name_page(task)}.html" for task in by_task(found)}
        contents["index.html"] = render_board(board, looks, pages, len(loaded), beside)
        contents |= {pages[task]: render(own, home="index.html") for task, own in by_task(found).items()}
    files = {name: text.encode("utf-8") for name, text in contents.items()}
    write_owned({**files, EXPORT: to_parquet(found)}, target_folder, mark=EXPORT, adopt=_is_page_of_ours)
    return target_folder / "index.html"


def _is_page_of_ours(folder: Path) -> bool:
    """Return whether a folder holds pages of a version that wrote no listing: all exports and our page."""
    names = ("leaderboard.csv", "leaderboard.md", EXPORT)
    page = folder / "index.html"
    return all((folder / name).is_file() for name in names) and (
        page.is_file() and b"unlearnbench</title>" in page.read_bytes()
    )


def read_pooled_values(folders: Sequence[Path]) -> dict[str, dict[str, Value]]:
    """Return the pooled values that lie beside the records, by metric and row; the first folder's stand."""
    values: dict[str, dict[str, Value]] = {}
    for folder in reversed(folders):
        found = read_pooled(folder)
        for metric, own in ({} if found is None else found.by_metric).items():
            values.setdefault(metric, {}).update(own)
    return values


def render(
    all_rows: Sequence[Row],
    home: str = "",
    looks: Mapping[str, SeriesStyle] | None = None,
    locate: Locate = inline_sheet,
    beside: Beside | None = None,
) -> str:
    """Return the page of these rows as HTML. home: file of the board beside it.

    It needs nothing else, unless `locate` finds the contact sheets in files. beside: what the records'
    folders hold beside them; a page with a board has it there alone.
    """
    looks = looks or assign_looks(all_rows)
    sections = [
        _make_section(f"task-{i}", task_rows, looks, locate)
        for i, task_rows in enumerate(by_task(all_rows).values(), start=1)
    ]
    page = make_environment().get_template("page.html.j2")
    return page.render(
        sections=sections,
        home=home,
        looks=looks,
        caution=CAUTION,
        images="data:" if locate is inline_sheet else "'self' file:",
        records=len(all_rows),
        beside=beside or Beside(),
        style=Markup(read_template("style.css")),
        script=Markup(read_template("page.js")),
    )


def name_page(task: str) -> str:
    """Return a task's id as part of a file name."""
    return re.sub(r"[^A-Za-z0-9_-]+", "-", task)


def render_board(
    board: Board, looks: Mapping[str, SeriesStyle], pages: Mapping[str, str], records: int, beside: Beside
) -> str:
    """Return the board's page; pages: task -> file name of its own page."""
    return (
        make_environment()
        .get_template("board.html.j2")
        .render(
            board=board,
            looks=looks,
            pages=pages,
            records=records,
            beside=beside,
            levels=describe_levels(),
            keys=KEYS,
            style=Markup(read_template("style.css")),
            script=Markup(read_template("page.js")),
        )
    )


def _make_section(
    anchor: str, task_rows: Sequence[Row], looks: Mapping[str, SeriesStyle], locate: Locate
) -> Section:
    series = [make_series(row, looks[row.method]) for row in task_rows if row.point]
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
        legend=tuple((name_series(s.label), s.look) for s in series),
        curve_legend=tuple((row.label, looks[row.method]) for row in logging_rows(task_rows)),
        gallery=gather(task_rows, locate),
        curves=tuple(curve_panels(task_rows, looks)),
        thresholds=make_thresholds(task_rows, looks),
        reported=reported_for(task_rows[0].task),
    )


def _main_plots(series: Sequence[Series]) -> tuple[Markup, ...]:
    """Return the plot twice, for wide and for narrow windows: scaled down, its text could not be read."""
    title = "VA: alignment"
    return (
        scatter(series, "VA", title, 840, 440, "wide"),
        scatter(series, "VA", title, 360, 360, "narrow"),
    )


def make_environment() -> Environment:
    """Return the templates' environment: everything is escaped, and an unknown name is an error."""
    environment = open_environment()
    environment.globals.update(
        arrows=ARROWS,
        breakable=breakable,
        fingerprints=fingerprints,
        flatten=flatten,
        name_point=name_point,
        name_series=name_series,
        safe_command=safe_command,
        swatch=swatch,
        write_interval=write_interval,
        write_number=write_number,
        write_value=write_value,
    )
    return environment


def breakable(title: str) -> Markup:
    """Return a heading that may break after its underscores, as narrow columns need."""
    return Markup("_<wbr>").join(title.split("_"))


def fingerprints(record: Record) -> list[tuple[str, str]]:
    """Return what drew the images of each point, as (point's name, fingerprint)."""
    return [(f"model at {name_point(p.label, p.step)}", p.fingerprint) for p in record.points]
