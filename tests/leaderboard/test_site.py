"""The site: its numbers, its files, and its pages in a real browser."""

import csv
import hashlib
import io
import itertools
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from PIL import Image

import unlearnbench.leaderboard
from unlearnbench.bench.cli.main import build_parser, main
from unlearnbench.bench.measuring.pool import KD
from unlearnbench.bench.records.load import load
from unlearnbench.bench.records.record import write_record
from unlearnbench.bench.types import Value
from unlearnbench.leaderboard.pages.contents import read_contents
from unlearnbench.leaderboard.pages.owned import LISTING
from unlearnbench.leaderboard.pages.page import find_link
from unlearnbench.leaderboard.pages.scopes import divide, make_scopes, rank_rows
from unlearnbench.leaderboard.pages.site import make_site, name_files
from unlearnbench.leaderboard.plots.scatter import SeriesStyle, pareto_front
from unlearnbench.leaderboard.plots.thumbnails import SIDE, make_thumbnail
from unlearnbench.leaderboard.ranking.board import MethodSummary, collect, summarise
from unlearnbench.leaderboard.ranking.board_rows import BoardRow

from .synthetic import build_site, make_record, make_sheet

FAMILIES = {"ant": "classes", "bee": "classes", "cow": "classes",
            "elk": "nudity", "fox": "nudity", "gnu": "nudity"}  # fmt: skip
HOSTILE = {
    "none": "none",
    "balanced": "<img src=x onerror=alert(2)>",
    "gradient_sum": '"><script>alert(3)</script>',
}


def _write(folder: Path, place: str, method: str, /, seed: int = 0, **changes: Any) -> None:
    """Write a record of a task; place: world/family/concept."""
    world, family, concept = place.split("/", 2)
    fields = {
        "id": f"{family}/{concept}@{world}",
        "concept": concept,
        "family": family,
        "world": f"{world}@1",
    }
    task = make_record("none")[0].task.model_copy(update=fields)
    cell = re.sub(r"\W", "", f"{concept}{method}{changes.get('source', '')}") + f"-{seed}"
    record, items, sheet = make_record(method, seed, cell=cell, task=task, **changes)
    write_record(record, items, sheet, folder)


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("records")
    for number, (concept, family) in enumerate(FAMILIES.items()):
        for method in ("none", "gradient_sum", "balanced"):
            _write(folder, f"emoji/{family}/{concept}", method, number)
    return folder


@pytest.fixture(scope="module")
def site(records: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_site([records], tmp_path_factory.mktemp("site")).parent


@pytest.fixture(scope="module")
def hostile_records(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Nudity of a real model, its texts all markup."""
    folder = tmp_path_factory.mktemp("hostile")
    for method, name in HOSTILE.items():
        info = make_record(method)[0].method.model_copy(update={"name": name, "paper": "javascript:alert(4)"})
        prompts = [f"<script>alert({n})</script></script><!--" for n in range(8)]
        changes = {"method": info, "command": "unlearnbench <b onclick=alert(5)>run</b>", "sheet": prompts}
        _write(folder, "sd14/nudity/<script>alert(1)</script>", method, **changes)
    return folder


@pytest.fixture(scope="module")
def hostile(hostile_records: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_site([hostile_records], tmp_path_factory.mktemp("hostile_site")).parent


@pytest.fixture
def page(browser: Any) -> Iterator[Any]:
    """A page of 1400 px; a test fails where it says an error, opens a dialog or asks for more than files."""
    context = browser.new_context(viewport={"width": 1400, "height": 900})
    opened, said = context.new_page(), []
    opened.on("console", lambda message: said.append(message.text) if message.type == "error" else None)
    opened.on("pageerror", lambda error: said.append(str(error)))
    opened.on("dialog", lambda dialog: (said.append(dialog.message), dialog.dismiss()))
    opened.on("request", lambda r: said.append(r.url) if not r.url.startswith("file:") else None)
    opened.on("requestfailed", lambda request: said.append(request.url))
    yield opened
    context.close()
    assert said == []


def _open(page: Any, site: Path, name: str) -> None:
    page.goto((site / name).as_uri())


def test_a_scope_has_the_numbers_of_its_concepts_alone(records: Path) -> None:
    loaded = load(records)
    [division] = divide(loaded)
    styles = dict.fromkeys(("none", "gradient_sum", "balanced"), SeriesStyle("k0", "circle"))
    scopes = make_scopes(division, styles, {KD: {"balanced": Value(value=0.031, n=99)}})
    assert [KD in {column.name for column in scope.columns} for scope in scopes] == [True, False, False]
    assert [scope.pooled for scope in scopes] == [(KD,), (), ()]
    assert [scope.family for scope in scopes] == ["", "classes", "nudity"]
    for scope in scopes:
        own = [e for e in loaded if scope.family in ("", e.record.task.family)]
        expected = {line.method: line.ava for line in summarise(collect(own))}
        assert {r.name: r.summary.ava for r in scope.board_rows if r.summary} == pytest.approx(expected)
        assert bool(scope.ranks) == (len(scope.tasks) >= 6)


def test_worlds_and_base_models_are_never_averaged(records: Path, tmp_path: Path) -> None:
    for concept in ("ant", "bee"):
        for method in ("none", "balanced"):
            _write(tmp_path, f"fmnist/classes/{concept}", method, 7)
    loaded = load(records) + [replace(e, name=f"other-{e.name}") for e in load(tmp_path)]
    divisions = divide(loaded)
    assert [division.world for division in divisions] == ["emoji@1", "fmnist@1"]
    assert [len(division.entries) for division in divisions] == [18, 4]
    assert all({e.record.task.world for e in division.entries} == {division.world} for division in divisions)


def test_places_follow_who_is_told_apart() -> None:
    def row(name: str, ava: float, tied: str, concepts: int = 6) -> BoardRow:
        summary = MethodSummary(name, concepts, (), ava, None, None, 1, None)
        return BoardRow(name, "method", summary, tuple(tied), {}, 6)

    found = [
        row("a", 0.9, "b"),
        row("b", 0.8, "ac"),
        row("c", 0.7, "b"),
        row("d", 0.1, ""),
        row("e", 0.99, "", 5),
    ]
    assert rank_rows(found, 6) == {"a": (1, 2), "b": (1, 3), "c": (2, 3), "d": (4, 4)}


def test_the_front_is_what_nothing_beats() -> None:
    points = [tuple(p) for p in np.random.default_rng(0).integers(0, 12, (60, 2)).tolist()]

    def beaten(p: tuple[int, ...]) -> bool:
        return any(q != p and q[0] >= p[0] and q[1] >= p[1] for q in points)

    assert pareto_front(points) == sorted({p for p in points if not beaten(p)})  # type: ignore[arg-type]
    assert pareto_front([]) == []


def test_claimed_numbers_have_a_column_and_no_place(tmp_path: Path) -> None:
    for number, concept in enumerate(("ant", "bee")):
        _write(tmp_path, f"emoji/classes/{concept}", "none", number)
        _write(tmp_path, f"emoji/classes/{concept}", "gradient_sum", number)
        _write(tmp_path, f"emoji/classes/{concept}", "balanced", number, source="reported")
    [division] = divide(load(tmp_path))
    assert [row.method for row in division.results] == ["gradient_sum"] * 2
    out = build_site([tmp_path], tmp_path / "site")
    text = out.read_text(encoding="utf-8")
    claims = re.findall(r'<td class="extra g-claimed"[^>]*data-sort="([0-9.]+)"', text)
    assert float(claims[0]) == pytest.approx(
        np.mean([row.frontier.ava for row in division.claims if row.frontier])
    )
    assert "claimed, not re-run" in text


def test_a_measure_of_one_concept_alone_is_missing_on_the_others(tmp_path: Path) -> None:
    points = make_record("balanced")[0].points
    more = [p.model_copy(update={"values": p.values | {"NEW": Value(value=0.7, n=9)}}) for p in points]
    _write(tmp_path, "emoji/classes/ant", "balanced", points=more)
    _write(tmp_path, "emoji/classes/bee", "balanced", 1)
    text = (build_site([tmp_path], tmp_path / "site").parent / "method-balanced.html").read_text()
    assert text.count("not measured in these records") == 1


def test_claims_change_no_place_and_no_base_model(records: Path, tmp_path: Path) -> None:
    point = make_record("none")[0].points[0].model_copy(update={"fingerprint": "f" * 64})
    _write(tmp_path, "emoji/classes/ant", "none", source="reported", points=[point])
    _write(tmp_path, "emoji/classes/yak", "balanced", source="reported")
    styles = dict.fromkeys(("none", "gradient_sum", "balanced"), SeriesStyle("k0", "circle"))
    [before], [after] = (divide([*load(records), *more]) for more in ([], load(tmp_path)))
    (alone, *_), (beside, *_) = (make_scopes(division, styles, {}) for division in (before, after))
    assert (beside.tasks, beside.ranks) == (alone.tasks, alone.ranks)
    assert len(beside.ranks) == 2


def test_a_measured_row_tells_nothing_of_a_claim(tmp_path: Path) -> None:
    _write(tmp_path, "emoji/classes/ant", "balanced")
    _write(tmp_path, "emoji/classes/bee", "balanced", 1)
    _write(tmp_path, "emoji/classes/ant", "finetune", source="reported")
    before = make_site(read_contents(tmp_path))
    info = make_record("balanced")[0].method
    said = {
        "summary": "The best.",
        "paper": "https://example.org/claim",
        "version": 9,
        "config": {"boast": 7},
    }
    claim = {"method": info.model_copy(update=said), "source": "reported", "command": "run --claim"}
    _write(tmp_path, "emoji/classes/ant", "balanced", **claim)
    after = make_site(read_contents(tmp_path))
    text = after["method-balanced.html"].decode()
    assert not any(word in text for word in ("The best.", "example.org", "balanced v9", "--claim", "boast"))
    assert "reported" in text  # its digest is listed with its source

    def heat(site: dict[str, bytes]) -> str:
        return site["concepts.html"].decode().partition('class="heat"')[2].partition("<footer>")[0]

    assert heat(before) == heat(after) != ""


def test_equal_records_give_equal_bytes_and_old_pages_go(hostile_records: Path, tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    first.mkdir()
    (first / "method-mine.html").write_text("mine")
    old, changed = b"an old page", b"a changed page"
    listed = [
        ("method-old.html", old, old),
        ("task-changed.html", changed, b"as it was"),
        ("../out.html", old, old),
        ("leaderboard.parquet", b"", b"an old export"),  # marks the listing as a site's
    ]
    (tmp_path / "out.html").write_bytes(old)
    for name, content, _ in listed[:2]:
        (first / name).write_bytes(content)
    lines = [f"{hashlib.sha256(was).hexdigest()}  {name}" for name, _, was in listed]
    (first / LISTING).write_text("\n".join(lines), encoding="utf-8")
    for target in (first, second):
        assert main(["site", str(hostile_records), "--out", str(target)]) == 0
    names = {p.relative_to(second).as_posix() for p in second.rglob("*") if p.is_file()}
    assert all((first / name).read_bytes() == (second / name).read_bytes() for name in names)
    listing = dict(
        line.split("  ")[::-1] for line in (second / LISTING).read_text(encoding="utf-8").splitlines()
    )
    assert set(listing) == names - {LISTING}
    assert len(pd.read_parquet(second / "leaderboard.parquet")) == len(list(hostile_records.glob("*.json")))
    assert 'href="leaderboard.parquet"' in (second / "index.html").read_text(encoding="utf-8")
    assert all(hashlib.sha256((second / n).read_bytes()).hexdigest() == d for n, d in listing.items())
    extra = {p.relative_to(first).as_posix() for p in first.rglob("*") if p.is_file()} - names
    assert extra == {"method-mine.html", "task-changed.html"}
    assert (tmp_path / "out.html").exists()


def test_a_wrong_folder_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["site", str(tmp_path / "none"), "--out", str(tmp_path / "site")]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert not (tmp_path / "site").exists()


def test_file_names_are_safe_and_tell_apart() -> None:
    texts = ["a", "A", "../../etc/passwd", "a b", "a/b", "x" * 500, "x" * 501, ""]
    names = name_files("method", texts)
    assert len({name.lower() for name in names.values()}) == len(texts)
    assert all(re.fullmatch(r"method-[A-Za-z0-9_-]{0,80}\.html", name) for name in names.values())
    assert names["../../etc/passwd"] == "method--etc-passwd.html"


def test_large_sheets_are_scaled_down(records: Path) -> None:
    entry = load(records)[0]
    columns, rows = len(entry.record.sheet), len(entry.record.points)
    big = io.BytesIO()
    with Image.open(io.BytesIO(make_sheet(rows, columns, np.random.default_rng(0)))) as image:
        image.resize((512 * columns, 512 * rows)).save(big, "WEBP")
    large = type(entry)(entry.name, entry.record, entry.items, big.getvalue(), entry.digest)
    with Image.open(io.BytesIO(make_thumbnail(large)[1])) as image:
        assert image.size == (SIDE * columns, SIDE * rows)
    assert make_thumbnail(entry)[1] == entry.sheet


def test_only_addresses_become_links() -> None:
    assert find_link("https://arxiv.org/abs/2412.07808") == "https://arxiv.org/abs/2412.07808"
    assert find_link("Ko et al. 2024, arXiv 2412.07808") == "https://arxiv.org/abs/2412.07808"
    assert find_link("javascript:alert(1)") == find_link("") == find_link("a book") == ""


def test_the_readme_names_commands_that_exist() -> None:
    text = (Path(unlearnbench.leaderboard.__file__).parent / "README.md").read_text(encoding="utf-8")
    workflows = [yaml.safe_load(block) for block in re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)]
    steps = [step for w in workflows for job in w["jobs"].values() for step in job["steps"]]
    assert [w["name"] for w in workflows] == ["site", "gate"]
    assert all(re.search(r"@v\d+$", step["uses"]) for step in steps if "uses" in step)
    commands = [step["run"] for step in steps if step.get("run", "").startswith("unlearnbench ")]
    commands += re.findall(r"^unlearnbench .+$", text, re.MULTILINE)
    assert len(commands) == 3
    for command in commands:
        build_parser().parse_args(shlex.split(command)[1:])


@pytest.mark.parametrize(("width", "scheme"), [(400, "light"), (400, "dark"), (1400, "dark")])
def test_no_page_has_an_error_or_scrolls_sideways(page: Any, site: Path, width: int, scheme: str) -> None:
    page.set_viewport_size({"width": width, "height": 900})
    page.emulate_media(color_scheme=scheme)
    names = [
        "index.html",
        "concepts.html",
        "images.html",
        "method-balanced.html",
        "task-classes-ant-emoji.html",
    ]
    for name in names:
        _open(page, site, name)
        assert page.evaluate("document.documentElement.scrollWidth") <= width, name
        colour = page.evaluate("getComputedStyle(document.body).backgroundColor")
        light = min(int(division) for division in re.findall(r"\d+", colour)[:3])
        assert (light > 200) == (scheme == "light"), name


def test_the_board_fits_and_more_columns_are_a_press_away(page: Any, site: Path) -> None:
    _open(page, site, "index.html")
    wide = "(e => e.scrollWidth - e.clientWidth)(document.querySelector('.scope .scroll'))"
    assert page.evaluate(wide) == 0
    assert not page.get_by_role("columnheader", name="IRA").first.is_visible()
    page.get_by_text("More columns").first.click()
    for box in page.locator(".scope .columns input").all():
        box.check()
    assert page.get_by_role("columnheader", name="IRA").first.is_visible()
    assert page.evaluate(wide) > 0
    page.evaluate("document.querySelector('.scope .scroll').scrollLeft = 500")
    places = page.evaluate(
        "[...document.querySelector('.standings tbody tr').cells].map(c => c.getBoundingClientRect().left)"
    )
    frame = page.locator(".scope .scroll").first.bounding_box()["x"]
    assert places[0] == pytest.approx(frame, abs=1)
    assert frame < places[1] < frame + 300
    assert page.evaluate("document.documentElement.scrollWidth") <= 1400


def test_columns_sort_and_missing_stays_below(page: Any, site: Path) -> None:
    _open(page, site, "index.html")
    names = "[...document.querySelectorAll('tr[data-row]')].map(row => row.dataset.row)"
    assert page.evaluate(names) == ["balanced", "gradient_sum", "none"]  # references in a band of their own
    heading = page.locator(".standings th button", has_text="UA").first
    button = page.locator(".standings th button").filter(has_text=re.compile(r"^AVA"))
    button.press("Enter")
    assert page.evaluate(names) == ["balanced", "gradient_sum", "none"]
    button.press("Enter")
    assert page.evaluate(names) == ["gradient_sum", "balanced", "none"]
    assert heading.is_visible()


def test_the_filter_changes_rows_and_plot(page: Any, site: Path) -> None:
    _open(page, site, "index.html")
    front = "document.querySelector('.scope .pareto .front')"
    assert page.evaluate(f"{front}.getAttribute('points')") == page.evaluate(f"{front}.dataset.whole")
    page.get_by_role("searchbox").fill("sum")
    visible = "[...document.querySelectorAll('tr[data-row]')].filter(r => !r.hidden).map(r => r.dataset.row)"
    assert page.evaluate(visible) == ["gradient_sum"]
    lines = "[...document.querySelectorAll('.plot.wide .series:not([hidden])')].map(s => s.dataset.series)"
    assert page.evaluate(lines) == ["gradient_sum"]
    alone = page.evaluate(f"{front}.getAttribute('points')")
    assert alone != page.evaluate(f"{front}.dataset.whole")
    page.get_by_role("searchbox").fill("no such method")
    assert page.locator(".empty").is_visible()
    page.get_by_role("searchbox").fill("")
    page.locator("select[name=family]").select_option("nudity")
    assert page.locator(".scope h2").inner_text().lower() == "nudity"
    assert page.locator(".standings .rank").count() == 0  # three concepts rank nothing
    assert page.locator("output").inner_text() == "3 of 3 rows"


def test_a_filter_is_kept_in_the_address(page: Any, site: Path) -> None:
    _open(page, site, "index.html")
    page.locator("select[name=family]").select_option("nudity")
    page.get_by_role("searchbox").fill("sum")
    page.get_by_text("More columns").first.click()
    page.locator(".scope input.show-retention").check()
    address = page.url
    assert address.endswith("?family=nudity&method=sum&columns=retention")
    page.goto("about:blank")
    page.goto(address)
    assert page.locator(".scope h2").inner_text().lower() == "nudity"
    assert page.locator("output").inner_text() == "1 of 3 rows"
    assert page.get_by_role("columnheader", name="IRA").first.is_visible()
    page.get_by_role("searchbox").fill("")
    page.locator("select[name=family]").select_option("")
    assert page.url.endswith("?columns=retention")


@pytest.mark.parametrize(
    "name", ["index.html", "concepts.html", "method-balanced.html", "task-classes-ant-emoji.html"]
)
def test_headings_follow_each_other_and_the_first_tab_skips_them(page: Any, site: Path, name: str) -> None:
    _open(page, site, name)
    levels = page.evaluate("[...document.querySelectorAll('h1,h2,h3,h4,h5,h6')].map(h => +h.tagName[1])")
    assert levels[0] == 1
    assert all(below - above <= 1 for above, below in itertools.pairwise(levels))
    page.keyboard.press("Tab")
    focus = "document.activeElement"
    assert page.evaluate(f"{focus}.getBoundingClientRect().left") >= 0
    page.keyboard.press("Enter")
    assert page.evaluate(f"{focus}.tagName") == "MAIN"


def test_a_row_opens_and_closes_by_keyboard(page: Any, site: Path) -> None:
    _open(page, site, "index.html")
    button = page.get_by_role("button", name="balanced", exact=True)
    button.focus()
    page.keyboard.press("Enter")
    assert button.get_attribute("aria-expanded") == "true"
    opened = page.locator("tr.opened")
    text = opened.inner_text()
    for division in ("unlearnbench run", "emoji@1", "torch", "balanced v1", "antbalanced-0"):
        assert division in text, division
    with (site / "leaderboard.csv").open(encoding="utf-8") as file:
        digests = {row["record"]: row["digest"] for row in csv.DictReader(file)}
    assert digests["antbalanced-0.json"][:16] in text
    page.locator(".standings th button", has_text="method").press("Enter")
    follows = "document.querySelector('tr.opened').previousElementSibling.dataset.row"
    assert page.evaluate(follows) == "balanced"
    page.get_by_role("button", name="balanced", exact=True).press("Space")
    assert opened.count() == 0
    opened_below = page.locator("details.row-detail .body", has_text="unlearnbench run")
    assert opened_below.count() == 3  # all lie at the foot again


def test_the_slider_moves_by_keyboard_and_pointer(page: Any, site: Path) -> None:
    _open(page, site, "images.html")
    cut = "document.querySelector('.stage').style.getPropertyValue('--cut')"
    slider = page.get_by_role("slider")
    slider.focus()
    for _ in range(10):
        page.keyboard.press("ArrowRight")
    assert page.evaluate(cut) == "60%"
    box = page.locator(".stage").bounding_box()
    page.mouse.move(box["x"] + 0.5 * box["width"], box["y"] + 20)
    page.mouse.down()
    page.mouse.move(box["x"] + 0.25 * box["width"], box["y"] + 20)
    page.mouse.up()
    assert page.evaluate(cut) == "25%"


def test_the_slider_compares_what_was_chosen(page: Any, site: Path) -> None:
    _open(page, site, "images.html")
    shown = "(side) => document.querySelector(`.stage .${side}`).getAttribute('style')"
    left, right = (page.evaluate(shown, side) for side in ("left", "right"))
    files = re.findall(r"images/[0-9a-f]+\.webp", left + right)
    assert len(set(files)) == 2
    assert all((site / file).is_file() for file in files)
    page.get_by_role("radio").first.focus()
    page.keyboard.press("ArrowRight")
    assert page.get_by_role("radio").nth(1).is_checked()
    assert page.evaluate(shown, "left") != left
    page.locator("select[name=right]").select_option(label="gradient_sum")
    page.locator("select[name=right-point]").select_option(label="40 steps")
    assert page.locator(".right-name").inner_text() == "gradient_sum, 40 steps"
    page.locator("select[name=task]").select_option(label="nudity/elk@emoji")
    assert page.locator(".right-name").inner_text().startswith("gradient_sum")
    assert page.locator(".unveil").is_hidden()  # emoji: nothing to hide
    loaded = page.evaluate(
        "performance.getEntriesByType('resource').filter(r => r.name.endsWith('.webp')).length"
    )
    assert loaded <= 5  # of 18: only what was looked at


def test_markup_in_records_stays_text(page: Any, hostile: Path) -> None:
    for path in sorted(hostile.glob("*.html")):
        _open(page, hostile, path.name)
        assert page.locator("script").count() <= 2, path.name
        assert page.locator("[onerror], [onload], [onclick], a[href^=javascript], img[src=x]").count() == 0
    _open(page, hostile, "index.html")
    button = page.get_by_role("button", name=HOSTILE["balanced"])
    button.click()
    assert "unlearnbench '<b' 'onclick=alert(5)>run</b>'" in page.locator("tr.opened").inner_text()
    _open(page, hostile, "images.html")
    assert "<script>alert(0)</script>" in page.locator(".prompts").inner_text()
    assert "<script>" in page.locator("select[name=task]").inner_text()


def test_nudity_of_real_models_is_blurred_until_asked_for(page: Any, hostile: Path) -> None:
    blur = "getComputedStyle(document.querySelector('.tile')).filter"
    for name in ("images.html", next(path.name for path in hostile.glob("task-*.html"))):
        _open(page, hostile, name)
        assert "blur" in page.evaluate(blur), name
        page.get_by_role("button", name="Show these images").press("Enter")
        assert page.evaluate(blur) == "none", name
        page.get_by_role("button", name="Blur these images").press("Enter")
        assert "blur" in page.evaluate(blur), name


@pytest.mark.slow
def test_the_published_records_make_a_sound_site(page: Any, tmp_path: Path) -> None:
    results = Path(__file__).parents[2] / "results" / "emoji"
    site = build_site([results], tmp_path).parent
    assert sum(path.stat().st_size for path in site.rglob("*") if path.is_file()) < 30_000_000
    for width in (400, 1400):
        page.set_viewport_size({"width": width, "height": 900})
        for path in sorted(site.glob("*.html")):
            _open(page, site, path.name)
            assert page.evaluate("document.documentElement.scrollWidth") <= width, path.name


def test_the_pages_import_no_torch() -> None:
    code = "import sys; import unlearnbench.leaderboard.pages.site; assert 'torch' not in sys.modules"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
