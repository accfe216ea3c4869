"""`run`, `load` and what they hand back, on the tiny world; a function as a method."""

import linecache
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import unlearnbench as ub
from unlearnbench._inline import digest_function
from unlearnbench.bench.cli.main import main

SIZES = {
    "forget": 4,
    "forget_samples": 2,
    "retain_same": 3,
    "retain_other": 3,
    "retain_given": 2,
    "indirect": 3,
}
SHRINK = '''
RATE = 0.5

def scale(weight, factor):
    weight.mul_(factor)

def shrink(pipeline, problem, config, save):
    """Shrinks the keys of the cross-attention."""
    import torch
    with torch.no_grad():
        for name, weight in pipeline.unet.named_parameters():
            if "attn2.to_k" in name:
                scale(weight, RATE)
    save(1, {})
'''


def define(text: str, name: str = "shrink") -> Callable[..., Any]:
    """Return a function of a notebook's cell: its source is known to `inspect`, its module is `__main__`."""
    file = f"<cell {abs(hash(text))}>"
    linecache.cache[file] = (len(text), None, text.splitlines(keepends=True), file)
    space: dict[str, Any] = {"__name__": "__main__"}
    exec(compile(text, file, "exec"), space)
    found: Callable[..., Any] = space[name]
    return found


@pytest.fixture
def run(session_store: Path, tmp_path: Path) -> Callable[..., ub.Records]:
    def make(*methods: Any, **options: Any) -> ub.Records:
        given = {"out": tmp_path / "records", "store": session_store, "threads": 1, "sizes": SIZES} | options
        return ub.run("demo", tasks="classes/cat-face@tiny", methods=methods, **given)

    return make


def test_a_suites_records_as_tables(run: Callable[..., ub.Records]) -> None:
    records = run("placebo", ub.method("finetune", steps=2, checkpoints=[1, 2]))
    assert [(record.method.name, len(record.points)) for record in records] == [
        ("none", 1),
        ("placebo", 1),
        ("finetune", 2),
    ]
    assert records.failed == ()
    assert (records.cells, records.unchanged) == (3, 0)
    table = ub.load(records)
    for record in records:
        for point in record.points:
            found = table[(table["cell"] == record.cell) & (table["point"] == point.index)].set_index(
                "metric"
            )
            assert found.loc["UA", "value"] == point.values["UA"].value
            assert found.loc["VA", "low"] == point.values["VA"].low
            assert found.loc["FID", "missing"] == point.values["FID"].missing
    assert table.equals(records.frame())
    order = ["cell", "point", "metric"]
    whole = ub.load(records.folder).sort_values(order, ignore_index=True)
    assert whole.equals(table.sort_values(order, ignore_index=True))
    rows = ub.load(records, items=True)
    assert len(rows) == sum(len(record.items) for record in records if record.items is not None)
    assert set(rows["row"]) == {"none", "placebo", "finetune"}
    again = run("placebo", ub.method("finetune", steps=2, checkpoints=[1, 2]))
    assert (again.unchanged, again.drawn) == (3, 0)
    assert "unlearnbench.run" in records[0].command


def test_what_a_notebook_shows(run: Callable[..., ub.Records], session_store: Path) -> None:
    records = run("placebo")
    assert "<table>" in records._repr_html_()
    base = records[0]
    items = base.items
    assert items is not None
    assert items["prompt"].dtype == pd.Series(["x"]).dtype, "a user's texts are of pandas' own type"
    shown = ub.failing_images(base, store=session_store, limit=3)
    wrong = items[(items["split"] == "forget") & items["target_found"].eq(True)]
    assert list(shown.rows["prompt"]) == list(wrong["prompt"])[:3]
    assert [image.size for image in shown] == [(32, 32)] * len(shown)
    assert len(shown) == min(3, len(wrong)) > 0, "the base model draws what is to be forgotten"
    assert shown._repr_html_().count("<img") == len(shown)
    assert ub.frontier(records).svg.startswith("<svg")
    assert "srcdoc" in ub.frontier(records)._repr_html_()
    with pytest.raises(ub.UserError, match="split 'x': choose one of"):
        ub.failing_images(base, split="x")


def test_a_function_is_a_method_whose_record_is_inline(
    run: Callable[..., ub.Records], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = run("placebo", define(SHRINK))[-1]
    assert first.inline
    assert not any(record.inline for record in run("placebo"))
    assert first.method.summary == "Shrinks the keys of the cross-attention."
    assert ub.load(first)["row"].unique().tolist() == ["shrink (inline)"]
    assert run(define(SHRINK)).unchanged == 2, "the same cell, run again, trains nothing"
    folder = first.path.parent
    for words in (["submit", str(first.path), "--out", str(tmp_path / "c.zip")], ["pack", str(folder)]):
        assert main(words) == 2
        assert f"{first.path}: inline: shrink" in capsys.readouterr().err
    assert main(["leaderboard", str(folder)]) == 0
    assert "shrink (inline)" in (folder / "leaderboard" / "index.html").read_text()


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("RATE = 0.5", "RATE = 0.25"),  # a value that it reads
        ("weight.mul_(factor)", "weight.add_(factor)"),  # a function that it calls
        ("attn2.to_k", "attn2.to_v"),  # its own text
    ],
)
def test_an_edited_cell_takes_no_stale_weights(
    run: Callable[..., ub.Records], before: str, after: str
) -> None:
    assert digest_function(define(SHRINK)) == digest_function(define(SHRINK)) is not None
    assert digest_function(define(SHRINK)) != digest_function(define(SHRINK.replace(before, after)))
    old = run(define(SHRINK))[-1]
    found = run(define(SHRINK.replace(before, after)))
    assert found.unchanged == 1, "the base model's record stays"
    assert found[-1].points[0].fingerprint != old.points[0].fingerprint
    assert run(define(SHRINK))[-1].points[0].fingerprint == old.points[0].fingerprint


@pytest.mark.parametrize(
    "text",
    [
        "state = object()\ndef f(p, q, c, save):\n    state\n",  # a value that has no digest
        "def f(p, q, c, save):\n    open('x').read()\n",  # reads what no look at it finds
        "def f(p, q, c, save):\n    eval('1')\n",
    ],
)
def test_what_cannot_be_told_is_never_reused(text: str) -> None:
    assert digest_function(define(text, "f")) is None


def test_a_function_without_source_is_never_reused() -> None:
    space: dict[str, Any] = {"__name__": "__main__"}
    exec("def f(p, q, c, save):\n    save(1, {})\n", space)
    assert digest_function(space["f"]) is None


def test_closures_defaults_and_settings_count() -> None:
    text = "def outer(n):\n    def f(p, q, c, save, k={k}):\n        save(n + k, {{}})\n    return f\n"
    made = {(n, k): digest_function(define(text.format(k=k), "outer")(n)) for n in (1, 2) for k in (1, 2)}
    assert None not in made.values()
    assert len(set(made.values())) == 4
    text = "from dataclasses import dataclass\n@dataclass\nclass C:\n    rate: int = {k}\n"
    text += "def f(p, q, c: C, save):\n    save(1, {{}})\n"
    first, second = (digest_function(define(text.format(k=k), "f")) for k in (1, 2))
    assert first is None or first != second, "before Python 3.13 the source of a cell's class cannot be had"


@pytest.mark.parametrize(
    ("methods", "said"),
    [
        (["balancd"], "did you mean balanced"),
        (
            [define("def balanced(p, q, c, save):\n    pass\n", "balanced")],
            "a registered method has this name",
        ),
        ([define("def f(pipeline):\n    pass\n", "f")], r"f: must take \(pipeline, problem, config, save\)"),
        ([print], "give a name, or a function"),
        ([ub.method("balanced", steps=-1)], "steps"),
        ([ub.method("placebo", rate=object())], "settings are numbers"),
    ],
)
def test_a_mistake_in_methods_is_named(run: Callable[..., ub.Records], methods: list[Any], said: str) -> None:
    with pytest.raises(ub.UserError, match=said):
        run(*methods)


def test_a_method_that_fails_is_named_and_has_no_values(run: Callable[..., ub.Records]) -> None:
    records = run(define("def breaks(p, q, c, save):\n    raise ValueError('no')\n", "breaks"))
    assert [name.partition(".s")[0].split(".")[1] for name in records.failed] == ["breaks"]
    row = ub.load(records[-1]).iloc[0]
    assert row["status"] == "failed"
    assert row[["value", "point"]].isna().all()
    assert "no" in row["missing"]


def test_settings_reach_a_function_checked_by_its_own_class(run: Callable[..., ub.Records]) -> None:
    text = (
        "from dataclasses import dataclass\n@dataclass(frozen=True)\nclass C:\n    factor: float = 0.5\n"
        "def scaled(pipeline, problem, config: C, save):\n"
        "    import torch\n    with torch.no_grad():\n"
        "        next(iter(pipeline.unet.parameters())).mul_(config.factor)\n    save(1, {})\n"
    )
    function = define(text, "scaled")
    with pytest.raises(ub.UserError, match="factr"):
        run(ub.method(function, factr=1.0))
    record = run(ub.method(function, factor=0.9))[-1]
    assert record.method.config == {"factor": 0.9}
