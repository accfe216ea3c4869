"""A world that `pretrain images` made of labelled images: generator, classifier, prompts and problems."""

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict

from ...config import read_json
from ...errors import UserError
from ...judges.types import Judge
from ...models.digests import files_digest
from ...models.hub import Source
from ...planning.tasks import PromptSizes, Task, TaskFile
from ...source import source_digest
from ...store import recipe_folder
from ...types import DataChoice, DrawSettings, Problem, Prompt
from ..protocol import World
from .spec import ClassCaptioner, Wordings

CARD, TASKS = "world.json", "tasks.json"
JUDGE = "unlearnbench.bench.judges.image_classifier"


class Card(BaseModel):
    """The fields that are read of a world's card. captions: None where an earlier version wrote the card.

    classifier: measurements of the judge (`pretrain.measure`).
    """

    model_config = ConfigDict(frozen=True)  # a card has more fields: how the world was made
    world: str
    version: int
    pixels: int
    steps: int
    guidance: float
    classes: list[str]
    captions: Wordings | None = None
    classifier: dict[str, Any] = {}


@dataclass(frozen=True)
class _MadeHere(Source):
    """A world's folder, which a command of this package makes."""

    command: str = ""

    @property
    def remedy(self) -> str:
        return f"make it with: {self.command}"


@dataclass(frozen=True)
class ImagesWorld(World):
    """A world in which each image shows one class. folder: has `pipeline/`, `judges/`, `images.safetensors`.

    Nothing is read before it is needed: a missing folder is a UserError only then.
    """

    name: str
    folder: Path
    version: int = 1
    remedy: str = ""

    @property
    def id(self) -> str:
        return f"{self.name}@{self.version}"

    @cached_property
    def card(self) -> Card:
        """Measurements written by `pretrain`; raises UserError with the command where the card is missing."""
        path = self.folder / CARD
        if not path.is_file():
            raise UserError(f"{self.folder}: not a finished world (no {CARD}); make it with: {self.command}")
        try:
            return read_json(Card, path)
        except UserError as error:
            raise UserError(f"{error}; needed: a world that `pretrain images` made") from None

    @property
    def command(self) -> str:
        return self.remedy or f"unlearnbench pretrain images --data FOLDER --name {self.name}"

    @cached_property
    def digest(self) -> str:
        """sha256 over the files of the world."""
        _ = self.card
        return files_digest(str(self.folder))

    problem_module = "unlearnbench.bench.worlds.images.problems"
    """The module that makes prompts and problems: its source is a part of every key."""

    def inputs(self, task: Task) -> dict[str, Any]:
        """Return what results depend on besides the world's files and the concept: judge, wordings."""
        return {"judge": source_digest(JUDGE), "captions": self.captioner.words.model_dump()}

    def sources(self, task: Task) -> list[Source]:
        """Return the files that are needed and do not ship: the world itself."""
        what = f"the world {self.name}, made of labelled images"
        return [_MadeHere(what, str(self.folder / CARD), "that of your images", False, self.command)]

    @property
    def pipeline_folder(self) -> Path:
        _ = self.card
        return self.folder / "pipeline"

    @property
    def steps(self) -> int:
        return self.card.steps

    @property
    def guidance(self) -> float:
        return self.card.guidance

    @property
    def pixels(self) -> int:
        return self.card.pixels

    @cached_property
    def captioner(self) -> ClassCaptioner:
        """Writer of captions in the world's training wordings: its tokenizer knows no other words."""
        return ClassCaptioner(self.card.classes, self.card.captions)

    def prompts(self, task: Task, sizes: PromptSizes) -> list[Prompt]:
        from .problems import build_prompts

        return build_prompts(self._captioner_of(task), task, sizes)

    def _captioner_of(self, task: Task) -> ClassCaptioner:
        """Return the world's captioner.

        Where the world is not on this machine, the task file names its classes, so that the prompts of
        published records can be checked anywhere. Raises UserError with the command that makes the world
        where the file does not name every class.
        """
        classes = [concept.targets[0] for concept in task.file.concepts]
        named = {name for concept in task.file.concepts for name in concept.given.get("subject", [])}
        if (self.folder / CARD).is_file() or named - set(classes):
            return self.captioner
        return ClassCaptioner(classes)

    def problem(self, task: Task, data: DataChoice, seed: int) -> Problem:
        from safetensors.torch import load_file

        from .problems import build_problem

        stored = load_file(self.folder / "images.safetensors")
        problem = build_problem(self.captioner, stored["images"], stored["labels"], task, data, seed)
        return replace(problem, sampling=DrawSettings(self.steps, self.guidance))

    def retrained_pipeline(self, task: Task) -> Path:
        raise UserError(
            f"retrain: {self.name}: not there: every class of it is some task's target, "
            "so a model would have to be trained for each task"
        )

    def open_judge(self, task: Task | None = None) -> Judge:
        """Return the world's classifier (bench.judges.image_classifier.ImageJudge)."""
        from ...judges.image_classifier import open_judge

        judge = open_judge(self.folder / "judges")
        if task is not None and task.file.judge != judge.version:
            raise UserError(f"{task.id}: judge: {task.file.judge!r}; {self.folder} holds {judge.version}")
        return judge

    def open_alignment(self) -> None:
        """Return None: a prompt names only the class, which the judge finds; AS is missing in this world."""
        return None

    @cached_property
    def _reference(self) -> tuple[np.ndarray, np.ndarray]:
        from safetensors.numpy import load_file

        stored = load_file(self.folder / "judges" / "reference.safetensors")
        return stored["features"].astype(np.float32), stored["labels"]

    def reference(self, task: Task | None = None) -> np.ndarray:
        """Return classifier features (n, d) of real images on which nothing was trained.

        With a task: without images of its targets. Those of other tasks stay, because its retain prompts ask
        for them.
        """
        features, labels = self._reference
        if task is None:
            return features
        targets = [self.card.classes.index(name) for name in task.concept.targets]
        return features[~np.isin(labels, targets)]

    def task_file(self) -> TaskFile:
        """Return the tasks that `pretrain` wrote: one for each class."""
        return read_json(TaskFile, self.folder / TASKS)


def open_made(name: str, remedy: str = "") -> ImagesWorld:
    """Return the world of this name that `pretrain images` left in the user's cache folder."""
    return ImagesWorld(name, recipe_folder() / name / "world", remedy=remedy)


def open_folder(folder: Path) -> ImagesWorld:
    """Return the world in a folder; raises UserError where there is none."""
    card = ImagesWorld(folder.name, folder).card
    return ImagesWorld(card.world, folder, card.version)


def world_of_pipeline(folder: Path) -> ImagesWorld | None:
    """Return the made world that has this folder as its own pipeline; None where there is none."""
    place = folder.resolve()
    try:
        world = open_folder(place.parent)
    except UserError:  # no world.json next to it, or that of another world
        return None
    return world if world.pipeline_folder.resolve() == place and place.is_dir() else None
