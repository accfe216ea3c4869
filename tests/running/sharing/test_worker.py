"""A worker goes over the parts of a run: its records are those of one process, whoever else works."""

import json
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from unlearnbench.bench.errors import UserError
from unlearnbench.bench.models import sampling
from unlearnbench.bench.planning.plan import MethodRow, Suite, plan_cells
from unlearnbench.bench.planning.rows import AttackRow
from unlearnbench.bench.records.record import read_record, record_digest
from unlearnbench.bench.running.attacking.suite_attacks import SuiteAttack, plan_attacks
from unlearnbench.bench.running.catalog import registry, task_registry
from unlearnbench.bench.running.cell_run import CellRun
from unlearnbench.bench.running.runner import Outcome, Runner
from unlearnbench.bench.running.sharing import worker as module
from unlearnbench.bench.running.sharing.parts import CellParts
from unlearnbench.bench.running.sharing.worker import MOST_TRIES, Worker
from unlearnbench.bench.store import content_key

from ... import conftest

FEW = conftest.SMALL.model_copy(update={"indirect": 0})
SMALL = {"steps": 2, "checkpoints": [1, 2], "batch": 4}


@pytest.fixture
def cells(make_cell: Any, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The base and a method with two points, the first of which forgets too little for retain images."""
    monkeypatch.setitem(sampling.MICRO_BATCH, "cpu", 3)
    monkeypatch.setattr("unlearnbench.bench.running.sharing.parts.BATCHES", 1)
    found = [make_cell(), make_cell(method="finetune", **SMALL)]
    return [replace(cell, suite=cell.suite.model_copy(update={"unscored_below": 0.4})) for cell in found]


def _digests(outcomes: list[Outcome]) -> list[str]:
    return [record_digest(read_record(outcome.path)) for outcome in outcomes]


def test_a_worker_writes_the_records_of_one_process(
    make_runner: Callable[..., Runner], cells: list[Any], tmp_path: Path
) -> None:
    alone = make_runner(folder=tmp_path / "alone", store=tmp_path / "a").run(cells)
    parts = make_runner(folder=tmp_path / "parts", store=tmp_path / "b")
    found = Worker(parts, 1, 2).work(cells)
    assert [outcome.state for outcome in found] == ["measured", "measured"]
    assert _digests(found) == _digests(alone)
    assert read_record(found[1].path).points[0].unscored
    # nothing is drawn twice, and nothing that one process does not draw
    assert sum(outcome.drawn for outcome in found) == sum(outcome.drawn for outcome in alone)
    images = [{path.name for path in (tmp_path / name / "images").rglob("*")} for name in "ab"]
    assert images[0] == images[1]
    assert not list((tmp_path / "b" / "leases").rglob("?" * 64))  # every lease was given back
    again = Worker(make_runner(folder=tmp_path / "parts", store=tmp_path / "b")).work(cells)
    assert [outcome.state for outcome in again] == ["unchanged", "unchanged"]


def test_a_cell_is_cut_into_parts_that_are_done_one_by_one(
    make_runner: Callable[..., Runner], cells: list[Any], tmp_path: Path
) -> None:
    """4 prompts with 2 samples are 8 forget images, in 3 batches of 3."""
    runner = make_runner(store=tmp_path / "store")
    others = len(CellRun(runner, cells[1]).requests) - 8
    rest = -(-others // 3)
    [training] = CellParts(CellRun(runner, cells[1])).open_parts()
    training.do()
    assert training.is_done()
    parts = CellParts(CellRun(runner, cells[1]))
    opened = parts.open_parts()
    assert len(opened) == 3 + (3 + rest) + (3 + rest)  # the first point, the last point, the base
    assert len({part.name for part in opened}) == len(opened)
    for part in opened:
        part.do()
        assert part.is_done()
    [look] = parts.open_parts()
    look.do()
    assert parts.open_parts() == []


def test_a_held_part_is_left_to_its_owner_and_the_others_are_done(
    make_runner: Callable[..., Runner], cells: list[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runner = make_runner(store=tmp_path / "store")
    other = Worker(make_runner(store=tmp_path / "store"))
    first = CellParts(CellRun(runner, cells[0])).open_parts()[0]
    slept: list[float] = []
    with other.leases.holding(first.name):

        def sleep(seconds: float) -> None:
            slept.append(seconds)
            others = CellParts(CellRun(runner, cells[0])).open_parts()
            assert [part.name for part in others] == [first.name]
            first.do()

        monkeypatch.setattr(module.time, "sleep", sleep)
        [found] = Worker(runner).work(cells[:1])
    assert len(slept) == 1
    assert found.state == "measured"


def test_a_cell_that_failed_elsewhere_meanwhile_is_not_tried_again(
    make_runner: Callable[..., Runner], cells: list[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[int] = []

    def explode(*arguments: Any) -> None:
        tried.append(1)
        raise FloatingPointError("training diverged")

    monkeypatch.setattr("unlearnbench.methods.finetune.unlearn", explode)
    runner = make_runner(store=tmp_path / "store")
    late = Worker(runner)
    job = late._job(cells[1], 1, 1)
    [failed] = Worker(runner).work(cells[1:])
    assert failed.state == "failed"
    assert read_record(failed.path).error == "FloatingPointError: training diverged"
    moved, outcome = late._visit(job)
    assert (moved, outcome and outcome.state, len(tried)) == (False, "failed", 1)
    [again] = Worker(runner).work(cells[1:])  # a worker that comes later tries once more
    assert (again.state, len(tried)) == ("failed", 2)


def test_a_part_that_ends_its_processes_fails_at_last(
    make_runner: Callable[..., Runner], cells: list[Any], tmp_path: Path
) -> None:
    """As where there is too little memory for it: each owner is killed."""
    runner = make_runner(store=tmp_path / "store")
    [training] = CellParts(CellRun(runner, cells[1])).open_parts()
    from unlearnbench.bench.files import host_digest

    ended = {"host": host_digest(), "pid": 2**22 + 1, "token": "x", "tries": MOST_TRIES}
    runner.store.claim(training.name, json.dumps(ended).encode())
    [outcome] = Worker(runner).work(cells[1:])
    assert outcome.state == "failed"
    assert "6 processes ended" in str(read_record(outcome.path).error)


def test_a_lost_image_is_drawn_again_with_its_batch(
    make_runner: Callable[..., Runner], cells: list[Any], tmp_path: Path
) -> None:
    runner = make_runner(store=tmp_path / "store")
    [first] = Worker(runner).work(cells[:1])
    digest = record_digest(read_record(first.path))
    first.path.unlink()
    victims = sorted((tmp_path / "store" / "images").rglob("?" * 64))
    victims[0].unlink()
    victims[1].write_bytes(b"torn")
    fresh = make_runner(store=tmp_path / "store")
    [again] = Worker(fresh).work(cells[:1])
    assert record_digest(read_record(again.path)) == digest
    assert 0 < again.drawn <= 6


def test_a_broken_world_is_a_failed_cell_and_no_end_of_the_worker(
    make_runner: Callable[..., Runner], cells: list[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*arguments: Any) -> None:
        raise UserError("no model here")

    monkeypatch.setattr("unlearnbench.bench.running.cell_run.reference_point", refuse)
    found = Worker(make_runner(store=tmp_path / "store")).work(cells)
    assert [outcome.state for outcome in found] == ["failed", "failed"]


def test_the_trainings_of_a_sequence_are_parts_that_one_worker_does(
    make_runner: Callable[..., Runner], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker that comes to the second step finds the first one's training taken, and trains nothing."""
    tasks = ["classes/cat-face@tiny", "celebrities/santa-claus@tiny"]
    suite = Suite(name="mine", sequence=tasks, methods=[MethodRow(name="uce")], sizes=FEW)
    cells = plan_cells(suite, task_registry(), registry("methods"))
    runner = make_runner(store=tmp_path / "store")
    one, two = (CellParts(CellRun(runner, cell)).open_parts() for cell in cells)
    assert [part.name for part in one] == [part.name for part in two]
    one[0].do()
    [own] = CellParts(CellRun(runner, cells[1])).open_parts()
    assert own.name != one[0].name
    assert own.name == content_key({"train": runner.train_key(cells[1])})
    own.do()
    assert len(CellParts(CellRun(runner, cells[1])).open_parts()) > 1  # images


ATTACK = {"budget": 1}


@pytest.fixture
def attacked(
    make_runner: Callable[..., Runner], make_cell: Any, tmp_path: Path
) -> tuple[Callable[[], Runner], list[SuiteAttack]]:
    """Make runners of one folder with a measured base, and an attack on it."""
    cell = make_cell()

    def make() -> Runner:
        return make_runner(folder=tmp_path / "out")

    assert make().run([cell])[0].state == "measured"
    row = AttackRow(name="best-of-n", config=ATTACK)
    suite = cell.suite.model_copy(update={"attacks": [row]})
    return make, plan_attacks(suite, [cell], registry("attacks"))


def test_a_worker_waits_for_an_attack_of_another_and_tells_what_became_of_it(
    attacked: tuple[Callable[[], Runner], list[SuiteAttack]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would be left out of the summary; and where the other ended, nobody would run it."""
    make, attacks = attacked
    one, other = Worker(make()), Worker(make())
    what = attacks[0].planned
    name = one._name("attack", [attacks[0].cell.stem, what.entry.name, what.settings, what.seed, None])
    slept: list[float] = []
    with ExitStack() as held:
        held.enter_context(other.leases.holding(name))

        def sleep(seconds: float) -> None:
            slept.append(seconds)
            held.close()

        monkeypatch.setattr(module.time, "sleep", sleep)
        [found] = one.attack(attacks)
    assert (len(slept), found.state) == (1, "measured")
    [again] = other.attack(attacks)
    assert (again.state, again.path) == ("unchanged", found.path)


def test_an_attack_that_failed_elsewhere_meanwhile_is_not_tried_again(
    attacked: tuple[Callable[[], Runner], list[SuiteAttack]], monkeypatch: pytest.MonkeyPatch
) -> None:
    make, attacks = attacked
    tried: list[int] = []

    def explode(*arguments: Any) -> None:
        tried.append(1)
        raise FloatingPointError("no attack today")

    monkeypatch.setattr("unlearnbench.bench.attacks.best_of_n.attack", explode)
    late = Worker(make())
    before = late._trace_of(attacks[0])
    [failed] = Worker(make()).attack(attacks)
    [told] = late._attack(attacks[0], before)
    assert (failed.state, told.state, told.path, len(tried)) == ("failed", "failed", failed.path, 1)
    assert late.attack(attacks)[0].state == "failed"  # one that begins later tries once more
    assert len(tried) == 2


def test_pooled_distances_are_waited_for(
    make_runner: Callable[..., Runner], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = (Worker(make_runner(store=tmp_path / "store")) for _ in range(2))
    pooled: list[Any] = []
    monkeypatch.setattr(Runner, "pool", lambda runner, cells: pooled.append(cells))
    with ExitStack() as held:
        held.enter_context(other.leases.holding(one._name("pool", [])))
        monkeypatch.setattr(module.time, "sleep", lambda seconds: held.close())
        one.pool([])
    assert pooled == [[]]


def test_the_measure_of_leases_still_measures(tmp_path: Path) -> None:
    """tests/benchmarks/leases.py, small: it uses the workers' own classes, and is run by hand only."""
    from ...benchmarks import leases

    found = leases.measure(tmp_path / "store", workers=2, leases=10, seconds=0.01)
    assert found["done_twice"] == 0
    assert 0 < found["efficiency"] <= 1
