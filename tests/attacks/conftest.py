"""A victim of the tiny world, and attacked records of it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from unlearnbench.bench.attacks.contract import Cost, Learning, Verdict, Victim, without
from unlearnbench.bench.models.generators import open_pipeline
from unlearnbench.bench.planning.plan import Cell
from unlearnbench.bench.planning.tasks import Task
from unlearnbench.bench.running.attacking.attack_run import AttackRun, plan_attack
from unlearnbench.bench.running.catalog import registry, task_registry
from unlearnbench.bench.running.runner import Runner
from unlearnbench.bench.worlds.protocol import World

TASK = "classes/cat-face@tiny"
PROMPTS = {"one": "an emoji of a cat face in noto style on red", "two": "a picture of a cat face"}


@pytest.fixture(scope="session")
def world() -> World:
    return registry("worlds")["tiny"].load()()  # type: ignore[no-any-return]


@pytest.fixture(scope="session")
def learning(world: World) -> Learning:
    task: Task = task_registry()[TASK]
    problem = world.problem(task, "diverse", 1_000_000)
    clean = problem.forget_set.anchor_prompts or tuple(
        without(text, problem.targets) for text in problem.forget_set.prompts
    )
    return Learning(problem.forget_set, problem.retain_set, clean)


@pytest.fixture
def make_victim(world: World, learning: Learning) -> Callable[..., Victim]:
    """Return make(dtype=..., judge=..., draw=...): a victim that is the tiny world's own model."""

    def refuse(*_: Any) -> Any:
        raise AssertionError("this attack neither draws nor asks the judge")

    def make(
        dtype: torch.dtype = torch.float32,
        judge: Callable[..., Verdict] = refuse,
        draw: Callable[..., Any] = refuse,
        seed: int = 0,
        keep: Callable[[int], None] = lambda step: None,
    ) -> Victim:
        def open_it() -> Any:
            return open_pipeline(world.pipeline_folder, "cpu", dtype)

        return Victim(
            task=TASK,
            prompts=PROMPTS,
            targets=("cat face",),
            size=(world.pixels, world.pixels),
            steps=world.steps,
            guidance=dict.fromkeys(PROMPTS, world.guidance),
            samples=1,
            generator=torch.Generator().manual_seed(seed),
            cost=Cost(),
            _learn=lambda: learning,
            _pipeline=open_it,
            _base=open_it,
            _draw=draw,
            _judge=judge,
            _keep=keep,
        )

    return make


@pytest.fixture
def make_attack(make_runner: Callable[..., Runner], make_cell: Callable[..., Cell]) -> Callable[..., Any]:
    """Return make(entry or name, **settings): a run of an attack on the tiny world's own model."""

    def make(attack: Any, folder: Path | None = None, seed: int = 0, **settings: Any) -> AttackRun:
        entry = registry("attacks")[attack] if isinstance(attack, str) else attack
        return AttackRun(make_runner(folder=folder), make_cell(), plan_attack(entry, settings, seed))

    return make


@pytest.fixture
def modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], Any]:
    """Return write(name, text): the entry of an attack in a module of its own."""
    from unlearnbench.bench.registry import make_entry, read_register

    monkeypatch.syspath_prepend(str(tmp_path))

    def write(name: str, text: str) -> Any:
        path = tmp_path / f"{name}.py"
        path.write_text(text, encoding="utf-8")
        register = read_register(path)
        assert register is not None
        return make_entry(name, name, register, "a test")

    return write
