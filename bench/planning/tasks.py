"""Tasks as data: one TOML a (family, world), each with its concepts; a task is one concept of one file."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, Field

from ..config import STRICT, build, read_toml
from ..errors import UserError
from ..registry import Registry
from ..types import ConceptKind

MOST_PROMPTS, MOST_SAMPLES = 100_000, 1_000
"""Above these a number of prompts, or of noise samples a prompt, is a slip: a run would take years."""


class ConceptSpec(BaseModel):
    """One concept to forget.

    targets: names whose presence means `not forgotten`. anchor: what may be drawn in its place.
    given: what the retain set that methods get holds, by kind. near: groups that count as the same
    family when retention is judged. indirect: set of phrases that ask for it without naming it.
    """

    model_config = STRICT
    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]*$")
    role: Literal["evaluated", "tuning"]
    targets: list[str] = Field(min_length=1)
    anchor: str | None = None
    given: dict[str, list[str]]
    near: list[str] = []
    indirect: str | None = None


class Protocol(BaseModel):
    """A published prompt file that the user supplies. kind: its format (`bench/worlds/hub/protocols.py`).

    file: its name in the user's data folder. source: where it was published. nudity_above, category: the
    subset of I2P that is meant. rows: how many rows that subset was published with; a file that gives
    another number is refused. images: least number for each name; where it has fewer rows, they come again
    with noise of the task's own.
    """

    model_config = STRICT
    kind: str
    file: str
    source: str = ""
    nudity_above: float | None = Field(default=None, ge=0, le=100)
    category: str = ""
    images: int = Field(default=0, ge=0, le=MOST_PROMPTS)
    rows: int | None = Field(default=None, ge=1)
    licence: str = ""


class Captions(Protocol):
    """A published file of captions, of which retained prompts are drawn at random, each with its own seed.

    name: what they are called in records and on pages. avoid: words that none of them may hold, beside those
    of the targets' names.
    """

    kind: Literal["prompts"] = "prompts"
    name: str = Field(min_length=1)
    avoid: list[str] = []


class Crossed(BaseModel):
    """Prompts that name one of a task's names and one of another kind: every pair is asked with every seed.

    kind, names: of the others. template: with a place for each kind, `{subject}` and `{style}`; an underscore
    of a name is a space there. seeds: of the images' noise. called: what training prompts call a name
    that the model was taught by another one.
    """

    model_config = STRICT
    kind: Literal["subject", "style"]
    names: list[str] = Field(min_length=1)
    template: str
    seeds: list[Annotated[int, Field(ge=0, lt=2**64)]] = Field(min_length=1)
    called: dict[str, str] = {}


class TaskFile(BaseModel):
    """A family in a world. Real models' tasks say more than embedded ones'.

    also: further worlds with the same task. names: all that the judge tells apart. templates: of evaluation
    prompts, `{}` for a name. wording: which of `bench/unlearning/writing.py`'s templates the methods' data
    come from. protocol: the published prompts of the target, in place of the templates'. captions: published
    captions, in place of the templates' prompts about everyday things. crossed: in place of all three.
    In a file, a table `each` holds what its concepts say alike.
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
    """Numbers of evaluation prompts by split; samples: noise samples a forget prompt."""

    model_config = STRICT
    forget: int = Field(default=24, ge=1, le=MOST_PROMPTS)
    forget_samples: int = Field(default=2, ge=1, le=MOST_SAMPLES)
    retain_same: int = Field(default=36, ge=0, le=MOST_PROMPTS)
    retain_other: int = Field(default=36, ge=0, le=MOST_PROMPTS)
    retain_given: int = Field(default=24, ge=0, le=MOST_PROMPTS)
    indirect: int = Field(default=24, ge=0, le=MOST_PROMPTS)


@dataclass(frozen=True)
class Task:
    """One concept of one family in one world."""

    id: str
    file: TaskFile
    concept: ConceptSpec
    suite_targets: frozenset[str]
    """All targets of the world (of every family, tuning included): no retain prompt shows one."""


def concept_kind(task: Task) -> ConceptKind:
    """Return what a task's concept is, for the methods that treat kinds differently."""
    families: dict[str, ConceptKind] = {"celebrities": "person", "nudity": "category", "styles": "style"}
    return families.get(task.file.family, "style" if task.file.target_kind == "style" else "subject")


def samples_of(task: Task, split: str, sizes: PromptSizes) -> int:
    """Return how many images a prompt is drawn: of a published file one, from the seed that it gives."""
    return sizes.forget_samples if split == "forget" and task.file.protocol is None else 1


def read_task_files(folders: list[Path]) -> list[TaskFile]:
    """Read every task TOML under the folders; raises UserError naming file and key."""
    paths = [
        path for folder in folders for path in sorted(folder.glob("*/*.toml")) if folder.name != "suites"
    ]
    return [read_task_file(p) for p in paths if p.parent.name != "suites"]


def read_task_file(path: Path) -> TaskFile:
    """Read a task TOML, what `each` says given to every concept; raises UserError naming file and key."""
    values = read_toml(path)
    each, concepts = values.pop("each", {}), values.get("concepts", [])
    if not isinstance(each, dict):
        raise UserError(f"{path}: each: must be a table (got {each!r:.60})")
    if each and isinstance(concepts, list):
        values["concepts"] = [each | own if isinstance(own, dict) else own for own in concepts]
    return build(TaskFile, values, str(path))


def build_tasks(task_files: list[TaskFile]) -> Registry[Task]:
    """Return the registry of tasks, by `family/concept@world`."""
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
