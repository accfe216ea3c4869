"""MACE's protocol of 1, 5, 10 and 100 names, on files of its shape and a tiny pipeline."""

from pathlib import Path
from typing import Any

import pytest
import torch

from unlearnbench.bench.errors import UserError
from unlearnbench.bench.planning.plan import find_suite, plan_cells
from unlearnbench.bench.planning.tasks import PromptSizes, Task
from unlearnbench.bench.running.catalog import registry, suites_folder, task_registry
from unlearnbench.bench.running.dry_run import estimate_tasks
from unlearnbench.bench.unlearning.writing import write_for_targets
from unlearnbench.bench.worlds.hub.prompts import build_prompts, names_of
from unlearnbench.bench.worlds.hub.protocols import CELEBRITY_TEMPLATES

from .test_hub import save_models

FIRST = ("Ann", "Bob", "Cid", "Dan", "Eve", "Fay", "Gus", "Hal", "Ida", "Jim")
LAST = ("Ash", "Bell", "Cook", "Dean", "Ford", "Gray", "Hill", "King", "Lane", "Moss")
OTHERS = [f"{first} {last}" for first in FIRST for last in LAST]
SIZES = PromptSizes(
    forget=2500, forget_samples=1, retain_same=2500, retain_other=0, retain_given=0, indirect=0
)


def _task(number: int) -> Task:
    return task_registry()[f"celebrities/mace-{number}@sd14"]


def _write(folder: Path, number: int, others: list[str] = OTHERS) -> Path:
    """Write a file of the published shape: 250 rows of the names (2500 of 100 names), 2500 of 100 others."""
    targets = _task(number).concept.targets
    seeds = max(250, 25 * number) // 5 // number
    lines = [",type,prompt,evaluation_seed"]
    for kind, names, count in (("erased", targets, seeds), ("others", others, 5)):
        lines += [
            f"{len(lines) + i},{kind},{template.format(name)},{seed}"
            for i, (name, template, seed) in enumerate(
                (n, t, s) for n in names for t in CELEBRITY_TEMPLATES for s in range(1, count + 1)
            )
        ]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"celebrity_{number}_concepts.csv").write_text("\n".join(lines) + "\n")
    return folder


@pytest.mark.parametrize("number", [1, 5, 10, 100])
def test_every_row_is_a_prompt_with_its_own_seed(tmp_path: Path, number: int) -> None:
    task, data = _task(number), _write(tmp_path, number)
    assert len(task.concept.targets) == number
    assert names_of(task, data) == [*task.concept.targets, *OTHERS]
    prompts = build_prompts(task, SIZES, data)
    forget = [p for p in prompts if p.split == "forget"]
    retain = [p for p in prompts if p.split == "retain"]
    assert (len(forget), len(retain)) == (max(250, 25 * number), 2500)
    asked = [p.asked["subject"] for p in forget]
    assert {name: asked.count(name) for name in task.concept.targets} == dict.fromkeys(
        task.concept.targets, len(forget) // number
    )
    assert {p.asked["subject"] for p in retain} == set(OTHERS)
    assert not any(p.given for p in retain)  # so IRA is MACE's accuracy on all others
    assert all(p.seed is not None for p in prompts)
    assert all(p.targets == tuple(task.concept.targets) for p in forget)


def test_a_smaller_run_asks_for_every_name_in_turn(tmp_path: Path) -> None:
    task, data = _task(10), _write(tmp_path, 10)
    small = SIZES.model_copy(update={"forget": 10, "retain_same": 100})
    prompts = build_prompts(task, small, data)
    assert [p.asked["subject"] for p in prompts if p.split == "forget"] == task.concept.targets
    assert {p.asked["subject"] for p in prompts if p.split == "retain"} == set(OTHERS)


def test_a_file_with_other_rows_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"celebrity_5_concepts\.csv: 2725 rows, the published file has 2750"):
        build_prompts(_task(5), SIZES, _write(tmp_path, 5, OTHERS[:-1]))
    with pytest.raises(UserError, match=r"celebrity_1_concepts\.csv: no such file"):
        build_prompts(_task(1), SIZES, tmp_path)


def test_training_prompts_name_every_target_and_retain_prompts_none() -> None:
    names = dict.fromkeys(_task(100).concept.targets, "a person")
    wording = write_for_targets(names, "person", 200)
    assert [len(part) for part in (wording.forget, wording.retain, wording.anchored)] == [200] * 3
    for name in names:
        assert sum(name in prompt for prompt in wording.forget) == 2
        assert not any(name in prompt for prompt in (*wording.retain, *wording.anchored))
    with pytest.raises(UserError, match="50 for 100 targets"):
        write_for_targets(names, "person", 50)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Any:
    places = save_models(tmp_path_factory.mktemp("mace"))
    _write(places["data"], 5)
    made = registry("worlds")["sd14"].load()()
    return made.placed(source=places["model"], clip=places["clip"], data=places["data"], steps=2, images=10)


def test_mace_erases_five_names_of_a_tiny_pipeline(world: Any) -> None:
    from unlearnbench.bench.models.generators import open_pipeline

    task = _task(5)
    problem = world.problem(task, "diverse", 0)
    assert problem.targets == tuple(task.concept.targets)
    assert (problem.anchor, problem.anchors) == ("a person", ())
    assert all(any(name in prompt for prompt in problem.forget_set.prompts) for name in problem.targets)
    judge = world.open_judge(task)
    assert set(judge.names) >= {*task.concept.targets, *OTHERS}
    pipeline = open_pipeline(str(world.pipeline_folder), "cpu")
    before = {name: tensor.clone() for name, tensor in pipeline.unet.state_dict().items()}
    entry, saved = registry("methods")["mace"], []
    config = entry.load_config()(steps=1, images=1, batch=1, prompts="name", region_draws=1)
    entry.load()(pipeline, problem, config, lambda step, log, tensors=None: saved.append(step))
    changed = {n for n, t in pipeline.unet.state_dict().items() if not torch.equal(t, before[n])}
    assert saved == [1]
    assert changed
    assert all(name.endswith(("attn2.to_k.weight", "attn2.to_v.weight")) for name in changed)


def test_the_suite_plans_every_size_and_says_how_much_it_draws(world: Any) -> None:
    cells = plan_cells(find_suite("mace", suites_folder()), task_registry(), registry("methods"))
    assert len(cells) == 12
    lots = estimate_tasks(cells, {"sd14": world})
    assert [lot.task for lot in lots] == [f"celebrities/mace-{n}@sd14" for n in (1, 5, 10, 100)]
