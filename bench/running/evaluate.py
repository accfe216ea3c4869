"""The cell that scores somebody's models as they are: one point each."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..errors import UserError
from ..planning.plan import Cell, MethodRow, Suite
from ..planning.tasks import PromptSizes, Task


def make_model_cell(
    suite: str,
    task: Task,
    models: Sequence[str],
    row: MethodRow,
    sizes: PromptSizes,
    seed: int = 0,
    limit: int | None = None,
) -> Cell:
    """Return the cell that scores models, in a suite of this name with only it and the base model.

    limit: that the sizes were cut to.
    """
    none = MethodRow(name="none", noise=row.noise)
    whole = Suite(name=suite, tasks=[task.id], methods=[none, row], sizes=sizes, limit=limit)
    return Cell(whole, task, row, None, seed, tuple(models))


def refuse_another(runner: Any, cell: Cell) -> None:
    """Raise UserError where the cell's record is there already but was measured on other models."""
    from ..models.outside import kind_of
    from ..records.packed.record_table import has_record
    from ..records.record import read_record

    path = runner.folder / f"{cell.stem}.json"
    if any(kind_of(model) == "function" for model in cell.models) or not has_record(path):
        return  # the digest of a function may differ in every process
    try:
        record = read_record(path)
    except UserError:  # damaged: it is measured again
        return
    world = runner.worlds[cell.task.file.world]
    found = [runner._holder(world, model).fingerprint for model in cell.models]
    if record.status == "ok" and [point.fingerprint for point in record.points] != found:
        raise UserError(
            f"{path}: holds the numbers of another model of the name {cell.row.name}; give --name or another "
            "--out, or delete it"
        )


def refuse_other_limit(folder: Path, cells: Sequence[Cell]) -> None:
    """Raise UserError where a record would be replaced by one with another --limit: a part by the whole may
    be, but never the whole by a part."""
    from ..records.packed.record_table import has_record
    from ..records.record import read_record

    for cell in cells:
        path = folder / f"{cell.stem}.json"
        if cell.suite.limit is None or not has_record(path):
            continue
        try:
            known = read_record(path).limit
        except UserError:  # damaged: it is measured again
            continue
        if known != cell.suite.limit:
            was = "without a limit" if known is None else f"with --limit {known}"
            raise UserError(f"{path}: was measured {was}; give --limit {cell.suite.limit} another --out")
