"""A sequence on the tiny world: each step starts where the one before ended, and asks for all so far."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from unlearnbench.bench.checking.known import make_known
from unlearnbench.bench.checking.repeat import find_cell
from unlearnbench.bench.checking.validate import validate
from unlearnbench.bench.cli.main import main
from unlearnbench.bench.errors import UserError
from unlearnbench.bench.models.saved.deltas import restore_weights, write_delta
from unlearnbench.bench.planning.plan import Cell, MethodRow, Suite, plan_cells
from unlearnbench.bench.planning.rows import AttackRow
from unlearnbench.bench.records.load import load
from unlearnbench.bench.records.record import read_items, read_record
from unlearnbench.bench.running.attacking.host import Host
from unlearnbench.bench.running.attacking.suite_attacks import attack_cells, plan_attacks
from unlearnbench.bench.running.catalog import registry, task_registry
from unlearnbench.bench.running.cell_run import CellRun
from unlearnbench.bench.running.runner import Runner
from unlearnbench.leaderboard.studies.sequences import load_sequences
from unlearnbench.methods import uce

from ..conftest import SMALL

TASKS = ["classes/cat-face@tiny", "celebrities/santa-claus@tiny"]


def _plan(tasks: list[str]) -> list[Cell]:
    rows = [MethodRow(name="none"), MethodRow(name="uce")]
    sizes = SMALL.model_copy(update={"indirect": 0})
    suite = Suite(name="mine", sequence=tasks, methods=rows, sizes=sizes)
    return plan_cells(suite, task_registry(), registry("methods"))


def _weights(pipeline: Any) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in pipeline.unet.state_dict().items()}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("sequence")


def test_a_step_starts_from_the_weights_of_the_one_before(
    make_runner: Callable[..., Runner], folder: Path
) -> None:
    runner, cells = make_runner(folder=folder), _plan(TASKS)
    outcomes = runner.run(cells)
    assert [outcome.state for outcome in outcomes] == ["measured"] * 3
    run = CellRun(runner, cells[2])
    holder, by_hand = run._holder(), run._holder().open()
    expected = []
    for step in (1, 2):  # both requests, by the method itself, on one pipeline
        problem = run.world.problem(task_registry()[TASKS[step - 1]], "diverse", 0)
        uce.unlearn(by_hand, problem, uce.Config(), lambda *args, **kwargs: None)
        expected.append(_weights(by_hand))
    for number, cell in enumerate(cells[1:]):
        own = CellRun(runner, cell)
        point = own.manifest.points[-1]
        found = _weights(holder.generator(point.delta, own._find_weights(point)).pipeline)
        for name, value in expected[number].items():
            torch.testing.assert_close(found[name], value, rtol=0, atol=0)
    holder.reset()
    assert [outcome.state for outcome in runner.run(cells)] == ["unchanged"] * 3


def test_an_attack_on_a_step_is_on_the_targets_so_far(
    make_runner: Callable[..., Runner], folder: Path, tmp_path: Path
) -> None:
    runner, cells = make_runner(folder=tmp_path), _plan(TASKS)
    runner.resume(cells, folder)
    suite = cells[1].suite.model_copy(update={"attacks": [AttackRow(name="best-of-n", config={"budget": 1})]})
    attacks = plan_attacks(suite, cells, registry("attacks"))
    assert [outcome.state for outcome in attack_cells(runner, attacks)] == ["measured"] * 3
    assert main(["validate", str(tmp_path)]) == 0
    [attacked] = tmp_path.glob("attacked/*.1of2.*.json")
    assert read_record(attacked).task.targets == ["cat face"]
    run = CellRun(runner, cells[1])
    host = Host(run, run.manifest.points[-1], run._holder(), run.requests, attacks[0].planned.entry, 0)
    assert list(host.task.concept.targets) == ["cat face"]
    prompts = host.learn().forget.prompts
    assert all("cat" in prompt and "Santa" not in prompt for prompt in prompts)


def test_records_hold_the_targets_so_far_and_pass_every_check(folder: Path) -> None:
    base, first, second = load_sequences(folder)
    assert [entry.record.cell[-5:] for entry in (base, first, second)] == [".0of2", ".1of2", ".2of2"]
    asked = []
    for entry in (base, first, second):
        assert entry.items is not None
        forget = entry.items[entry.items["split"] == "forget"]
        asked.append(sorted(set(forget["asked_subject"])))
    assert asked == [["Santa Claus", "cat face"], ["cat face"], ["Santa Claus", "cat face"]]
    assert [e.record.task.targets for e in (first, second)] == [["cat face"], ["cat face", "Santa Claus"]]
    retained = [
        entry.items.loc[entry.items["split"] == "retain", ["prompt", "seed"]].reset_index(drop=True)
        for entry in (base, first, second)
        if entry.items is not None
    ]
    assert retained[0].equals(retained[1])
    assert retained[0].equals(retained[2])
    known = make_known()
    for path in sorted(folder.glob("*.json")):
        assert {check.state for check in validate(path, known)} == {"passed"}, path


def test_a_record_is_rebuilt_as_the_cell_that_made_it(
    make_runner: Callable[..., Runner], folder: Path
) -> None:
    runner, cells = make_runner(folder=folder), _plan(TASKS)
    path = folder / f"{cells[2].stem}.json"
    record = read_record(path)
    items = read_items(path, record)
    assert items is not None
    cell = find_cell(record, items, task_registry(), registry("methods"), runner.worlds["tiny"], None)
    assert (cell.task, cell.turn, cell.trained) == (cells[2].task, cells[2].turn, cells[2].trained)
    assert cell.before is not None
    assert cell.before.trained == cells[1].trained


def test_a_key_holds_the_whole_prefix(make_runner: Callable[..., Runner], make_cell: Any) -> None:
    runner, cells = make_runner(), _plan(TASKS)
    other = _plan(TASKS[::-1])
    assert runner.train_key(cells[1]) == runner.train_key(make_cell(TASKS[0], "uce"))  # trained once for both
    assert runner.train_key(cells[2]) != runner.train_key(make_cell(TASKS[1], "uce"))
    assert runner.train_key(cells[2]) != runner.train_key(other[2])
    changed = replace(cells[2], row=cells[2].row.model_copy(update={"config": {"lam": 0.9}}))
    keys = {runner.train_key(cells[2]), runner.train_key(changed)}
    assert len(keys) == 2
    assert len({runner.cell_key(cell) for cell in cells}) == 3


def test_no_board_takes_a_step_and_its_folder_has_a_page(
    folder: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    with pytest.raises(UserError, match="sequence: no board ranks a step of a sequence"):
        load(folder)
    assert main(["compare", str(folder)]) == 2
    assert main(["leaderboard", str(folder), "--out", str(tmp_path / "page")]) == 0
    assert "UA of cat face" in capsys.readouterr().out
    assert "does a later request" in (tmp_path / "page" / "index.html").read_text().lower()


def test_a_failed_step_fails_those_after_it(
    make_runner: Callable[..., Runner], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def fail(*args: Any) -> None:
        raise RuntimeError("no luck")

    monkeypatch.setattr(uce, "unlearn", fail)
    runner = make_runner(folder=tmp_path / "failed", store=tmp_path / "store")
    outcomes = runner.run(_plan(TASKS)[1:])
    assert [outcome.state for outcome in outcomes] == ["failed", "failed"]
    records = [read_record(outcome.path) for outcome in outcomes]
    assert [(record.status, record.error) for record in records] == [("failed", "RuntimeError: no luck")] * 2


def test_nothing_is_trained_on_a_point_that_is_not_its_weights(make_runner: Callable[..., Runner]) -> None:
    pipeline = CellRun(make_runner(), _plan(TASKS)[0])._holder().open()
    with pytest.raises(UserError, match="sld: acts while images are drawn"):
        restore_weights(pipeline, write_delta({}, {}, {"method": "sld", "version": 1, "config": {}}))
