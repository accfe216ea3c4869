"""AVA from records: against a plain recomputation from item rows, and what makes it missing."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

from unlearnbench.bench.cli.main import main
from unlearnbench.bench.errors import UserError
from unlearnbench.bench.records.load import load
from unlearnbench.bench.records.record import MethodInfo, TaskInfo
from unlearnbench.bench.stats.frontier import measure_frontier
from unlearnbench.leaderboard.pages.contents import read_contents
from unlearnbench.leaderboard.pages.terminal import make_board_table, make_comparison_table
from unlearnbench.leaderboard.ranking.board import Result, collect, compare_with_rival, find_row, summarise
from unlearnbench.leaderboard.ranking.board_rows import make_board_rows, tied_methods
from unlearnbench.leaderboard.ranking.declared import read_method_points

from .synthetic import CONFIG, make_record, write

LEVELS = (0.80, 0.825, 0.85, 0.875, 0.90, 0.925, 0.95)


def _task(concept: str, role: str = "evaluated") -> TaskInfo:
    return TaskInfo(
        id=f"classes/{concept}@emoji", family="classes", concept=concept, anchor=None, world="emoji@1",
        judge="emoji@1", role=role, version=1, targets=[concept],
    )  # fmt: skip


def _write(folder: Path, method: str, /, concept: str = "fox", seed: int = 0, **changes: object) -> Path:
    cell = f"{concept}--{method}--{seed}--{changes.pop('tag', 'x')}"
    return write(folder, method, seed, cell=cell, task=changes.pop("task", _task(concept)), **changes)


def _by_hand(items: list[pd.DataFrame]) -> float:
    """AVA from item rows of several seeds, in plain loops: one configuration, points in order of steps."""

    def mean(rows: pd.DataFrame, name: str) -> float:
        if name == "UA":
            return 1 - rows[rows.split == "forget"].target_found.astype(float).mean()
        kept = rows[(rows.split == "retain") & ~rows.given]
        kinds = ("subject", "style", "background")
        return float(np.mean([kept[f"found_{k}"] == kept[f"asked_{k}"] for k in kinds]))

    table = {
        (half, name): [
            np.mean([mean(t[(t.point == p) & (t.half == half)], name) for t in items])
            for p in sorted(set(items[0].point))
        ]
        for half in "AB"
        for name in ("UA", "VA")
    }
    total = 0.0
    for choosing, scoring in ("AB", "BA"):
        for level in LEVELS:
            reaching = [k for k, ua in enumerate(table[choosing, "UA"]) if ua >= level - 1e-9]
            if reaching:
                total += table[scoring, "VA"][max(reaching, key=lambda k: (table[choosing, "VA"][k], -k))]
    return total / (2 * len(LEVELS))


def test_ava_equals_a_plain_recomputation_over_seeds(tmp_path: Path) -> None:
    for seed in (0, 1, 2):
        _write(tmp_path, "balanced", seed=seed)
    loaded = load(tmp_path)
    (result,) = collect(loaded)
    assert result.frontier is not None
    assert (result.method, result.task, result.seeds, result.points) == (
        "balanced", "classes/fox@emoji", (0, 1, 2), 4,
    )  # fmt: skip
    tables = [entry.items for entry in loaded if entry.items is not None]
    assert result.frontier.ava == pytest.approx(_by_hand(tables), abs=1e-12)
    assert 0 < result.frontier.ava < 1


def test_a_second_configuration_adds_points(tmp_path: Path) -> None:
    _write(tmp_path, "balanced")
    method = load(tmp_path)[0].record.method
    other = method.model_copy(update={"config": CONFIG | {"lam": 3.0}})
    _write(tmp_path, "balanced", tag="y", method=other)
    assert collect(load(tmp_path))[0].points == 8


def test_a_failed_or_lacking_seed_makes_the_concept_missing(tmp_path: Path) -> None:
    _write(tmp_path / "a", "balanced")
    _write(tmp_path / "a", "balanced", seed=1, status="failed", error="out of memory", points=[], log={},
           items_sha256=None, sheet=[])  # fmt: skip
    (failed,) = collect(load(tmp_path / "a"))
    assert failed.frontier is None
    assert "seed 1 failed: out of memory" in str(failed.missing)
    _write(tmp_path / "b", "balanced")
    other = load(tmp_path / "b")[0].record.method.model_copy(update={"config": {"lam": 3.0}})
    _write(tmp_path / "b", "balanced", seed=1, tag="y", method=other)
    (lacking,) = collect(load(tmp_path / "b"))
    assert "lacks a seed" in str(lacking.missing)
    (line,) = summarise([lacking])
    assert line.concepts == 0
    assert len(line.lacking) == 1


def test_a_second_record_of_one_run_is_refused_and_a_second_claim_is_missing(tmp_path: Path) -> None:
    _write(tmp_path, "balanced")
    _write(tmp_path, "balanced", tag="zz")
    with pytest.raises(UserError, match=r"--zz\.json: seed 0: .*--x\.json has the same method"):
        collect(load(tmp_path))
    claims = tmp_path / "claims"
    for tag in ("x", "zz"):
        _write(claims, "balanced", tag=tag, source="reported")
    [group] = read_method_points(load(claims), source="reported")
    assert not group.points
    assert "has the same method" in str(group.missing)
    points = [point.model_copy(update={"step": 40}) for point in load(claims)[0].record.points]
    _write(tmp_path / "steps", "balanced", points=points)
    [one] = read_method_points(load(tmp_path / "steps"))
    assert "two of them have one step" in str(one.missing)


def test_references_tuning_concepts_and_reported_numbers_stay_out(tmp_path: Path) -> None:
    _write(tmp_path, "none")
    _write(tmp_path, "balanced", concept="owl", task=_task("owl", "tuning"))
    _write(tmp_path, "gradient_sum", source="reported")
    _write(tmp_path, "finetune", data="narrow")
    assert [row.method for row in collect(load(tmp_path))] == ["finetune (narrow data)"]


def _result(method: str, task: str, ava: float) -> Result:
    from unlearnbench.bench.stats.frontier import measure_frontier

    return Result(method, task, (0,), 1, measure_frontier([[1.0]] * 2, [[ava]] * 2))


def test_duels_pair_by_concept_and_correct_all_but_the_primary() -> None:
    tasks = [f"t{i}" for i in range(7)]
    rows = [_result("gradient_sum", t, 0.5 + 0.01 * i) for i, t in enumerate(tasks)]
    rows += [_result("balanced", t, 0.6 + 0.012 * i) for i, t in enumerate(tasks)]
    rows += [_result("anchor_sum", t, 0.7 + 0.01 * i + 0.01 * (i % 2)) for i, t in enumerate(tasks[1:])]
    rows += [_result("finetune", t, 0.5 + 0.01 * i + 0.001 * (-1) ** i) for i, t in enumerate(tasks)]
    rows = [replace(row, is_control=row.method == "finetune") for row in rows]
    rows += [_result("other", t, 0.6 + 0.011 * i) for i, t in enumerate(tasks)]
    found = {d.first: d for d in compare_with_rival(sorted(rows, key=lambda r: r.method), "gradient_sum")}
    assert found["balanced"].comparison.mean == pytest.approx(0.1 + 0.002 * 3)
    assert found["balanced"].comparison.p == pytest.approx(2 / 2**7)
    assert found["balanced"].adjusted == found["balanced"].comparison.p
    assert found["anchor_sum"].comparison.n == 6
    assert found["anchor_sum"].adjusted is None, "it lacks a concept, so it is not in the family"
    assert found["other"].adjusted == found["other"].comparison.p  # the one exploratory row that is ranked
    assert not found["finetune"].primary


def test_rows_with_other_training_data_are_compared_with_each_other() -> None:
    tasks = [f"t{i}" for i in range(7)]
    rows = [_result("gradient_sum (retain-2 data)", t, 0.5 + 0.01 * i) for i, t in enumerate(tasks)]
    rows += [_result("balanced (retain-2 data)", t, 0.6 + 0.012 * i) for i, t in enumerate(tasks)]
    [found] = compare_with_rival(rows)
    assert (found.first, found.second) == ("balanced (retain-2 data)", "gradient_sum (retain-2 data)")
    assert not found.primary, "what was stated beforehand is another comparison"
    rows += [_result("gradient_sum", t, 0.4 + 0.01 * i) for i, t in enumerate(tasks)]
    assert {d.second for d in compare_with_rival(rows)} == {"gradient_sum"}


@pytest.mark.parametrize(
    ("names", "row"),
    [
        (["m (narrow data)"], "m (narrow data)"),
        (["m (narrow data)", "m (retain-2 data)"], "m"),  # which one is not said
        (["m (paper)"], "m"),
        (["m (paper) (narrow data)"], "m"),
        (["mm (narrow data)"], "m"),
        (["m", "m (narrow data)"], "m"),
    ],
)
def test_a_method_is_found_by_its_only_other_training_data(names: list[str], row: str) -> None:
    assert find_row(names, "m") == row


@pytest.mark.parametrize("headline", ["AVA", "H"])
def test_compare_and_the_page_find_a_rival_with_other_training_data(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], headline: str
) -> None:
    for concept in ("fox", "owl", "cow"):
        for method in ("balanced", "gradient_sum"):
            _write(tmp_path, method, concept, data="retain-2", headline=headline)
    assert main(["compare", str(tmp_path)]) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "Difference of" in out
    assert "gradient_sum (retain-2 data)" in out
    scope = read_contents(tmp_path).board[1]
    assert scope.by_h is None or not scope.by_h.is_declared
    assert scope.primary is None
    [found] = scope.by_h.rows if headline == "H" else scope.comparisons
    assert (found.first, found.second) == ("balanced (retain-2 data)", "gradient_sum (retain-2 data)")


def test_the_terminal_says_what_is_missing_and_refuses_an_unknown_rival(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for concept in ("fox", "owl", "cow"):
        _write(tmp_path, "balanced", concept)
        _write(tmp_path, "gradient_sum", concept)
    _write(tmp_path, "finetune", "fox", status="failed", error="boom", points=[], log={},
           items_sha256=None, sheet=[])  # fmt: skip
    assert main(["compare", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert "missing: finetune on classes/fox@emoji: seed 0 failed: boom" in out
    assert "an interval for these concepts, not a ranking" in " ".join(out.split())
    assert main(["compare", str(tmp_path), "--rival", "lute"]) == 2
    assert (
        "--rival lute: no records of it; methods: balanced, finetune, gradient_sum" in capsys.readouterr().err
    )


def test_no_interval_of_ava_goes_beyond_0_and_1() -> None:
    rows = [
        _result(m, t, v)
        for m, own in (("a", (1, 1, 0.6)), ("b", (0, 0, 0.4)))
        for t, v in zip("xyz", own, strict=True)
    ]
    high, low = summarise(rows)
    mean, half = 2.6 / 3, 4.302653 * np.std([1, 1, 0.6], ddof=1) / 3**0.5  # t of 2 degrees of freedom
    assert (high.low, high.high) == (pytest.approx(mean - half), 1.0)  # without the cut: 1.44
    assert (low.low, low.high) == (0.0, pytest.approx(0.4 / 3 + half))
    console = Console(width=140, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    console.print(make_board_table([high, low]))
    assert f"{mean - half:.3f}..1.000" in console.export_text()


def test_tables_render(tmp_path: Path) -> None:
    rows = [_result(m, t, v) for m, v in (("a", 0.5), ("b", 0.6)) for t in ("x", "y", "z")]
    console = Console(width=140, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    console.print(make_board_table(summarise(rows)), make_comparison_table(compare_with_rival(rows, "a")))
    text = console.export_text()
    assert "0.500" in text
    assert "+0.100" in text


def test_more_concepts_than_can_be_enumerated_are_compared_too() -> None:
    frontier = measure_frontier([[0.9, 1.0]] * 2, [[0.9, 0.8]] * 2)
    better = measure_frontier([[0.9, 1.0]] * 2, [[0.95, 0.85]] * 2)
    results = [
        Result(method, f"classes/{k}@emoji", (0,), 2, found)
        for method, found in (("balanced", better), ("gradient_sum", frontier))
        for k in range(23)
    ]
    [found] = compare_with_rival(results)
    assert found.comparison.n == 23
    assert found.comparison.p < 1e-4
    assert tied_methods(results)["balanced"] == ["balanced"]


def test_no_number_is_of_two_worlds(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    photographs = _task("tench").model_copy(update={"id": "classes/tench@sd14", "world": "sd14@1"})
    for task in (_task("fox"), _task("owl"), photographs):
        _write(tmp_path, "balanced", concept=task.concept, task=task)
        _write(tmp_path, "gradient_sum", concept=task.concept, task=task)
    assert read_contents(tmp_path).board is None
    assert main(["compare", str(tmp_path)]) == 2
    assert "records of emoji@1 and sd14@1: no AVA is of two worlds" in capsys.readouterr().err
    assert main(["leaderboard", str(tmp_path), "--out", str(tmp_path / "page")]) == 0
    assert "AVA" not in capsys.readouterr().out


def test_no_number_is_of_two_base_models(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What is known of a base is what drew the images of `none`."""
    points = make_record("none")[0].points
    for concept, mark in (("fox", "a"), ("owl", "b")):
        base = [point.model_copy(update={"fingerprint": mark * 64}) for point in points]
        _write(tmp_path, "none", concept=concept, points=base)
        for method in ("balanced", "gradient_sum"):
            _write(tmp_path, method, concept=concept)
    assert read_contents(tmp_path).board is None
    assert main(["compare", str(tmp_path)]) == 2
    assert (
        "emoji@1 (base model aaaaaaaaaaaa) and emoji@1 (base model bbbbbbbbbbbb)" in capsys.readouterr().err
    )
    _write(tmp_path, "none", concept="owl", seed=1)
    assert main(["compare", str(tmp_path)]) == 2
    said = capsys.readouterr().err
    assert "owl" in said
    assert "`none` is of two base models" in said


def test_a_row_that_lacks_a_concept_stands_behind_those_that_have_all(tmp_path: Path) -> None:
    """Its mean is of other concepts: a method that failed on the hard ones stood first."""
    for concept in ("fox", "owl"):
        _write(tmp_path, "gradient_sum", concept=concept)
    easy = MethodInfo(name="mine", version=1, summary="", paper="", config={})
    _write(tmp_path, "balanced", concept="fox", method=easy, tag="mine")
    loaded = load(tmp_path)
    results = collect(loaded)
    ava = {line.method: line.ava for line in summarise(results)}
    assert ava["mine"] > ava["gradient_sum"]
    assert [row.name for row in make_board_rows(loaded, results)] == ["gradient_sum", "mine"]
