"""The page: self-contained, escaped, the same for the same records, and honest about what is missing."""

import base64
import html
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from unlearnbench.bench.errors import UserError
from unlearnbench.bench.types import Value, missing
from unlearnbench.leaderboard.templating import flatten

from .synthetic import METHODS, build_page, make_record, write, write_failed

OWN = "unlearnbench run --task classes/cat_face@emoji --method balanced --seeds 0 --threads 2"
"""What the record itself says, in place of a command that was edited."""
VOID = {"meta", "input", "br", "wbr", "img", "link", "hr"}


class Page(HTMLParser):
    """A parsed page: its elements as (tag, attributes), and whether every tag is closed in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.open: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {key: value or "" for key, value in attrs}))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {key: value or "" for key, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def having(self, attribute: str) -> list[str]:
        return [attrs[attribute] for _, attrs in self.elements if attribute in attrs]

    def count(self, tag: str) -> int:
        return sum(name == tag for name, _ in self.elements)


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("records")
    for method in METHODS:
        write(folder, method)
    write_failed(folder, "MemoryError: at step 12")
    return folder


@pytest.fixture(scope="module")
def text(records: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    return build_page(records, tmp_path_factory.mktemp("board")).read_text(encoding="utf-8")


def build_one(folder: Path, method: str = "balanced", /, **changes: Any) -> str:
    write(folder / "records", method, **changes)
    return build_page(folder / "records", folder / "board").read_text(encoding="utf-8")


def with_value(name: str, value: Value) -> dict[str, Any]:
    """Return changes that give every point of `balanced` one more value."""
    points = make_record("balanced")[0].points
    return {"points": [p.model_copy(update={"values": {**p.values, name: value}}) for p in points]}


def test_it_is_well_formed_and_every_link_has_a_target(text: str) -> None:
    page = Page(text)
    assert page.open == []
    ids = page.having("id")
    assert len(ids) == len(set(ids))
    anchors = {link[1:] for link in page.having("href") if link.startswith("#")}
    assert anchors
    assert anchors <= set(ids)


def test_it_asks_for_nothing_from_outside(text: str) -> None:
    page = Page(text)
    assert {link for link in page.having("href") if not link.startswith(("#", "data:"))} == {
        "leaderboard.csv",
        "leaderboard.parquet",
        "leaderboard.md",
        "SHA256SUMS",
    }
    assert page.having("src") == []
    (icon,) = [link for link in page.having("href") if link.startswith("data:")]
    assert icon.startswith("data:image/svg+xml,")
    assert page.count("link") == 1, "its icon, which is in the page itself"
    targets = re.findall(r"url\(([^)]{0,30})", text)
    assert targets
    assert all(target.startswith("data:image/webp;base64,") for target in targets)
    assert "@import" not in text


def test_equal_records_give_equal_bytes(records: Path, tmp_path: Path) -> None:
    shutil.copytree(records, tmp_path / "moved")
    first, second = build_page(records, tmp_path / "a"), build_page(tmp_path / "moved", tmp_path / "b")
    names = ["SHA256SUMS", "index.html", "leaderboard.csv", "leaderboard.md", "leaderboard.parquet"]
    assert sorted(path.name for path in first.parent.iterdir()) == names
    for name in names:
        assert first.with_name(name).read_bytes() == second.with_name(name).read_bytes()


def test_text_of_records_stays_text(tmp_path: Path) -> None:
    evil = "</title></style></script><script>alert(1)</script><b onclick='x'>\"'"
    record = make_record("balanced")[0]
    point = record.points[3]
    points = [
        point.model_copy(
            update={"index": i, "label": f"{evil}{i}", "note": evil, "values": {**point.values, evil: value}}
        )
        for i, value in enumerate((Value(value=0.5, low=0.4, high=0.6), missing(evil)))
    ]
    task = record.task.model_copy(
        update={"id": evil, "family": evil, "concept": evil, "anchor": evil, "judge": evil, "world": evil}
    )
    method = record.method.model_copy(
        update={"name": evil, "summary": evil, "paper": evil, "config": {evil: evil}}
    )
    write(
        tmp_path / "records", "balanced", task=task, method=method, points=points, items_sha256=None,
        sheet=[], interval=evil, command=evil, commit=evil, environment={evil: {evil: evil}},
        sampling={evil: evil}, metrics={evil: 1}, log={evil: [1.0, 2.0]}, created=evil, status="failed",
        error=evil,
    )  # fmt: skip
    (tmp_path / "records" / f"{record.cell}.parquet").unlink()
    page = Page(build_page(tmp_path / "records", tmp_path / "board").read_text(encoding="utf-8"))
    assert page.open == []
    assert page.count("script") == 1
    assert page.count("style") == 1
    assert page.having("onclick") == []
    assert not [attrs for tag, attrs in page.elements if tag == "b" and attrs]


def test_prompts_on_the_sheet_stay_text(tmp_path: Path) -> None:
    prompts = ['"><script>alert(1)</script>'] * 8
    page = Page(build_one(tmp_path, sheet=prompts))
    assert page.count("script") == 1
    assert any(prompts[0] in label for label in page.having("aria-label"))


def test_missing_is_named_with_its_reason_and_never_a_number(tmp_path: Path) -> None:
    text = build_one(tmp_path, **with_value("KID", missing("no reference images")))
    cells = re.findall(r"<td[^>]*missing[^>]*>.*?</td>", text)
    [cell] = [cell for cell in cells if "no reference images" in cell]
    assert 'title="no reference images"' in cell
    assert "data-sort" not in cell
    assert ">missing<" in cell


def test_a_failed_run_shows_its_error(text: str) -> None:
    assert "failed: MemoryError: at step 12" in text


def test_a_point_that_did_not_reach_is_marked(tmp_path: Path) -> None:
    assert "did not reach .95</span>" in build_one(tmp_path, "finetune")
    assert "did not reach .95</span>" not in build_one(tmp_path / "other", "none")


def test_a_collapsed_point_is_marked(tmp_path: Path) -> None:
    assert ">collapsed</span>" in build_one(tmp_path, **with_value("collapse", Value(value=0.1)))
    assert ">collapsed</span>" not in build_one(tmp_path / "b", **with_value("collapse", Value(value=0.9)))


def names_of_columns(text: str) -> list[str]:
    head = text[text.index('<tr class="names">') : text.index("</thead>")]
    return re.findall(r"<button[^>]*>([^<]+)", head)


def test_fid_has_a_column_only_where_it_was_measured(tmp_path: Path) -> None:
    assert "FID" not in names_of_columns(build_one(tmp_path / "a"))
    without = build_one(tmp_path / "b", **with_value("FID", missing("no Inception weights")))
    assert "FID" not in names_of_columns(without)
    assert "No column FID: no Inception weights." in without
    assert "FID" in names_of_columns(build_one(tmp_path / "c", **with_value("FID", Value(value=31.2, n=9))))


def test_a_metric_of_a_third_party_gets_a_column(tmp_path: Path) -> None:
    text = build_one(tmp_path, **with_value("sharp_ness", Value(value=0.4321, low=0.4, high=0.5)))
    assert "sharp ness" in names_of_columns(text)
    assert ">0.432<" in text


def test_intervals_carry_their_label_and_the_page_its_caution(text: str) -> None:
    assert "cover\nprompts and noise, one training run" in text
    assert "What this can and cannot say." in text


def test_images_are_the_records_own_and_the_base_comes_first(records: Path, text: str) -> None:
    found = re.findall(r"data:image/webp;base64,([^)]+)\)", text)
    order = ("none", "placebo", "balanced", "finetune", "gradient_sum")
    sheets = [next(records.glob(f"*--{method}--0--*.webp")).read_bytes() for method in order]
    assert [base64.b64decode(part) for part in found] == sheets


def test_a_point_of_each_strip_can_be_chosen(text: str) -> None:
    radios = [attrs for tag, attrs in Page(text).elements if tag == "input" and attrs["type"] == "radio"]
    per_strip = [sum(r["name"] == name for r in radios) for name in dict.fromkeys(r["name"] for r in radios)]
    assert per_strip == [3, 4, 4, 4]  # the base has one point and nothing to choose
    assert sum("checked" in attrs for attrs in radios) == 4


def test_prompts_that_a_sheet_lacks_are_told(tmp_path: Path) -> None:
    write(tmp_path / "records", "none")
    prompts = list(make_record("none")[0].sheet)
    text = build_one(tmp_path, sheet=[*prompts[:-1], "another prompt"])
    assert text.count("not on its sheet") == 1


def test_seeds_have_their_own_rows(tmp_path: Path) -> None:
    write(tmp_path / "records", "balanced", seed=0)
    text = build_one(tmp_path, seed=1)
    assert "balanced · seed 0" in text
    assert "balanced · seed 1" in text
    assert "they are not averaged" in text


def test_tasks_have_their_own_tables(records: Path, tmp_path: Path) -> None:
    shutil.copytree(records, tmp_path / "records")
    task = make_record("none")[0].task.model_copy(
        update={"id": "styles/openmoji@emoji", "concept": "openmoji"}
    )
    text = build_one(tmp_path, "none", task=task, cell="styles-openmoji")
    assert re.findall(r"<h2[^>]*>Forget <em>([^<]+)", text) == ["cat face", "openmoji"]
    assert '<li><a href="#task-2">styles/openmoji@emoji</a></li>' in text


def test_a_broken_record_leaves_the_old_page_alone(records: Path, tmp_path: Path) -> None:
    shutil.copytree(records, tmp_path / "records")
    page = build_page(tmp_path / "records", tmp_path / "board")
    before = page.read_bytes()
    next((tmp_path / "records").glob("*.parquet")).unlink()
    with pytest.raises(UserError):
        build_page(tmp_path / "records", tmp_path / "board")
    assert page.read_bytes() == before
    assert len(list(page.parent.iterdir())) == 5


@pytest.mark.parametrize(
    ("command", "shown"),
    [
        ("unlearnbench run ; reboot", OWN),
        ("reboot", None),
        ("unlearnbench 'x", None),
    ],
)
def test_a_command_to_copy_starts_nothing_else(tmp_path: Path, command: str, shown: str | None) -> None:
    text = html.unescape(build_one(tmp_path, command=command))
    codes = re.findall(r'<pre class="command" tabindex="0"><code>(.*?)</code></pre>', text)
    assert codes == ([shown] if shown else [])
    assert ("names no command" in text) == (shown is None)


def test_flatten_names_nested_keys() -> None:
    assert flatten({"b": {"y": 1, "x": [2, 3]}, "a": None}) == [("a", "None"), ("b.x", "2, 3"), ("b.y", "1")]
