"""The attacks that a suite names: their records come after the cells', once, and change no cell."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import unlearnbench as ub
from unlearnbench.bench.cli.main import main
from unlearnbench.bench.cli.run import finish, publish
from unlearnbench.bench.environment import describe_environment
from unlearnbench.bench.errors import UserError
from unlearnbench.bench.planning.plan import read_suite
from unlearnbench.bench.records.record import record_digest

SUITE = """
name = "attacked"
tasks = ["classes/cat-face@tiny"]

[sizes]
forget = 4
forget_samples = 2
retain_same = 3
retain_other = 3
retain_given = 2
indirect = 3

[[methods]]
name = "none"

[[methods]]
name = "none"
noise = 1

[[methods]]
name = "gradient_sum"
config = { steps = 2, checkpoints = [2], batch = 4 }
"""
ATTACKS = """
[[attacks]]
name = "best-of-n"
config = { budget = 2 }

[[attacks]]
name = "relearn"
config = { budget = 2, images = 2, batch = 2, checkpoints = [1, 2] }
methods = ["gradient_sum"]
"""


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str], Path]:
    """Return write(attacks): the path of the suite with those attacks."""

    def make(attacks: str) -> Path:
        path = tmp_path / "attacked.toml"
        path.write_text(SUITE + attacks)
        return path

    return make


def test_a_suite_attacks_its_models_once(
    write: Callable[[str], Path], session_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run_into(folder: Path) -> ub.Records:
        return ub.run(path, out=folder, store=session_store, threads=1, device="cpu")

    def run() -> ub.Records:
        return run_into(tmp_path / "runs")

    path = write("")
    plain = run()
    assert plain.attacked == ()
    path = write(ATTACKS)
    records = run()
    assert [record_digest(record) for record in records] == [record_digest(record) for record in plain]
    assert (records.unchanged, records.failed) == (3, ())
    found = [(record.method.name, record.attack.name) for record in records.attacked if record.attack]
    assert found == [  # not the base model of other noise
        ("none", "best-of-n"),
        ("gradient_sum", "best-of-n"),
        ("gradient_sum", "relearn"),
    ]
    assert {r.attack.of for r in records.attacked if r.attack} == {
        record_digest(record) for record in records if record.sampling["noise"] == 0
    }
    assert all(record.path.parent == tmp_path / "runs" / "attacked" for record in records.attacked)
    (tmp_path / "pyproject.toml").touch()
    publish(records, tmp_path)
    copies = {record.path.relative_to(tmp_path / "runs") for record in (*records, *records.attacked)}
    published = tmp_path / "results" / "runs"
    assert {path.relative_to(published) for path in published.rglob("*.json")} == copies
    assert main(["validate", str(published)]) == 0
    monkeypatch.setattr("unlearnbench.bench.running.attacking.attack_run.AttackRun._measure", None)
    assert [r.content_sha256 for r in run().attacked] == [r.content_sha256 for r in records.attacked]
    assert main(["pack", str(tmp_path / "runs"), "--records"]) == 0
    assert not list((tmp_path / "runs").rglob("*.none.*.json"))
    assert [r.content_sha256 for r in run().attacked] == [r.content_sha256 for r in records.attacked]
    assert main(["validate", str(tmp_path / "runs")]) == 0
    again = ub.run(path, out=tmp_path / "new", resume=tmp_path / "runs", store=tmp_path / "empty", threads=1)
    assert [r.content_sha256 for r in again.attacked] == [r.content_sha256 for r in records.attacked]
    assert (again.failed, again.drawn, (tmp_path / "empty" / "images").exists()) == ((), 0, False)
    again.attacked[0].path.with_suffix(".parquet").unlink()
    assert run_into(tmp_path / "new").failed == (again.attacked[0].path.stem,)  # a damaged record is remade


def test_records_of_another_machine_are_named_before_their_models_are_trained(
    write: Callable[[str], Path],
    session_store: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    there, here = tmp_path / "there", ["--out", str(tmp_path / "here"), "--store", str(session_store)]
    ub.run(write(""), out=there, store=session_store, threads=1, device="cpu")
    monkeypatch.setattr("unlearnbench.bench.environment._cpu_name", lambda: "a processor of another make")
    describe_environment.cache_clear()
    asked = [
        "run",
        "--suite",
        str(write(ATTACKS)),
        "--resume",
        str(there),
        "--threads",
        "1",
        "--device",
        "cpu",
    ]
    sentence = "1 records to attack were measured with another device_name."  # `none` is trained by nobody
    try:
        assert main([*asked, *here, "--dry-run"]) == 0
        assert sentence in capsys.readouterr().out
        assert main([*asked, *here]) == 0  # the same processor by another name: the weights are the same
        assert sentence in "".join(capsys.readouterr())
    finally:
        describe_environment.cache_clear()


def test_an_attack_that_fails_is_named_and_the_others_go_on(
    write: Callable[[str], Path],
    session_store: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def fail(*_: object) -> None:
        raise ValueError("no luck")

    monkeypatch.setattr("unlearnbench.bench.attacks.best_of_n.attack", fail)
    options: dict[str, Any] = {
        "out": tmp_path / "runs",
        "store": session_store,
        "threads": 1,
        "device": "cpu",
    }
    records = ub.run(write(ATTACKS), **options)
    assert [record.status for record in records.attacked] == ["failed", "failed", "ok"]
    assert [".best-of-n." in stem for stem in records.failed] == [True, True]
    traces = sorted((tmp_path / "runs" / "attacked" / "failures").glob("*.txt"))
    assert "no luck" in traces[0].read_text()
    assert finish(records) == 1
    assert f"see {traces[0]}" in capsys.readouterr().err
    monkeypatch.undo()
    again = ub.run(write(ATTACKS), only_failures=True, **options)
    assert [record.status for record in again.attacked] == ["ok"] * 3
    with pytest.raises(UserError, match="no run of these cells failed"):
        ub.run(write(ATTACKS), only_failures=True, **options)


def test_the_plan_counts_them(write: Callable[[str], Path], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "--suite", str(write(ATTACKS)), "--dry-run"]) == 0
    # two models, 4 prompts x (2 samples + 2 noises); one model at the steps 1 and 2, 4 x 2 each
    assert "attacks: 3 attacked records, at most 48 images" in capsys.readouterr().out
    assert main(["run", "--suite", str(write("")), "--dry-run"]) == 0
    assert "attack" not in capsys.readouterr().out.replace("attacked: the plan", "")


@pytest.mark.parametrize(
    ("attacks", "said"),
    [
        ('[[attacks]]\nname = "best-off-n"', "did you mean best-of-n"),
        ('[[attacks]]\nname = "best-of-n"\nconfig = { budget = -1 }', "attacked: attack best-of-n: budget"),
        ('[[attacks]]\nname = "best-of-n"\nmethods = ["uce"]', "'uce' is none of the suite"),
        ('[[attacks]]\nname = "best-of-n"\ntasks = ["x"]', "'x' is none of the suite"),
        ('[[attacks]]\nname = "best-of-n"\n' * 2, "stands twice"),
    ],
)
def test_a_mistake_is_found_before_anything_runs(
    attacks: str, said: str, write: Callable[[str], Path], tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=said):
        ub.run(write(attacks), out=tmp_path / "runs", store=tmp_path / "store", threads=1)
    assert not list(tmp_path.glob("runs/*.json"))


def test_an_attack_may_be_of_some_models(write: Callable[[str], Path]) -> None:
    from unlearnbench._suites import plan_run
    from unlearnbench.bench.running.attacking.suite_attacks import plan_attacks
    from unlearnbench.bench.running.catalog import registry

    rows = 'tasks = ["classes/cat-face@tiny"]\nseeds = [1]\n'
    suite = read_suite(write('[[attacks]]\nname = "best-of-n"\n' + rows))
    plan = plan_run(suite, seeds=[0, 1])
    found = plan_attacks(plan.suite, plan.cells, registry("attacks"))
    assert [(one.cell.row.name, one.cell.seed) for one in found] == [("none", 0), ("gradient_sum", 1)]
