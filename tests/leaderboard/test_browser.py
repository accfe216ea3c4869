"""The pages in a real browser: no console error, nothing wider than the window, tables that sort."""

from pathlib import Path
from typing import Any

import pytest

from unlearnbench.bench.records.record import write_record

from .synthetic import build_page, make_record

WIDTHS = (400, 1400)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The pages of a small board: its index and a page a task."""
    records = tmp_path_factory.mktemp("records")
    base = make_record("none")[0].task
    for number, concept in enumerate(("ant", "bee", "cow")):
        task = base.model_copy(update={"id": f"classes/{concept}@emoji", "concept": concept})
        for method in ("none", "placebo", "gradient_sum", "balanced"):
            cell = f"{concept}-{method}"
            record, items, sheet = make_record(method, number, cell=cell, task=task)
            write_record(record, items, sheet, records)
    return build_page(records, records / "leaderboard").parent


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", WIDTHS)
def test_no_page_has_an_error_or_scrolls_sideways(browser: Any, site: Path, width: int, scheme: str) -> None:
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
    page = context.new_page()
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("requestfailed", lambda request: said.append(request.url))
    for path in sorted(site.glob("*.html")):
        page.goto(path.as_uri())
        assert page.evaluate("document.documentElement.scrollWidth") <= width, path.name
        broken = page.evaluate("[...document.images].filter(i => i.complete && !i.naturalWidth).length")
        assert broken == 0, path.name
    context.close()
    assert said == []


def test_dark_is_dark(browser: Any, site: Path) -> None:
    colours = {}
    for scheme in ("light", "dark"):
        context = browser.new_context(color_scheme=scheme)
        page = context.new_page()
        page.goto((site / "index.html").as_uri())
        colour = page.evaluate("getComputedStyle(document.body).backgroundColor")
        colours[scheme] = [int(part) for part in colour.strip("rgba()").split(",")[:3]]
        context.close()
    assert max(colours["dark"]) < 80 < 200 < min(colours["light"])


def test_a_click_on_a_heading_sorts_the_table(browser: Any, site: Path) -> None:
    page = browser.new_page()
    page.goto(next(iter(sorted(site.glob("task-*.html")))).as_uri())
    heading = page.locator(".board table th button").filter(has_text="UA").first
    cells = "document.querySelector('.board table tbody').innerText"
    before = page.evaluate(cells)
    heading.click()
    once = page.evaluate(cells)
    heading.click()
    twice = page.evaluate(cells)
    page.close()
    assert once != twice
    assert sorted(once.split()) == sorted(before.split())


def test_captions_stand_over_their_images(browser: Any, site: Path) -> None:
    page = browser.new_page(viewport={"width": 1400, "height": 900})
    left = "(selector) => [...document.querySelectorAll(selector)].map(e => e.getBoundingClientRect().left)"
    page.goto(next(iter(sorted(site.glob("task-*.html")))).as_uri())
    captions = page.evaluate(left, ".gallery .captions .caption")
    tiles = page.evaluate(left, ".gallery .strip:nth-of-type(1) ~ .strip .tile")[: len(captions)]
    assert len(captions) == 8
    assert captions == pytest.approx(tiles, abs=2)
    page.goto((site / "index.html").as_uri())
    spans, images = page.evaluate(left, ".strips .captions span"), page.evaluate(left, ".strips img")
    assert spans[0] == pytest.approx(images[0], abs=2)
    assert spans[1] - spans[0] == pytest.approx(64, abs=1)
    page.close()


def test_names_of_many_rows_pick_what_is_drawn_strongly(browser: Any, tmp_path: Path) -> None:
    base = make_record("none")[0].task
    for concept in ("ant", "bee"):
        task = base.model_copy(update={"id": f"classes/{concept}@emoji", "concept": concept})
        for method in ["none", *(f"m{number:02}" for number in range(12))]:
            own = "none" if method == "none" else "balanced"
            record, items, sheet = make_record(own, cell=f"{concept}-{method}", task=task)
            named = record.method.model_copy(update={"name": method})
            write_record(record.model_copy(update={"method": named}), items, sheet, tmp_path)
    page = browser.new_page()
    page.goto((build_page(tmp_path, tmp_path / "leaderboard")).as_uri())
    strong = (
        "new Set([...document.querySelectorAll('#frontiers .series:not(.faint)')].map(e => e.dataset.series))"
    )
    first = page.evaluate(f"[...{strong}]")
    page.locator(".legend button", has_text="m11").click()
    assert set(page.evaluate(f"[...{strong}]")) == {*first, "m11"}
    for name in [*first, "m11"]:
        page.locator(".legend button", has_text=name).press("Enter")
    assert page.evaluate("document.querySelectorAll('#frontiers .faint').length") == 0
    page.close()
    assert first == ["m00", "m01", "m02", "m03"]
