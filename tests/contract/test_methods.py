"""Contract: every registered method runs on every family and leaves a whole, repeatable record."""

from collections.abc import Callable

import pytest

from unlearnbench.bench.records.record import read_items, read_record
from unlearnbench.bench.running.catalog import registry, task_registry
from unlearnbench.bench.running.runner import Runner

METHODS = [*registry("methods"), "none"]
TASKS = [task.id for task in task_registry().values() if task.file.world == "tiny"]
ALWAYS = ("UA", "VA", "in_prompt", "AS", "KID", "collapse")
SMALL = {
    "steps": 2,
    "checkpoints": [1, 2],
    "batch": 4,
    "rate": 1e-4,
    "images": 8,
    "mask_batches": 2,
    "pairs": 4,
}


def _config(method: str) -> dict[str, object]:
    """Return of the small settings those that a method has."""
    known = {} if method == "none" else registry("methods")[method].load_config().model_fields
    return {name: value for name, value in SMALL.items() if name in known}


def _steps(method: str) -> list[int]:
    """Return the steps of a method's points: 0 of the base itself, 1 where weights are solved for."""
    if method == "none":
        return [0]
    return [1, 2] if "steps" in _config(method) else [1]


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("method", METHODS)
def test_every_method_runs_on_every_family(
    make_runner: Callable[..., Runner], make_cell: Callable[..., object], method: str, task: str
) -> None:
    cell = make_cell(task, method, **_config(method))
    [outcome] = make_runner().run([cell])  # type: ignore[list-item]
    record = read_record(outcome.path)
    assert outcome.state == "measured", record.error
    assert record.status == "ok"
    assert [p.step for p in record.points] == _steps(method)
    items = read_items(outcome.path, record)
    assert items is not None
    assert len(items) == len(record.points) * items.groupby("point").size().iloc[0]
    for point in record.points:
        for name in ALWAYS:
            value = point.values[name]
            assert (value.value is None) == (value.missing is not None), name
        assert point.values["UA"].value is not None
        assert point.values["FID"].missing  # no Inception weights ship: missing, never 0
    columns = {len(column) for column in record.log.values()}
    assert len(columns) <= 1
    assert outcome.path.with_suffix(".webp").stat().st_size > 500


def test_tasks_of_all_four_families_are_there() -> None:
    assert {task.split("/")[0] for task in TASKS} == {"classes", "styles", "nudity", "celebrities"}
