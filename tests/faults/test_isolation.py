"""Whatever a method does, its point is refused by name or harmless, and every other cell stays as it is."""

import gc
import importlib
import os
import random
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from unlearnbench.bench.models import sampling
from unlearnbench.bench.planning.plan import Cell, MethodRow, Suite
from unlearnbench.bench.planning.tasks import PromptSizes
from unlearnbench.bench.records.record import read_record, record_digest
from unlearnbench.bench.running.catalog import registry, task_registry
from unlearnbench.bench.running.runner import Outcome, Runner

from .bad_methods import ACTING, HARMLESS, REFUSED, write_plugin

SIZES = PromptSizes(forget=2, forget_samples=2, retain_same=2, retain_other=2, retain_given=2, indirect=0)
TASKS = ("classes/cat-face@tiny", "styles/line@tiny")
SMALL: dict[str, Any] = {"steps": 1, "batch": 2}
GOOD: list[tuple[str, str, dict[str, Any]]] = [
    ("none", TASKS[0], {}),
    ("finetune", TASKS[0], SMALL),
    ("gradient_sum", TASKS[0], SMALL),
    ("balanced", TASKS[0], SMALL),
    ("balanced", TASKS[0], SMALL | {"part": "lora", "gradient_checkpointing": True}),
    ("anchor_sum", TASKS[0], SMALL),
    ("anchor_balanced", TASKS[0], SMALL),
    ("placebo", TASKS[0], {"steps": 1}),
    ("gradient_sum", TASKS[1], SMALL),
    ("none", TASKS[1], {}),
]
BAD = [*REFUSED, *HARMLESS, *ACTING]
TOLD = {name: told for name, (_, told) in (REFUSED | ACTING).items() if told}
"""Method -> part of what its failed record says; the others are measured."""


@pytest.fixture(scope="module", autouse=True)
def quick() -> Iterator[None]:
    """Draw few images at once, and look through no module for garbage: both are repeated for every cell."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sampling.MICRO_BATCH, "cpu", 2)
        gc.collect()
        gc.freeze()
        yield
        gc.unfreeze()


@pytest.fixture(scope="module")
def plugin(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = write_plugin(tmp_path_factory.mktemp("plugin"))
    sys.path.insert(0, str(folder))
    importlib.invalidate_caches()
    yield folder
    sys.path.remove(str(folder))
    for name in [name for name in sys.modules if name.partition(".")[0] == "badmethods"]:
        del sys.modules[name]


def _cell(method: str, task: str = TASKS[0], config: dict[str, Any] | None = None) -> Cell:
    row = MethodRow(name=method, config=config or {})
    suite = Suite(name="test", tasks=[task], methods=[row], sizes=SIZES)
    entry = None if method == "none" else registry("methods")[method]
    return Cell(suite, task_registry()[task], row, entry, 0)


def _good() -> list[Cell]:
    return [_cell(method, task, config) for method, task, config in GOOD]


def _digests(outcomes: list[Outcome]) -> dict[str, str]:
    return {o.cell.stem: record_digest(read_record(o.path)) for o in outcomes if o.state == "measured"}


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Digests of the good cells' records, each measured by a runner and a store of its own."""
    from unlearnbench.bench.running.session import set_threads
    from unlearnbench.bench.store import Store

    found: dict[str, str] = {}
    for number, cell in enumerate(_good()):
        folder = tmp_path_factory.mktemp(f"alone-{number}")
        runner = Runner(
            store=Store(folder / "store"),
            folder=folder / "records",
            device="cpu",
            threads=set_threads(1),
            worlds={"tiny": registry("worlds")["tiny"].load()()},
            metrics=registry("metrics"),
            command="unlearnbench run",
            say=lambda line: None,
        )
        found |= _digests(runner.run([cell]))
    assert len(found) == len(GOOD)
    return found


def _process() -> list[Any]:
    """Return settings of the process that a method may leave changed."""
    return [
        torch.get_default_dtype(),
        torch.get_default_device(),
        torch.is_grad_enabled(),
        torch.get_num_threads(),
        torch.are_deterministic_algorithms_enabled(),
        torch.get_float32_matmul_precision(),
        torch.is_autocast_enabled("cpu"),
        float(torch.tensor([1e-39]) * torch.tensor([0.5])),
        dict(os.environ),
        Path.cwd(),
        list(sys.argv),
        sys.stdout,
        torch.nn.functional.silu,
        torch.nn.Conv2d.forward,
    ]


ORDERS = [pytest.param(0), *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(1, 4))]


@pytest.mark.parametrize("seed", ORDERS)
def test_no_method_changes_another_cell(
    make_runner: Callable[..., Runner], plugin: Path, alone: dict[str, str], tmp_path: Path, seed: int
) -> None:
    cells = [*(_cell(name) for name in BAD), *_good()]
    random.Random(seed).shuffle(cells)
    store = tmp_path / "own-store"
    before = _process()
    outcomes = make_runner(store=store).run(cells)
    assert _process() == before
    wrong = []
    for outcome in outcomes:
        record, name = read_record(outcome.path), outcome.cell.row.name
        told, state = TOLD.get(name, "None"), str(record.error)
        if outcome.state != ("failed" if name in TOLD else "measured") or told not in state:
            wrong.append((name, outcome.state, state))
    assert not wrong
    found = _digests(outcomes)
    assert {stem: found[stem] for stem in alone} == alone
    # what a later, clean run takes from the same store
    again = make_runner(store=store, folder=tmp_path / "again").run(_good())
    assert _digests(again) == alone
    assert sum(outcome.drawn for outcome in again) == 0


@pytest.mark.parametrize("name", ["random", "grads"])
def test_a_harmless_method_repeats(
    make_runner: Callable[..., Runner], plugin: Path, tmp_path: Path, name: str
) -> None:
    """What it draws from global generators does not hang on what ran before."""
    digests = []
    for number in range(2):
        torch.rand(number)
        runner = make_runner(store=tmp_path / f"store-{number}", folder=tmp_path / f"records-{number}")
        digests.append(_digests(runner.run([_cell(name)])))
    assert len(digests[0]) == 1
    assert digests[0] == digests[1]


def test_a_point_of_a_refused_method_is_named(make_runner: Callable[..., Runner], plugin: Path) -> None:
    said: list[str] = []
    [outcome] = make_runner(say=said.append).run([_cell("textenc")])
    error = str(read_record(outcome.path).error)
    for part in ("method textenc", "step 1", "text_encoder", "does not declare", "trains"):
        assert part in error
    assert "\n" not in error
    assert error in said[-1]
