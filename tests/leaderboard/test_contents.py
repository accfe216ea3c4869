"""The single page and the site are made of the same contents: read once, with one scope's numbers."""

import re
from pathlib import Path

import pytest

from unlearnbench.bench.records import load as load_module
from unlearnbench.leaderboard.pages.contents import read_contents
from unlearnbench.leaderboard.pages.site import make_page, make_site

from .synthetic import make_record, write


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    base = make_record("none")[0].task
    for number, concept in enumerate(("ant", "bee")):
        task = base.model_copy(update={"id": f"classes/{concept}@emoji", "concept": concept})
        for method in ("none", "gradient_sum", "balanced"):
            write(tmp_path, method, number, cell=f"{concept}-{method}", task=task)
    write(tmp_path / "claimed", "finetune", 7, cell="claim", task=task, source="reported")
    return tmp_path


def _cells(page: bytes) -> list[str]:
    """Return the cells of the first board table of a page, without the cells of names."""
    [table] = re.findall(r'<table class="standings[^"]*">.*?</table>', page.decode(), re.DOTALL)[:1]
    return re.findall(r"<td.*?</td>", table, re.DOTALL)


def test_the_page_and_the_site_show_the_same_board(folder: Path) -> None:
    contents = read_contents(folder)
    page, site = make_page(contents), make_site(contents)
    assert _cells(page["index.html"]) == _cells(site["index.html"]) != []
    for name in ("leaderboard.csv", "leaderboard.md", "leaderboard.parquet"):
        assert page[name] == site[name]
    assert {name for name in page if name.startswith("task-")} == {
        name for name in site if name.startswith("task-")
    }


def test_the_page_holds_its_images_and_the_site_has_files(folder: Path) -> None:
    contents = read_contents(folder)
    page, site = make_page(contents), make_site(contents)
    assert not any(name.startswith("images/") for name in page)
    assert any(name.startswith("images/") for name in site)
    task = next(name for name in page if name.startswith("task-"))
    assert b"data:image/webp" in page[task]
    assert b"data:image/webp" not in site[task]
    assert b"img-src data:;" in page["index.html"]


def test_every_record_is_read_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []
    original = load_module.load_one
    monkeypatch.setattr(load_module, "load_one", lambda path: (read.append(path.name), original(path))[1])
    contents = read_contents([folder, folder])
    make_page(contents)
    assert sorted(read) == sorted(path.name for path in folder.rglob("*.json"))
    assert len(contents.records) == 6
    assert len(contents.entries) == 7
