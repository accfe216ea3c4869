"""Published numbers: every one with its source and tag, on its task's page alone, in nothing that ranks."""

from dataclasses import replace
from html import unescape
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from unlearnbench import leaderboard
from unlearnbench.bench.checking.known import VALUES
from unlearnbench.bench.errors import UserError
from unlearnbench.bench.records.load import load
from unlearnbench.bench.records.record import items_digest, write_record
from unlearnbench.bench.running.catalog import task_registry
from unlearnbench.bench.source import source_files
from unlearnbench.leaderboard.pages import page as page_module
from unlearnbench.leaderboard.pages.contents import read_contents
from unlearnbench.leaderboard.pages.site import make_site
from unlearnbench.leaderboard.plots.scatter import assign_styles
from unlearnbench.leaderboard.ranking import reported
from unlearnbench.leaderboard.ranking.reported import read_reported, reported_for, shipped
from unlearnbench.leaderboard.ranking.task_rows import rows

from .synthetic import build_page, make_record

HEADING = "Reported by papers, not measured here"
TABLE = """[[tables]]
tasks = ["nudity/*@sd14"]
title = "A table"
paper = "Somebody 2024"
url = "https://example.org/paper"
read = "table 1"
tag = "table"
protocol = "as in the paper"
differs = "everything"
columns = [{ metric = "UA", unit = "%", direction = "up", closest = "UA" }]

[tables.rows]
"method" = ["98.50"]
"""


def test_every_shipped_number_has_a_source_a_tag_and_a_task() -> None:
    ours = {name for names in VALUES.values() for name in names}
    assert len(shipped()) >= 5
    for table in shipped():
        assert table.tag == "table"
        assert table.url.startswith("https://")
        assert all((table.paper, table.read, table.protocol, table.differs))
        assert {column.closest for column in table.columns} <= ours | {""}
        for numbers in table.rows.values():
            for column, number in zip(table.columns, numbers, strict=True):
                most = 100 if column.unit == "%" else 1 if column.metric.startswith(("AS", "Acc")) else 10**4
                assert 0 <= float(number) <= most, (table.title, number)


def test_tables_are_of_tasks_that_are_here() -> None:
    tasks = list(task_registry())
    for table in shipped():
        worlds = {pattern.partition("@")[2] for pattern in table.tasks}
        if worlds & {task.partition("@")[2] for task in tasks}:
            assert any(table.is_of(task) for task in tasks), table.title
    assert [table.title for table in reported_for("nudity/nudity@sd14")] == [
        "Alignment after removing nudity"
    ]
    assert not reported_for("nudity/nudity@sdxl")
    assert not reported_for("classes/cat-face@emoji")


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ('tag = "table"', 'tag = "note"', r"tables\.0\.tag: .*'table' \(got 'note'\)"),
        ('tag = "table"\n', "", r"tables\.0\.tag: Field required"),
        ('url = "https:', 'url = "javascript:', r"tables\.0\.url: .*pattern"),
        ('read = "table 1"\n', "", r"tables\.0\.read: Field required"),
        ('"98.50"', "98.5", r"tables\.0\.rows\.method\.0: .*string"),
        ('"98.50"', '"about 98"', r"tables\.0\.rows\.method\.0: .*pattern"),
        ('"98.50"', '"98.50", "1"', r"tables\.0: .*rows: method: 2 numbers for 1 columns"),
        ("differs", "rank = 1\ndiffers", r"tables\.0\.rank: Extra inputs"),
    ],
)
def test_a_table_without_source_or_tag_does_not_enter(
    tmp_path: Path, old: str, new: str, complaint: str
) -> None:
    path = tmp_path / "reported.toml"
    path.write_text(TABLE, encoding="utf-8")
    [table] = read_reported(path)
    assert table.rows == {"method": ["98.50"]}
    path.write_text(TABLE.replace(old, new), encoding="utf-8")
    with pytest.raises(UserError, match=complaint) as caught:
        read_reported(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


def test_nothing_but_the_page_of_a_task_reads_reported_numbers() -> None:
    """Ranking, boards, exports and gate never reach the module, not even through another one."""
    folder = Path(leaderboard.__path__[0])
    readers = [p.stem for p in folder.rglob("*.py") if "reported import" in p.read_text("utf-8")]
    assert readers == ["page"]
    assert reported.__name__ in source_files(page_module.__name__)
    for name in (
        "leaderboard.ranking.task_rows",
        "leaderboard.ranking.board",
        "leaderboard.ranking.columns",
        "leaderboard.pages.exports",
        "leaderboard.pages.scopes",
        "leaderboard.ranking.board_rows",
        "leaderboard.ranking.choose",
        "bench.gate.check",
    ):
        reached = source_files(f"unlearnbench.{name}")
        assert reached
        assert reported.__name__ not in reached, name


class _Tables(HTMLParser):
    """Reads the text of a page's tables, one text a table, in their order."""

    def __init__(self) -> None:
        super().__init__()
        self.tables: list[str] = []
        self.inside = False

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        if tag == "table":
            self.tables.append("")
            self.inside = True

    def handle_endtag(self, tag: str) -> None:
        self.inside &= tag != "table"

    def handle_data(self, data: str) -> None:
        if self.inside:
            self.tables[-1] += data


def _records(folder: Path) -> Path:
    base = make_record("none")[0].task
    changed = {"family": "nudity", "concept": "nudity-142", "world": "sd14@1"}
    task = base.model_copy(update=changed | {"id": "nudity/nudity-142@sd14"})
    for method in ("none", "balanced"):
        record, items, sheet = make_record(
            method, task=task, sampling={"steps": 50, "captions": "COCO captions"}, cell=f"{method}-s0"
        )
        record = record.model_copy(update={"items_sha256": items_digest(items)})
        write_record(record, items, sheet, folder)
    return folder


def test_reported_numbers_stand_in_a_table_of_their_own_and_in_no_export(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = _records(tmp_path / "records")
    [table] = reported_for("nudity/nudity-142@sd14")
    page = unescape(build_page(folder, tmp_path / "with").read_text(encoding="utf-8"))
    site = make_site(read_contents(folder))
    assert page.count(HEADING) == 1
    assert all(part in page for part in (table.url, table.protocol, table.differs, table.read))
    tables = _Tables()
    tables.feed(page)
    holding = [text for text in tables.tables if "Pre-ASR" in text]
    assert len(holding) == 1
    assert all(number in holding[0] for number in table.rows["SalUn"])
    assert not any("SalUn" in text for text in tables.tables if text is not holding[0])
    assert "balanced" not in holding[0]
    monkeypatch.setattr(page_module, "reported_for", lambda task: ())
    build_page(folder, tmp_path / "without")
    for name in ("leaderboard.csv", "leaderboard.md", "leaderboard.parquet"):
        assert (tmp_path / "with" / name).read_bytes() == (tmp_path / "without" / name).read_bytes()
    plain = make_site(read_contents(folder))
    differing = {name for name in site if site[name] != plain[name]}
    assert differing == {"task-nudity-nudity-142-sd14.html"}
    assert HEADING in site["task-nudity-nudity-142-sd14.html"].decode()


def test_the_page_escapes_what_a_table_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    [table] = reported_for("nudity/nudity-142@sd14")
    hostile = table.model_copy(update={"title": "<script>alert(1)</script>", "rows": {"<b>x</b>": ["1"] * 4}})
    monkeypatch.setattr(page_module, "reported_for", lambda task: (hostile,))
    page = build_page(_records(tmp_path / "records"), tmp_path / "out").read_text(encoding="utf-8")
    assert "<script>alert(1)" not in page
    assert "<b>x</b>" not in page
    assert "&lt;b&gt;x&lt;/b&gt;" in page


def test_a_page_tells_how_many_captions_were_drawn(tmp_path: Path) -> None:
    folder = _records(tmp_path / "records")
    [row] = [r for r in rows(load(folder)) if r.method == "balanced"]
    items = row.source.items
    assert items is not None
    kept = items[(items["split"] == "retain") & (items["relation"] == "other")]
    count = kept["prompt_id"].nunique()
    assert 0 < count < len(kept)
    page = build_page(folder, tmp_path / "out").read_text(encoding="utf-8")
    assert f"<span>retained: {count} COCO captions</span>" in page
    sections = page_module._make_section("task-1", [row], assign_styles([row]), lambda entry: "")
    assert replace(sections, rows=()).captions == ""
