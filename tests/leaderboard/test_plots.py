"""Plots: points in order of step, nothing drawn for what is missing, curves that break where the log does."""

import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from unlearnbench.bench.records.load import load
from unlearnbench.bench.types import missing
from unlearnbench.leaderboard.plots.curves import plot_curves
from unlearnbench.leaderboard.plots.gallery import _splits
from unlearnbench.leaderboard.plots.heatmap import _draw
from unlearnbench.leaderboard.plots.scatter import assign_styles, make_series, scatter, undrawn
from unlearnbench.leaderboard.plots.svg import Scale, canvas, tag, ticks
from unlearnbench.leaderboard.ranking.task_rows import TaskRow, rows

from .synthetic import METHODS, make_record, write


def read_row(folder: Path, method: str, **changes: object) -> TaskRow:
    write(folder, method, **changes)
    return next(row for row in rows(load(folder)) if row.method == method)


def corners(markup: str) -> list[tuple[float, float]]:
    """Return the corners of the first path of a plot."""
    found = re.search(r'<polyline points="([^"]+)" class="path"', markup)
    assert found
    pairs = (pair.split(",") for pair in found[1].split())
    return [(float(x), float(y)) for x, y in pairs]


def test_points_are_joined_in_order_of_step(tmp_path: Path) -> None:
    backwards = reversed(make_record("gradient_sum")[0].points)
    points = [point.model_copy(update={"index": index}) for index, point in enumerate(backwards)]
    row = read_row(tmp_path, "gradient_sum", points=points, items_sha256=None, sheet=[])
    series = make_series(row, assign_styles([row])[row.method])
    across = [x for x, _ in corners(scatter([series], "VA", "VA", 840, 440, "wide"))]
    assert across == sorted(across)
    assert [p.step for p in series.points] == [40, 80, 120, 160]


def test_a_point_without_a_value_is_not_drawn_but_told(tmp_path: Path) -> None:
    points = make_record("balanced")[0].points
    spoilt = points[1].model_copy(update={"values": {**points[1].values, "VA": missing("judge failed")}})
    row = read_row(tmp_path, "balanced", points=[points[0], spoilt, *points[2:]])
    series = make_series(row, assign_styles([row])[row.method])
    assert len(corners(scatter([series], "VA", "VA", 840, 440, "wide"))) == 3
    assert undrawn([series], "UA", "VA") == ["balanced 80"]
    assert scatter([series], "nothing", "", 840, 440, "wide") == ""


def test_intervals_lie_behind_the_points_and_the_base_is_named(tmp_path: Path) -> None:
    write(tmp_path, "none")
    write(tmp_path, "balanced")
    found = rows(load(tmp_path))
    styles = assign_styles(found)
    plot = scatter([make_series(row, styles[row.method]) for row in found], "VA", "VA", 840, 440, "wide")
    assert plot.rindex('class="interval') < plot.index('class="series')
    assert ">base model</text>" in plot
    for step in (40, 80, 120, 160):
        assert f">{step}</text>" in plot


def test_colour_means_a_method(tmp_path: Path) -> None:
    for method in METHODS:
        write(tmp_path, method)
    styles = assign_styles(rows(load(tmp_path)))
    assert (styles["none"].color, styles["placebo"].color) == ("ref", "floor")
    colored = [styles[name].color for name in ("balanced", "finetune", "gradient_sum")]
    assert len(set(colored)) == 3


def test_a_curve_breaks_where_the_log_has_no_number(tmp_path: Path) -> None:
    row = read_row(tmp_path, "finetune", log={"retain_loss": [1.0, 2.0, None, 3.0, 4.0]})
    [panel] = plot_curves([row], assign_styles([row]))
    assert panel.title == "retain loss"
    assert panel.chart.count("<polyline") == 2


def test_a_curve_names_the_rows_that_lack_it(tmp_path: Path) -> None:
    write(tmp_path, "finetune")
    write(tmp_path, "balanced")
    found = rows(load(tmp_path))
    panels = {panel.title: panel.without for panel in plot_curves(found, assign_styles(found))}
    assert panels["forget loss"] == ("finetune",)
    assert panels["retain loss"] == ()


@pytest.mark.parametrize(("low", "high"), [(0.0, 1.0), (0.53, 1.0), (-0.0021, 0.0003), (0, 160), (1.0, 1.05)])
def test_ticks_are_few_ordered_and_inside(low: float, high: float) -> None:
    found = ticks(low, high)
    assert 2 <= len(found) <= 6
    assert found == sorted(set(found))
    assert all(low - 1e-9 <= value <= high + 1e-9 for value in found)


def test_a_scale_holds_values_at_its_edges() -> None:
    scale = Scale(0, 1, 100, 0)
    assert [scale(v) for v in (-1, 0, 0.25, 1, 2)] == [100, 100, 75, 0, 0]


def test_elements_escape_attributes_and_text() -> None:
    assert tag("text", "<b>", fill='"><x') == '<text fill="&#34;&gt;&lt;x">&lt;b&gt;</text>'
    assert 'aria-label="&lt;i&gt;"' in canvas(1, 1, "<i>", [])


def test_a_caption_has_the_split_of_its_prompt() -> None:
    """A prompt of two splits has that which it gets last, however often its rows are repeated."""
    items = pd.DataFrame(
        {"prompt": ["a", "b", "c", "a", "c"], "split": ["forget", "retain"] * 2 + ["forget"]}
    )
    rows: Any = [SimpleNamespace(source=SimpleNamespace(items=found)) for found in (items, None)]
    assert _splits(rows) == {"a": "retain", "b": "retain", "c": "forget"}


def test_a_heat_map_has_an_element_for_each_loss_and_room_for_its_labels() -> None:
    long = "a bottle with a popping cork"
    shares = [[1.0, 0.5, np.nan], [1.0, 1.0, np.nan]]
    text = str(_draw("m", pd.DataFrame(shares, ["classes/a@w", "classes/b@w"], ["x", "y", long])))
    assert text.count("<rect") == 1
    assert "classes/a erased: y drawn in 50%" in text
    kept, unasked = re.findall(r'<path d="([^"]*)"', text)
    assert (kept.count("z"), unasked.count("M")) == (3, 2)
    [(width, height)] = re.findall(r'viewBox="0 0 (\d+) (\d+)"', text)
    assert int(height) > 5 * len(long)  # turned by 60 degrees
    assert int(width) > 5 * len("classes/a") + 3 * 13 + 2.5 * len(long)
