"""Values by the number of concepts forgotten at once, on the published records of `several`."""

import re
from pathlib import Path

import pytest

from unlearnbench.bench.records.load import load
from unlearnbench.leaderboard.plots.counts import count_concepts, plot_counts
from unlearnbench.leaderboard.plots.scatter import assign_styles
from unlearnbench.leaderboard.ranking.task_rows import TaskRow, rows

RESULTS = Path(__file__).resolve().parents[2] / "results"


@pytest.fixture(scope="module")
def found() -> list[TaskRow]:
    return rows(load(RESULTS / "several"))


def test_tasks_are_counted(found: list[TaskRow]) -> None:
    assert sorted({count_concepts(row) for row in found}) == [2, 4, 8]


def test_a_place_is_the_mean_of_its_tasks(found: list[TaskRow]) -> None:
    """The line of uce's VA, read back from the drawing: 0 lies at 154 pixels, 1 at 8."""
    plots = plot_counts(found, assign_styles(found))
    assert [plot.title for plot in plots][:2] == ["UA of all concepts", "VA: retained concepts"]
    (line,) = re.findall(r"<title>uce</title><polyline points=\"([^\"]*)\"", str(plots[1].chart))
    heights = [float(place.split(",")[1]) for place in line.split()]
    means = [(154 - height) / 146 for height in heights]
    for count, mean in zip((2, 4, 8), means, strict=True):
        own = [row.value("VA").value for row in found if row.method == "uce" and count_concepts(row) == count]
        assert len(own) == 2
        assert mean == pytest.approx(sum(value or 0.0 for value in own) / 2, abs=0.001)


def test_tasks_of_one_size_have_no_chart(found: list[TaskRow]) -> None:
    alike = [row for row in found if count_concepts(row) == 4]
    assert plot_counts(alike, assign_styles(alike)) == []
