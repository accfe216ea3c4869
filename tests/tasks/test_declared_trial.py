"""The suites of the trial are those that their declaration describes."""

from unlearnbench.bench.planning.plan import Suite, find_suite
from unlearnbench.bench.planning.tasks import Task
from unlearnbench.bench.running.catalog import suites_folder, task_registry

FAMILIES = ("classes", "styles", "celebrities")


def _suite(name: str) -> Suite:
    return find_suite(name, suites_folder())


def _tasks(suite: Suite) -> list[Task]:
    registry = task_registry()
    return [registry.expand(f"{name}@emoji")[0] for name in suite.tasks]


def test_the_trial_has_the_board_and_all_that_two_seeds_draw_without_repeats() -> None:
    registry = task_registry()
    drawn = [
        task for seed in "12" for family in FAMILIES for task in registry.expand(f"{family}@draw:{seed}")
    ]
    targets = [task.concept.targets for task in _tasks(_suite("trial"))]
    assert targets[:12] == [task.concept.targets for task in _tasks(_suite("emoji"))]
    assert len(targets) == 25
    assert sorted(targets[12:]) == sorted(
        {tuple(task.concept.targets): task.concept.targets for task in drawn}.values()
    )


def test_the_trials_methods_are_configurations_that_were_searched_for() -> None:
    tried = {name: _suite(name).methods for name in ("trial-tuning", "trial-arms")}
    for name in ("trial", "trial-narrow"):
        rows = _suite(name).methods
        assert [row.name for row in rows] == ["none", "gradient_sum", "balanced"]
        assert all(row in tried["trial-tuning"] + tried["trial-arms"] for row in rows)


def test_the_narrow_arm_has_cells_of_the_trial_and_another_retain_set() -> None:
    trial, narrow = _suite("trial"), _suite("trial-narrow")
    assert set(narrow.tasks) <= set(trial.tasks)
    assert len(narrow.tasks) == 8
    assert (trial.data, narrow.data) == ("diverse", "narrow-retain")
    assert (narrow.methods, narrow.sizes, narrow.declaration) == (
        trial.methods,
        trial.sizes,
        trial.declaration,
    )
