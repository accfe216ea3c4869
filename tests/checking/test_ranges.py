"""Every number and name of suites, records and exports has a range or a list."""

import csv
import io
from pathlib import Path
from typing import Any

import pytest

from unlearnbench.bench.cells import markdown_cell, plain_cell, write_csv
from unlearnbench.bench.checking.known import VALUES
from unlearnbench.bench.checking.plausible import find_problems_in_numbers
from unlearnbench.bench.checking.ranges import RANGES, range_of
from unlearnbench.bench.checking.stated import find_problems_in_statements
from unlearnbench.bench.cli.main import main
from unlearnbench.bench.errors import UserError
from unlearnbench.bench.planning.plan import read_suite
from unlearnbench.bench.records.record import read_record
from unlearnbench.bench.records.statements import list_records
from unlearnbench.bench.running.catalog import registry
from unlearnbench.bench.types import Value

RESULTS = Path(__file__).parents[2] / "results"


@pytest.fixture(scope="module")
def record() -> Any:
    return read_record(next(path for path in list_records(RESULTS / "emoji") if ".balanced." in path.name))


def test_every_value_of_every_metric_has_a_range() -> None:
    for name in registry("metrics"):
        assert name in VALUES
        assert set(VALUES[name]) <= RANGES.keys()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("KID", -1.0), ("KID", 1e308), ("KID_base", -0.5), ("FD", -0.01), ("FID", 1e6), ("CMMD", -5.0),
        ("CMMD", 2000.0), ("UA", 1.1), ("AS", -1.5),
        ("unheard", 1e7), ("UA", float("nan")), ("FD", float("inf")),
    ],
)  # fmt: skip
def test_an_impossible_value_is_named(record: Any, name: str, value: float) -> None:
    point = record.points[-1].model_copy(update={"values": {name: Value(value=value, n=144)}})
    [complaint] = find_problems_in_numbers(point, 208)
    assert complaint.startswith(f"{name}: ")


def test_fewer_images_allow_a_lower_estimate() -> None:
    assert range_of("KID", 12)[0] < range_of("KID", 144)[0] < 0
    assert range_of("UA", 2) == (0.0, 1.0)


@pytest.mark.parametrize(
    "cost",
    [{"seconds": -1.0}, {"memory_bytes": 10**16}, {"parameters": -1}, {"delta_bytes": -5}, {"distance": 1e9}],
)
def test_an_impossible_cost_is_named(record: Any, cost: dict[str, float]) -> None:
    point = record.points[-1]
    changed = point.model_copy(update={"cost": point.cost.model_copy(update=cost)})
    assert f"cost.{next(iter(cost))}" in " ".join(find_problems_in_numbers(changed, 208))


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"seconds": -1.0}, "seconds"),
        ({"seconds": float("nan")}, "seconds"),
        ({"created": "yesterday"}, "created"),
        ({"created": "2999-01-01T00:00:00+00:00"}, "created"),
        ({"created": "1999-01-01T00:00:00"}, "created"),
        ({"seed": -1}, "seed"),
        ({"commit": "main; rm"}, "commit"),
        ({"environment": {"threads": 0}}, "environment.threads"),
        ({"environment": {"threads": True}}, "environment.threads"),
        ({"environment": {"device": "tpu"}}, "environment.device"),
        ({"environment": {"packages": {"torch": "latest"}}}, "environment.packages"),
        ({"environment": {"packages": ["torch"]}}, "environment.packages"),
        ({"environment": {"python": 3.11}}, "environment.python"),
        ({"environment": {"platform": "a\nb"}}, "environment.platform"),
        ({"sampling": {"steps": 0}}, "sampling.steps"),
        ({"sampling": {"guidance": float("inf")}}, "sampling.guidance"),
        ({"sampling": {"width": "64"}}, "sampling.width"),
        ({"log": {"step": [1.0, 2.0], "cos": [0.1]}}, "log"),
        ({"log": {"cos": [0.1, 2.0]}}, "log.cos"),
        ({"log": {"forget_loss": [float("nan")]}}, "log.forget_loss"),
        ({"log": {"step": [2.0, 1.0]}}, "log.step"),
    ],
)
def test_an_impossible_statement_is_named(record: Any, changes: dict[str, Any], field: str) -> None:
    found = list(find_problems_in_statements(record.model_copy(update=changes)))
    assert any(complaint.startswith(field) for complaint in found), found


def test_published_records_state_what_can_be() -> None:
    for folder in sorted(path for path in RESULTS.iterdir() if path.is_dir()):
        for path in list_records(folder):
            record = read_record(path)
            assert list(find_problems_in_statements(record)) == [], path.name
            for point in record.points:
                assert list(find_problems_in_numbers(point, 10**6)) == [], path.name


_SUITE = (
    'name = "x"\ntasks = ["classes/cat-face"]\n{top}\n'
    '[[methods]]\nname = "balanced"\n{row}\n[sizes]\n{sizes}\n'
)


@pytest.mark.parametrize(
    ("place", "text", "field"),
    [
        ("sizes", "forget = -3", "sizes.forget"),
        ("sizes", "forget = 0", "sizes.forget"),
        ("sizes", "forget_samples = 0", "sizes.forget_samples"),
        ("sizes", "forget_samples = 100000", "sizes.forget_samples"),
        ("sizes", "retain_other = 1000000000", "sizes.retain_other"),
        ("sizes", "retain_same = 2.5", "sizes.retain_same"),
        ("sizes", "forgets = 3", "sizes.forgets"),
        ("row", "noise = -1", "methods.0.noise"),
        ("row", "shown = -20", "methods.0.shown"),
        ("row", "seeds = [0, 0]", "methods.0.seeds"),
        ("row", "seeds = [-1]", "methods.0.seeds"),
        ("top", "seeds = []", "seeds"),
        ("top", "seeds = [1, 1]", "seeds"),
        ("top", "seeds = [4294967296]", "seeds"),
        ("top", "unscored_below = nan", "unscored_below"),
        ("top", "unscored_below = 80", "unscored_below"),
        ("top", 'data = "wide"', "data"),
    ],
)
def test_a_number_of_a_suite_out_of_its_range_is_named(
    tmp_path: Path, place: str, text: str, field: str
) -> None:
    path = tmp_path / "s.toml"
    path.write_text(_SUITE.format(**({"top": "", "row": "", "sizes": ""} | {place: text})))
    with pytest.raises(UserError, match=rf"s\.toml: {field}") as caught:
        read_suite(path)
    assert "\n" not in str(caught.value)


def test_a_task_or_row_that_stands_twice_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "s.toml"
    path.write_text('name = "x"\ntasks = ["a/b", "a/b"]\n[[methods]]\nname = "none"\n')
    with pytest.raises(UserError, match="tasks: a/b stands twice"):
        read_suite(path)


@pytest.mark.parametrize("seeds", [["-1"], ["0", "0"], ["99999999999"]])
def test_seeds_of_the_command_line_are_checked(seeds: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "--dry-run", "--seeds", *seeds]) == 2
    assert capsys.readouterr().err.startswith(f"unlearnbench: --seeds {seeds[0]}")


@pytest.mark.parametrize(
    "text",
    ["=1+1", '=HYPERLINK("http://x")', "+1+1", "-1+cmd|x", "@SUM(A1)", "\t=1", "\r=1", " =1", "＝1", "|x"],
)
def test_no_spreadsheet_runs_a_cell(text: str) -> None:
    [[found]] = list(csv.reader(io.StringIO(write_csv([text], []))))
    assert found.startswith("'")


@pytest.mark.parametrize("cell", ["-0.5", "+1e-3", ".5", "12", -0.5, None, "plain", "a=b", "2 - 1"])
def test_numbers_and_plain_texts_stay(cell: object) -> None:
    assert plain_cell(cell) == cell


def test_markdown_holds_texts_as_they_stand() -> None:
    text = markdown_cell("a|b <img src=x> [l](http://x) ![i](y) https://evil.example ~~s~~ &lt;")
    for sign in "|<>[]!~&":
        assert text.count(sign) == text.count("\\" + sign)
    assert "https:" not in text
