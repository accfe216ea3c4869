"""The documentation site: every folder's page is on it, links hold, search finds words, nothing is loaded."""

import importlib.util
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
BUILD = ROOT / ".docs" / "build.py"


@pytest.fixture(scope="module")
def builder() -> Any:
    spec = importlib.util.spec_from_file_location("docs_build", BUILD)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("material")
    out = tmp_path_factory.mktemp("site")
    subprocess.run([sys.executable, str(BUILD), str(out)], check=True, capture_output=True)
    return out


def test_every_page_of_the_repository_is_in_the_navigation(builder: Any) -> None:
    settings = yaml.safe_load((ROOT / ".docs" / "mkdocs.yml").read_text())
    named = set(builder.list_pages(settings["nav"]))
    folders = ("bench", "leaderboard", "methods", "results", "tasks", "tests/benchmarks")
    there = {p.relative_to(ROOT).as_posix() for f in folders for p in (ROOT / f).rglob("README.md")}
    assert there <= named
    assert all((ROOT / page).is_file() for page in named)


def test_links_to_pages_stay_and_links_to_code_become_paths(builder: Any) -> None:
    pages, pictures = {"README.md", "bench/README.md", "bench/gate/README.md"}, set[Path]()
    links = ("[gate](gate/README.md#rules)", "[gate](gate/)", "[code](types.py)", "[web](https://a.org)")
    text = " ".join([*links, "![x](../leaderboard/example.webp)"])
    found = builder.rewrite("bench/README.md", text + "\n```\n[code](types.py)\n```\n", pages, pictures)
    assert "[gate](../bench/gate/README.md#rules) [gate](../bench/gate/README.md)" in found
    assert "code (`bench/types.py`)" in found
    assert "[web](https://a.org)" in found
    assert "```\n[code](types.py)\n```" in found, "what is quoted stays"
    assert pictures == {Path("leaderboard/example.webp")}


def test_the_site_has_its_pages_and_a_search_index(site: Path) -> None:
    assert "unlearnbench" in (site / "index.html").read_text()
    assert (site / "bench" / "gate" / "index.html").is_file()
    assert (site / "leaderboard" / "example.webp").is_file()
    index = json.loads((site / "search" / "search_index.json").read_text())
    assert any("Holm" in entry["text"] for entry in index["docs"])


def test_no_page_loads_anything_from_another_host(site: Path) -> None:
    loads = re.compile(
        r"<(?:script|img|iframe)[^>]+src=[\"']?(https?:)?//|<link[^>]+rel=[\"']?(?:stylesheet|preconnect)[^>]+https?://"
    )
    for page in site.rglob("*.html"):
        assert not loads.search(page.read_text()), page


@pytest.mark.parametrize("width", [400, 1280])
def test_pages_fit_their_width(site: Path, browser: Any, width: int) -> None:
    page = browser.new_page(viewport={"width": width, "height": 900})
    for name in ("index.html", "methods/index.html", "tasks/index.html"):
        page.goto((site / name).as_uri(), wait_until="domcontentloaded")
        assert page.evaluate("document.documentElement.scrollWidth") <= width, name
    page.close()


def test_words_in_tables_stay_whole_on_a_phone(site: Path, browser: Any) -> None:
    page = browser.new_page(viewport={"width": 400, "height": 900})
    page.goto((site / "tasks" / "index.html").as_uri(), wait_until="domcontentloaded")
    word = page.locator("td code", has_text=re.compile(r"^celebrities$")).first
    assert word.evaluate("e => e.getClientRects().length") == 1
    page.close()


def test_a_board_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    command = [sys.executable, str(BUILD), str(tmp_path / "site"), str(tmp_path / "nowhere")]
    made = subprocess.run(command, capture_output=True, text=True, check=False)
    assert made.returncode == 2
    assert "nowhere" in made.stderr
    assert "Traceback" not in made.stderr
