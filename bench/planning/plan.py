"""From a suite's TOML to cells: (task, method, config, seed)."""

import hashlib
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, Field, PrivateAttr, field_validator, model_validator

from ..config import STRICT, apply_preset, build, read_toml
from ..errors import UserError
from ..names import INLINE, file_part, task_part
from ..registry import Entry, Registry
from ..types import INTERVAL_VERSION, DataChoice, Headline
from .choice import Choice, read_choice, rows_of
from .combined import is_combined
from .draws import DRAWN
from .protocol import PlannedWorld
from .rows import MOST_SEEDS, MOST_THREADS, AttackRow, Seed, check_attacks, check_seeds
from .rows import MethodRow as MethodRow
from .rows import check_options_seeds as check_options_seeds
from .sequences import Turn, cell_parts, check_method, plan_turns
from .tasks import PromptSizes, Task, complete_name
from .training_data import check_data

RETRAIN = "retrain"
REFERENCES = ("none", RETRAIN)
"""References: models that the world supplies. They stand in the method column; no method made them."""


class Suite(BaseModel):
    """Which tasks, methods and seeds a run is made of.

    sequence: tasks to be forgotten one after another on the same model, in place of `tasks`.
    unscored_below: a point whose UA is below this on both halves of the prompts gets no retain images, unless
    it is the last of its run (`bench/measuring/needed.py` says up to which value that is harmless). choice:
    file with the configurations of `tuned` methods, next to the suite; choice_sha256 is filled in when it is
    read. anchors: task -> anchor in place of the one that the task names. threads: CPU threads of every cell,
    whatever the command line says, because sums on a CPU depend on their number. headline: the number that
    orders the suite's board; H reads every point, so unscored_below is then 0. declaration: text file next to
    the suite that says beforehand what the suite asks and what would count as an answer; every record holds
    its sha256, declaration_sha256, which is filled in when the suite is read. attacks: run after the cells;
    no key of a cell depends on them. limit: most prompts of each set; its records are shown and never ranked.
    sheets: the tasks whose records have a contact sheet; None: all. No key of a cell depends on it.
    """

    model_config = STRICT
    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]*$", max_length=100)
    summary: str = ""
    tasks: list[str] = []
    sequence: list[str] = []
    methods: list[MethodRow] = Field(min_length=1)
    attacks: list[AttackRow] = []
    sheets: list[str] | None = None
    seeds: list[Seed] = Field(default=[0], min_length=1, max_length=MOST_SEEDS)
    data: DataChoice = "diverse"
    sizes: PromptSizes = PromptSizes()
    unscored_below: float = Field(default=0.0, ge=0.0, lt=1.0)
    choice: str | None = Field(default=None, pattern=r"^[a-z0-9][a-z0-9-]*\.json$")
    choice_sha256: str | None = Field(default=None, exclude=True)
    anchors: dict[str, str] = {}
    threads: int | None = Field(default=None, ge=1, le=MOST_THREADS)
    limit: int | None = Field(default=None, ge=1)
    headline: Headline = "AVA"
    declaration: str | None = Field(default=None, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*\.md$")
    declaration_sha256: str = Field(default="", exclude=True)
    _folder: Path | None = PrivateAttr(default=None)

    @property
    def folder(self) -> Path:
        """The folder of its file, its choice and its declaration; without a file the working folder."""
        return self._folder or Path()

    @field_validator("seeds")
    @classmethod
    def _once(cls, seeds: list[int]) -> list[int]:
        return check_seeds(seeds)

    @model_validator(mode="after")
    def _check(self) -> Self:
        if bool(self.tasks) == bool(self.sequence):
            raise ValueError("tasks: a suite names either `tasks` or a `sequence` of tasks")
        if self.anchors and (self.sequence or any(is_combined(name) for name in self.anchors)):
            raise ValueError("anchors: tasks with several targets, and sequences, have those of their parts")
        for field, names in (
            ("sequence" if self.sequence else "tasks", self.sequence or self.tasks),
            ("methods", [row.model_dump_json() for row in self.methods]),
            ("attacks", [row.model_dump_json() for row in self.attacks]),
        ):
            twice = next((name for name in names if names.count(name) > 1), None)
            if twice is not None:
                raise ValueError(f"{field}: {twice:.80} stands twice")
        if self.headline == "H" and self.unscored_below > 0:
            raise ValueError(
                f"unscored_below: is {self.unscored_below}; with headline H every point counts, "
                "so it must be 0"
            )
        check_attacks(self.attacks, [row.name for row in self.methods], self.tasks)
        single = {name for name in self.tasks if DRAWN.fullmatch(name) is None}
        if unknown := sorted(set(self.sheets or []) - single):
            raise ValueError(f"sheets: {unknown[0]!r:.80} is none of the single concepts in `tasks`")
        return self


@dataclass(frozen=True)
class Cell:
    """One piece of work, and one record.

    entry: the method; None for a reference and for somebody's models. models: evaluated as they are in place
    of the world's base, one point each (`bench/models/outside.py` says what is possible). interval_version:
    of the record's intervals; a record is repeated with its own. turn: its place in a sequence.
    """

    suite: Suite
    task: Task
    row: MethodRow
    entry: Entry | None
    seed: int
    models: tuple[str, ...] = ()
    interval_version: Literal[1, 2] = INTERVAL_VERSION
    turn: Turn | None = None

    @property
    def trained(self) -> Task:
        """The task that is trained on: the step's own in a sequence."""
        return self.turn.request if self.turn is not None and self.turn.step else self.task

    @property
    def before(self) -> "Cell | None":
        """The cell whose weights this one starts from: the step before in a sequence, if there is one."""
        if self.turn is None or self.turn.step < 2:
            return None
        return replace(self, turn=replace(self.turn, step=self.turn.step - 1))

    @property
    def has_sheet(self) -> bool:
        """Whether a contact sheet is made: the suite's other seeds would show the same prompts and noise."""
        named = self.suite.sheets
        if named is not None and not {self.task.id, self.task.id.partition("@")[0]} & set(named):
            return False
        return self.entry is None or self.seed == min(seeds_of(self.suite, self.row))

    @property
    def is_inline(self) -> bool:
        """Whether the method, or a model, was given as a Python function, so that nobody else can run it."""
        given = any(model.startswith(INLINE) for model in self.models)
        return given or bool(self.entry is not None and self.entry.inline)

    @property
    def is_base(self) -> bool:
        """Whether the cell measures the world's own model as it is."""
        return self.entry is None and not self.models

    def build_config(self) -> Any:
        """Return the method's validated configuration; raises UserError naming suite, method and key."""
        assert self.entry is not None
        source = f"{self.suite.name}: method {self.row.name}"
        return build(self.entry.load_config(), self.row.config, source)

    @property
    def stem(self) -> str:
        """File name of the record: task, method, seed, place in a sequence, a short digest of the rest."""
        turn = None if self.turn is None else (self.turn.names, self.turn.step)
        rest, place = cell_parts(self.row.config, self.row.noise, self.suite.data, self.row.label, turn)
        task = task_part(self.task.id)
        name = file_part(self.row.name) if self.models else self.row.name
        return f"{task}.{name}.{rest}.s{self.seed}{place}"


def seeds_of(suite: Suite, row: MethodRow) -> list[int]:
    """Return the training seeds of a row."""
    return row.seeds or suite.seeds


def read_suite(path: Path) -> Suite:
    """Read a suite with the digest of its declaration; raises UserError naming file and key."""
    suite = build(Suite, read_toml(path), str(path))
    suite._folder = path.parent
    return take_declaration(suite)


def take_declaration(suite: Suite) -> Suite:
    """Return the suite with the sha256 of its declaration, a file in its folder; a digest it has already
    stays.

    Raises UserError where the file cannot be read.
    """
    if suite.declaration is None or suite.declaration_sha256:
        return suite
    path = suite.folder / suite.declaration
    try:
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise UserError(
            f"{path}: {error.strerror}; the suite {suite.name} names it as its declaration: write it first"
        ) from None
    return suite.model_copy(update={"declaration_sha256": digest})


def find_suite(name: str, folder: Path) -> Suite:
    """Return a suite by its name or by the path of a TOML file."""
    if name.endswith(".toml"):
        return read_suite(Path(name))
    known = {path.stem: path for path in sorted(folder.glob("*.toml"))}
    if name not in known:
        raise UserError(f"no suite named {name[:60]!r}; known: {', '.join(known)}")
    return read_suite(known[name])


def take_choice(suite: Suite) -> Suite:
    """Return the suite with the chosen configurations, a file in its folder, in place of its `tuned` rows.

    Raises UserError where the file is missing, or holds another number of configurations.
    """
    if not any(row.tuned for row in suite.methods):
        return suite
    if suite.choice is None:
        raise UserError(f"{suite.name}: choice: a row is `tuned`, but no file of chosen configurations named")
    path = suite.folder / suite.choice
    choice = read_choice(path)
    rows = [part for row in suite.methods for part in (_chosen(row, choice, path) if row.tuned else [row])]
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return suite.model_copy(update={"methods": rows, "choice_sha256": digest})


def _chosen(row: MethodRow, choice: Choice, path: Path) -> list[MethodRow]:
    found = rows_of(choice, row.name, path)
    if len(found) != row.tuned:
        raise UserError(
            f"{path}: {row.name}: {len(found)} configurations chosen, the suite takes {row.tuned}"
        )
    return [row.model_copy(update={"config": r.config, "shown": r.shown, "tuned": 0}) for r in found]


def resolve_presets(suite: Suite, methods: Registry[Entry]) -> Suite:
    """Return the suite with every preset's settings in place of its name.

    Keys, file names and records hold the settings, so that a later change of a preset renames nothing. Raises
    UserError naming suite, method and the known presets.
    """

    def resolve(row: MethodRow) -> MethodRow:
        if row.name not in methods and row.name not in REFERENCES:
            return row  # the plan names it, with those that are spelt alike
        presets = methods[row.name].presets if row.name in methods else {}
        config = apply_preset(row.config, presets, f"{suite.name}: method {row.name}")
        return row.model_copy(update={"config": config})

    return suite.model_copy(update={"methods": [resolve(row) for row in suite.methods]})


def plan_cells(suite: Suite, tasks: Registry[Task], methods: Registry[Entry]) -> list[Cell]:
    """Return the cells of a suite, references first; raises UserError for an unknown task or method."""
    suite = resolve_presets(suite, methods)
    rows = sorted(suite.methods, key=lambda row: row.name not in REFERENCES)
    if suite.sequence:
        names = [complete_name(name) for name in suite.sequence]
        turns = plan_turns(suite.name, names, suite.sizes.forget, tasks.__getitem__)
        for turn in turns[1:]:
            check_data(turn.request, suite.data)
        return [cell for row in rows for cell in _plan_row(suite, row, turns[0].whole, methods, turns)]
    anchors = {tasks[complete_name(name)].id: anchor for name, anchor in suite.anchors.items()}
    cells = []
    for name in suite.tasks:
        task = tasks[complete_name(name)]
        if task.id in anchors:
            task = replace(task, concept=task.concept.model_copy(update={"anchor": anchors[task.id]}))
        check_data(task, suite.data)
        cells += [cell for row in rows for cell in _plan_row(suite, row, task, methods)]
    return cells


def _plan_row(
    suite: Suite, row: MethodRow, task: Task, methods: Registry[Entry], turns: Sequence[Turn | None] = ()
) -> list[Cell]:
    """Return the cells of a row on a task. turns: of a sequence, from step 0 on; references stop there."""
    if row.name in REFERENCES:
        return [Cell(suite, task, row, None, 0, turn=turns[0] if turns else None)]
    entry = check_method(suite.name, methods[row.name]) if turns else methods[row.name]
    pairs = itertools.product(seeds_of(suite, row), turns[1:] or [None])
    return [Cell(suite, task, row, entry, seed, turn=turn) for seed, turn in pairs]


def find_references(cells: list[Cell], worlds: Mapping[str, PlannedWorld]) -> list[Cell]:
    """Return the cells with the folder of every retrained model; raises UserError where one is missing."""
    return [
        replace(cell, models=(str(worlds[cell.task.file.world].retrained_pipeline(cell.task)),))
        if cell.row.name == RETRAIN
        else cell
        for cell in cells
    ]
