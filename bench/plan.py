"""From a suite's TOML to cells: (task, method, config, seed)."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, Field

from .config import STRICT, build, read_toml
from .errors import UserError
from .registry import Entry, Registry
from .store import content_key
from .tasks import PromptSizes, Task, complete_name

RETRAIN = "retrain"
REFERENCES = ("none", RETRAIN)
"""Models that the world supplies; they stand in the method column and no unlearning method made them."""


class MethodRow(BaseModel):
    """One method with the configuration that it runs with.

    noise: seed of the evaluation noise. shown: step of the point that a board shows for this method, chosen
    beforehand on tuning concepts; 0: no point of this row; None: nothing was chosen beforehand.
    """

    model_config = STRICT
    name: str
    config: dict[str, Any] = {}
    noise: int = 0
    shown: int | None = None


class Suite(BaseModel):
    """Which tasks, methods and seeds a run is made of.

    unscored_below: a point that is not its run's last and whose UA is below this on both halves of the
    prompts gets no retain images (`bench/needed.py` says up to where that is harmless).
    """

    model_config = STRICT
    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]*$")
    summary: str = ""
    tasks: list[str] = Field(min_length=1)
    methods: list[MethodRow] = Field(min_length=1)
    seeds: list[int] = [0]
    data: Literal["diverse", "narrow"] = "diverse"
    sizes: PromptSizes = PromptSizes()
    unscored_below: float = Field(default=0.0, ge=0.0, lt=1.0)


@dataclass(frozen=True)
class Cell:
    """One piece of work, and one record.

    entry: the method (None for a reference and for somebody's model). model: folder or hub id of a model
    that is evaluated as it is, in place of the world's own.
    """

    suite: Suite
    task: Task
    row: MethodRow
    entry: Entry | None
    seed: int
    model: str = ""

    @property
    def stem(self) -> str:
        """File name of the record: task, method, seed and a short digest of what else tells cells apart."""
        rest = content_key({"config": self.row.config, "noise": self.row.noise, "data": self.suite.data})[:6]
        task = self.task.id.replace("/", "-").replace("@", "-")
        return f"{task}.{self.row.name}.{rest}.s{self.seed}"


def read_suite(path: Path) -> Suite:
    """Read a suite; raises UserError naming file and key."""
    return build(Suite, read_toml(path), str(path))


def find_suite(name: str, folder: Path) -> Suite:
    """Return a suite by its name or by the path of a TOML file."""
    if name.endswith(".toml"):
        return read_suite(Path(name))
    path = folder / f"{name}.toml"
    if not path.is_file():
        known = ", ".join(sorted(p.stem for p in folder.glob("*.toml")))
        raise UserError(f"no suite named {name!r}; known: {known}")
    return read_suite(path)


def plan_cells(suite: Suite, tasks: Registry[Task], methods: Registry[Entry]) -> list[Cell]:
    """Return the cells of a suite, references first; raises UserError for an unknown task or method."""
    cells = []
    rows = sorted(suite.methods, key=lambda row: row.name not in REFERENCES)
    for name in suite.tasks:
        task = tasks[complete_name(name)]
        for row in rows:
            if row.name in REFERENCES:
                cells.append(Cell(suite, task, row, None, 0))
            else:
                cells += [Cell(suite, task, row, methods[row.name], seed) for seed in suite.seeds]
    return cells


def find_references(cells: list[Cell], worlds: Mapping[str, Any]) -> list[Cell]:
    """Return the cells with the folder of every retrained model; raises UserError where one is not there."""
    return [
        replace(cell, model=str(worlds[cell.task.file.world].retrained_pipeline(cell.task)))
        if cell.row.name == RETRAIN
        else cell
        for cell in cells
    ]
