"""From a suite's TOML to cells: (task, method, config, seed)."""

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, Field, field_validator, model_validator

from ..config import STRICT, apply_preset, build, read_toml
from ..errors import UserError
from ..names import INLINE, file_part
from ..registry import Entry, Registry
from ..store import content_key
from ..types import INTERVAL_VERSION, DataChoice, Headline
from .attack_rows import AttackRow, check_attacks
from .choice import Choice, read_choice, rows_of
from .protocol import PlannedWorld
from .tasks import PromptSizes, Task, complete_name

RETRAIN = "retrain"
REFERENCES = ("none", RETRAIN)  # models that the world supplies, in the method column; no method made them
MOST_SEEDS, MOST_STEPS, MOST_THREADS = 1_000, 10**9, 1024
MOST_SEED = 2**32 - 1
Seed = Annotated[int, Field(ge=0, le=MOST_SEED)]  # of a training run or of evaluation noise


class MethodRow(BaseModel):
    """One method with the configuration that it runs with.

    config: settings of the method, the name of one of its presets (`config = "paper"`), or a preset with
    settings that override it (`config = { preset = "paper", steps = 40 }`).
    noise: seed of the evaluation noise. shown: step of the point that a board shows for this method, chosen
    beforehand on tuning concepts; 0: no point of this row; None: nothing was chosen beforehand. tuned: number
    of configurations to take from the suite's choice in place of `config`. seeds: training seeds of this row
    only, in place of the suite's. label: sets configurations apart that a board shows in a row of their own
    (`paper` for a preset beside the tuned row); the board's row is then named `NAME (LABEL)`.
    """

    model_config = STRICT
    name: str = Field(min_length=1)
    label: str = Field(default="", pattern=r"^([a-z0-9][a-z0-9 ._-]*)?$", max_length=40)
    config: dict[str, Any] = {}
    noise: Seed = 0
    shown: int | None = Field(default=None, ge=0, le=MOST_STEPS)
    tuned: int = Field(default=0, ge=0, le=100)
    seeds: list[Seed] = Field(default=[], max_length=MOST_SEEDS)

    @field_validator("seeds")
    @classmethod
    def _once(cls, seeds: list[int]) -> list[int]:
        return check_seeds(seeds)

    @field_validator("config")
    @classmethod
    def _drop_infinity(cls, value: dict[str, Any]) -> dict[str, Any]:
        """Write `no bound` as None: TOML can only say `inf`, which the JSON of keys and records cannot."""
        for name, setting in value.items():
            if isinstance(setting, float) and (math.isnan(setting) or setting == -math.inf):
                raise ValueError(f"{name}: {setting} is no setting")
        return {name: None if setting == math.inf else setting for name, setting in value.items()}

    @field_validator("config", mode="before")
    @classmethod
    def _name_preset(cls, value: Any) -> Any:
        return {"preset": value} if isinstance(value, str) else value


class Suite(BaseModel):
    """Which tasks, methods and seeds a run is made of.

    unscored_below: a point whose UA is below this on both halves of the prompts gets no retain images, unless
    it is the last of its run (`bench/measuring/needed.py` says up to which value that is harmless). choice:
    file with the configurations of `tuned` methods, next to the suite; choice_sha256 is filled in when it is
    read. anchors: task -> anchor in place of the one that the task names. threads: CPU threads of every cell,
    whatever the command line says, because sums on a CPU depend on their number. headline: the number that
    orders the suite's board; H reads every point, so unscored_below is then 0. declaration: text file next to
    the suite that says beforehand what the suite asks and what would count as an answer; every record holds
    its sha256, declaration_sha256, which is filled in when the suite is read. attacks: run after the cells.
    """

    model_config = STRICT
    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]*$", max_length=100)
    summary: str = ""
    tasks: list[str] = Field(min_length=1)
    methods: list[MethodRow] = Field(min_length=1)
    attacks: list[AttackRow] = []
    seeds: list[Seed] = Field(default=[0], min_length=1, max_length=MOST_SEEDS)
    data: DataChoice = "diverse"
    sizes: PromptSizes = PromptSizes()
    unscored_below: float = Field(default=0.0, ge=0.0, lt=1.0)
    choice: str | None = Field(default=None, pattern=r"^[a-z0-9][a-z0-9-]*\.json$")
    choice_sha256: str | None = Field(default=None, exclude=True)
    anchors: dict[str, str] = {}
    threads: int | None = Field(default=None, ge=1, le=MOST_THREADS)
    headline: Headline = "AVA"
    declaration: str | None = Field(default=None, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*\.md$")
    declaration_sha256: str = Field(default="", exclude=True)

    @field_validator("seeds")
    @classmethod
    def _once(cls, seeds: list[int]) -> list[int]:
        return check_seeds(seeds)

    @model_validator(mode="after")
    def _check(self) -> Self:
        for field, names in (
            ("tasks", self.tasks),
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
        return self


def check_seeds(seeds: list[int]) -> list[int]:
    """Return the seeds; raises ValueError where one stands twice."""
    if len(set(seeds)) < len(seeds):
        raise ValueError(f"a seed stands twice in {seeds}: its run would be counted twice")
    return seeds


def check_options_seeds(option: str, seeds: list[int]) -> None:
    """Raise UserError where a seed of the command line is out of range, or stands twice."""
    for seed in seeds:
        if not 0 <= seed <= MOST_SEED or seeds.count(seed) > 1:
            said = "stands twice" if 0 <= seed <= MOST_SEED else f"must be from 0 to {MOST_SEED}"
            raise UserError(f"{option} {seed}: {said}")


@dataclass(frozen=True)
class Cell:
    """One piece of work, and one record.

    entry: the method; None for a reference and for somebody's models. models: evaluated as they are in place
    of the world's base, one point each (`bench/models/outside.py` says what is possible). interval_version:
    of the record's intervals; a record is repeated with its own.
    """

    suite: Suite
    task: Task
    row: MethodRow
    entry: Entry | None
    seed: int
    models: tuple[str, ...] = ()
    interval_version: Literal[1, 2] = INTERVAL_VERSION

    @property
    def has_sheet(self) -> bool:
        """Whether a contact sheet is made: the suite's other seeds would show the same prompts and noise."""
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
        """File name of the record: task, method, seed and a short digest of the cell's other fields."""
        rest = stem_digest(self.row.config, self.row.noise, self.suite.data, self.row.label)
        task = self.task.id.replace("/", "-").replace("@", "-")
        name = file_part(self.row.name) if self.models else self.row.name
        return f"{task}.{name}.{rest}.s{self.seed}"


def stem_digest(config: Mapping[str, Any], noise: int, data: str, label: str) -> str:
    """Return the six digits by which the files of a method's configurations differ in name."""
    named = {"label": label} if label else {}
    return content_key({"config": config, "noise": noise, "data": data, **named})[:6]


def seeds_of(suite: Suite, row: MethodRow) -> list[int]:
    """Return the training seeds of a row."""
    return row.seeds or suite.seeds


def read_suite(path: Path) -> Suite:
    """Read a suite with the digest of its declaration; raises UserError naming file and key."""
    return take_declaration(build(Suite, read_toml(path), str(path)), path.parent)


def take_declaration(suite: Suite, folder: Path) -> Suite:
    """Return the suite with the sha256 of its declaration, a file in `folder`; a digest it has already stays.

    Raises UserError where the file cannot be read.
    """
    if suite.declaration is None or suite.declaration_sha256:
        return suite
    path = folder / suite.declaration
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
    path = folder / f"{name}.toml"
    if not path.is_file():
        known = ", ".join(sorted(p.stem for p in folder.glob("*.toml")))
        raise UserError(f"no suite named {name!r}; known: {known}")
    return read_suite(path)


def take_choice(suite: Suite, folder: Path) -> Suite:
    """Return the suite with the chosen configurations in place of its `tuned` rows.

    Raises UserError where the file is missing, or holds another number of configurations.
    """
    if not any(row.tuned for row in suite.methods):
        return suite
    if suite.choice is None:
        raise UserError(f"{suite.name}: choice: a row is `tuned`, but no file of chosen configurations named")
    path = folder / suite.choice
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
    cells = []
    rows = sorted(suite.methods, key=lambda row: row.name not in REFERENCES)
    anchors = {tasks[complete_name(name)].id: anchor for name, anchor in suite.anchors.items()}
    for name in suite.tasks:
        task = tasks[complete_name(name)]
        if task.id in anchors:
            task = replace(task, concept=task.concept.model_copy(update={"anchor": anchors[task.id]}))
        for row in rows:
            if row.name in REFERENCES:
                cells.append(Cell(suite, task, row, None, 0))
            else:
                cells += [Cell(suite, task, row, methods[row.name], seed) for seed in seeds_of(suite, row)]
    return cells


def find_references(cells: list[Cell], worlds: Mapping[str, PlannedWorld]) -> list[Cell]:
    """Return the cells with the folder of every retrained model; raises UserError where one is missing."""
    return [
        replace(cell, models=(str(worlds[cell.task.file.world].retrained_pipeline(cell.task)),))
        if cell.row.name == RETRAIN
        else cell
        for cell in cells
    ]
