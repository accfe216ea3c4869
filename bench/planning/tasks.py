"""Tasks as data: one TOML for each (family, world) with its concepts; a task is one concept of a file."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, Field

from ..config import STRICT, build, read_toml
from ..errors import UserError
from ..registry import Entry, Registry
from ..types import ConceptKind

MOST_PROMPTS, MOST_SAMPLES = 100_000, 1_000
"""Larger numbers of prompts, or of noise samples for a prompt, are a slip: such a run would take years."""


class ConceptSpec(BaseModel):
    """One concept to forget.

    targets: names whose presence means `not forgotten`. anchor: what may be drawn in its place. given:
    contents, by kind, of the retain set that methods get. near: groups that count as the same family when
    retention is judged. indirect: name of the set of phrases that ask for it without naming it.
    """

    model_config = STRICT
    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]*$")
    role: Literal["evaluated", "tuning"]
    targets: list[str] = Field(min_length=1)
    anchor: str | None = None
    given: dict[str, list[str]]
    near: list[str] = []
    indirect: str | None = None

    def anchor_of(self, target: str) -> str | None:
        """Return what may be drawn in a target's place."""
        return self.anchor


class Protocol(BaseModel):
    """A published prompt file that the user supplies. kind: its format (`bench/worlds/hub/protocols.py`).

    file: its name in the user's data folder. source: where it was published. nudity_above, category: select a
    subset of I2P. rows: number of rows of that subset as published; a file that gives another number is
    refused. others: names of other rows join `names`: they are retained, and the judge tells them apart.
    images: least number for each name; where a name has fewer rows, they are repeated with noise of the
    task's own.
    """

    model_config = STRICT
    kind: str
    file: str
    source: str = ""
    nudity_above: float | None = Field(default=None, ge=0, le=100)
    category: str = ""
    images: int = Field(default=0, ge=0, le=MOST_PROMPTS)
    others: bool = False
    rows: int | None = Field(default=None, ge=1)
    licence: str = ""


class Captions(Protocol):
    """A published file of captions. Retained prompts are drawn from it at random, each with its own seed.

    name: what records and pages call them. avoid: words that no caption may hold, in addition to those of the
    targets' names.
    """

    kind: Literal["prompts"] = "prompts"
    name: str = Field(min_length=1)
    avoid: list[str] = []


class Crossed(BaseModel):
    """Prompts that pair a name of the task's kind with one of another kind: every pair, with every seed.

    kind, names: of the other kind. template: with a place for each kind, `{subject}` and `{style}`;
    underscores in names become spaces. seeds: of the images' noise. called: name -> what training prompts
    call it, where the model was taught another word.
    """

    model_config = STRICT
    kind: Literal["subject", "style"]
    names: list[str] = Field(min_length=1)
    template: str
    seeds: list[Annotated[int, Field(ge=0, lt=2**64)]] = Field(min_length=1)
    called: dict[str, str] = {}


class TaskFile(BaseModel):
    """A family in a world. Tasks of real models have more fields than those of embedded worlds.

    also: further worlds with the same task. names: all names that the judge tells apart. templates: of
    evaluation prompts, `{}` for a name. wording: which templates of `bench/unlearning/writing.py` give the
    methods' data. protocol: the published prompts of the target, in place of the templates. captions:
    published captions, in place of the templates' prompts about everyday things. crossed: in place of all
    three. In a file, a table `each` holds the fields that all its concepts share.
    """

    model_config = STRICT
    family: str
    world: str
    version: int = Field(ge=1)
    summary: str
    paper: str = ""
    judge: str
    target_kind: Literal["subject", "style"]
    also: list[str] = []
    names: list[str] = []
    templates: list[str] = []
    wording: Literal["object", "person", "style", "nudity"] = "object"
    protocol: Protocol | None = None
    captions: Captions | None = None
    crossed: Crossed | None = None
    concepts: list[ConceptSpec] = Field(min_length=1)


class PromptSizes(BaseModel):
    """Numbers of evaluation prompts by split. samples: noise samples of each forget prompt."""

    model_config = STRICT
    forget: int = Field(default=24, ge=1, le=MOST_PROMPTS)
    forget_samples: int = Field(default=2, ge=1, le=MOST_SAMPLES)
    retain_same: int = Field(default=36, ge=0, le=MOST_PROMPTS)
    retain_other: int = Field(default=36, ge=0, le=MOST_PROMPTS)
    retain_given: int = Field(default=24, ge=0, le=MOST_PROMPTS)
    indirect: int = Field(default=24, ge=0, le=MOST_PROMPTS)


def cap_sizes(sizes: PromptSizes, limit: int | None) -> PromptSizes:
    """Return the sizes with at most `limit` prompts in each set; None changes nothing."""
    if limit is None:
        return sizes
    if limit < 1:
        raise UserError(f"--limit {limit}: must be at least 1")
    sets = {name: min(n, limit) for name, n in sizes.model_dump().items() if name != "forget_samples"}
    return sizes.model_copy(update=sets)


@dataclass(frozen=True)
class Task:
    """One concept of one family in one world."""

    id: str
    file: TaskFile
    concept: ConceptSpec
    suite_targets: frozenset[str]
    """All targets of the world and of the task's kind, tuning tasks included; no retain prompt shows one."""
    added: bool = False
    """Whether its file does not ship (a plug-in, a made world, a user): keys then hold the whole file."""
    is_own: bool = False
    """Whether its file was given by the user for this run (`--task-file`)."""
    judge_entry: Entry | None = None
    """The judge where the task's file names a Python file next to it; None: the world's or a plug-in's."""


def concept_kind(task: Task) -> ConceptKind:
    """Return the kind of a task's concept, for methods that treat kinds differently."""
    families: dict[str, ConceptKind] = {"celebrities": "person", "nudity": "category", "styles": "style"}
    return families.get(task.file.family, "style" if task.file.target_kind == "style" else "subject")


def samples_of(task: Task, split: str, sizes: PromptSizes) -> int:
    """Return the number of images of a prompt: one, from its own seed, where it is of a published file."""
    return sizes.forget_samples if split == "forget" and task.file.protocol is None else 1


def read_task_files(folders: list[Path]) -> list[TaskFile]:
    """Read every task TOML under the folders; raises UserError naming file and key."""
    paths = [
        path for folder in folders for path in sorted(folder.glob("*/*.toml")) if folder.name != "suites"
    ]
    return [read_task_file(p) for p in paths if p.parent.name != "suites"]


def read_task_file(path: Path) -> TaskFile:
    """Read a task TOML, with `each` applied to every concept; raises UserError naming file and key."""
    values = read_toml(path)
    each, concepts = values.pop("each", {}), values.get("concepts", [])
    if not isinstance(each, dict):
        raise UserError(f"{path}: each: must be a table (got {each!r:.60})")
    if each and isinstance(concepts, list):
        values["concepts"] = [each | own if isinstance(own, dict) else own for own in concepts]
    return build(TaskFile, values, str(path))


def build_tasks(task_files: Sequence[TaskFile], others: Sequence[TaskFile] = ()) -> Registry[Task]:
    """Return the registry of tasks, by `family/concept@world`.

    others: files of third parties. Their targets are kept out of the retain prompts of their own tasks, not
    of those of `task_files`: what is installed must not change the prompts of a shipped task.
    """
    registry = _build_tasks(task_files)
    shipped = set(registry)
    for file in others:
        joined = _build_tasks([*task_files, file])
        for name in joined:
            if name not in shipped:
                registry.add(name, replace(joined[name], added=True))
    return registry


def _build_tasks(task_files: Sequence[TaskFile]) -> Registry[Task]:
    files = [f.model_copy(update={"world": w}) for f in task_files for w in (f.world, *f.also)]
    targets: dict[tuple[str, str], set[str]] = {}
    for file in files:
        for concept in file.concepts:
            targets.setdefault((file.world, file.target_kind), set()).update(concept.targets)
    registry: Registry[Task] = Registry("tasks")
    for file in files:
        for concept in file.concepts:
            name = f"{file.family}/{concept.name}@{file.world}"
            registry.add(name, Task(name, file, concept, frozenset(targets[file.world, file.target_kind])))
    return registry


def complete_name(name: str, world: str = "emoji") -> str:
    """Return a task's full name: `classes/cat-face` is short for `classes/cat-face@emoji`."""
    return name if "@" in name else f"{name}@{world}"
