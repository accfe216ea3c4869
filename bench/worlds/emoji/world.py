"""An emoji world as it ships: generator, judges, reference features, prompts and problems."""

import hashlib
import itertools
import json
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import UserError
from ...judges.types import Extractor, JointEmbedder, Judge
from ...models.digests import list_files
from ...planning.tasks import ConceptSpec, PromptSizes, Task, TaskFile
from ...store import recipe_folder
from ...types import DataChoice, Problem, Prompt
from ..protocol import World
from ..recipe.parts import Triple
from .captions import Captioner
from .spec import WorldSpec, load_spec

DATA = Path(__file__).parent / "data"
SPRITES = Path(__file__).parent / "sprites.parquet"
EMBEDDED = 1000
"""Reference images that extractors other than the detector embed: kernel distances are unbiased at any n."""


@dataclass(frozen=True)
class EmojiWorld(World):
    """A compositional world with known truth. folder: holds `pipeline/`, `judges/`, `world.json`."""

    spec: WorldSpec
    folder: Path

    @property
    def id(self) -> str:
        return f"{self.spec.name}@{self.spec.version}"

    @property
    def judge_id(self) -> str:
        return f"emoji-detector@{self.card['judge_version']}"

    @cached_property
    def card(self) -> dict[str, Any]:
        """Contents of `world.json`: measured and written by `pretrain` when the world was exported."""
        return dict(json.loads((self.folder / "world.json").read_text(encoding="utf-8")))

    @cached_property
    def captioner(self) -> Captioner:
        return Captioner(self.spec)

    @cached_property
    def digest(self) -> str:
        """sha256 over the files that the world ships, sprites included."""
        digest = hashlib.sha256()
        for path in [*list_files(self.folder), SPRITES]:
            digest.update(path.name.encode() + hashlib.sha256(path.read_bytes()).digest())
        return digest.hexdigest()

    problem_module = "unlearnbench.bench.worlds.emoji.problems"
    """The module that makes prompts and problems: its source is a part of every key."""

    @property
    def pipeline_folder(self) -> Path:
        return self.folder / "pipeline"

    @property
    def steps(self) -> int:
        return self.spec.steps

    @property
    def guidance(self) -> float:
        return self.spec.guidance

    @property
    def pixels(self) -> int:
        return self.spec.pixels

    def prompts(self, task: Task, sizes: PromptSizes) -> list[Prompt]:
        from .problems import build_prompts  # torch is imported when something is drawn or trained

        return build_prompts(self.spec, self.captioner, task, sizes)

    def draw_concepts(self, files: Sequence[TaskFile], family: str, seed: int) -> list[ConceptSpec]:
        """Return held-out concepts of a family that a seed draws."""
        from .draws import draw_concepts

        return draw_concepts(self.spec, files, family, seed)

    def problem(self, task: Task, data: DataChoice, seed: int) -> Problem:
        from .problems import build_problem

        return build_problem(self.spec, self._canvas, self.captioner, task, data, seed)

    @cached_property
    def _canvas(self) -> Any:
        from .compose import load_canvas

        return load_canvas(self.spec, SPRITES)

    def retrained_pipeline(self, task: Task) -> Path:
        """Return the pipeline folder of the model that was trained without any target of a task's kind.

        The package ships those of its own tasks. Others are read from the user's cache folder; raises
        UserError with the command that trains them where they are not there.
        """
        spec = self.spec.leave_out(sorted(task.suite_targets))
        shipped = self.folder.with_name(spec.folder_name) / "pipeline"
        if (shipped / "model_index.json").is_file():
            return shipped
        folder = recipe_folder() / spec.folder_name / "world" / "pipeline"
        if not (folder / "model_index.json").is_file():
            names = " ".join(shlex.quote(name) for name in spec.without)
            raise UserError(
                f"retrain: {folder}: not there; make it with: "
                f"unlearnbench pretrain {self.spec.name} --without {names}"
            )
        return folder

    def open_judge(self, task: Task | None = None) -> Judge:
        """Return the world's detector (bench.judges.emoji.EmojiJudge), the same for every task."""
        from ...judges.emoji import open_judge

        if task is not None and task.file.judge != self.judge_id:
            raise UserError(f"{task.id}: judge: {task.file.judge!r}; {self.id} has {self.judge_id}")
        return open_judge(self.folder / "judges")

    def open_alignment(self) -> JointEmbedder:
        """Return the world's alignment scorer (bench.judges.clip.AlignmentScorer)."""
        from ...judges.clip import open_scorer

        return open_scorer(self.folder / "judges" / "clip", self.pipeline_folder / "tokenizer")

    @cached_property
    def _reference(self) -> tuple[np.ndarray, np.ndarray]:
        from safetensors.numpy import load_file

        stored = load_file(self.folder / "judges" / "reference.safetensors")
        return stored["features"].astype(np.float32), stored["triples"]

    def reference(self, task: Task | None = None) -> np.ndarray:
        """Return detector features (n, d) of the world's reference images: composites of its triples.

        With a task: without images of any target of its kind. Retained concepts are compared with them, and a
        model that forgot a target draws none.
        """
        features = self._reference[0]
        return features if task is None else features[self._without_targets(task)]

    def _without_targets(self, task: Task) -> np.ndarray:
        kind = task.file.target_kind
        names = self.spec.subject_names if kind == "subject" else self.spec.style_names
        column = self._reference[1][:, {"subject": 0, "style": 1}[kind]]
        return np.array([names[i] not in task.suite_targets for i in column])

    def distances(self, task: Task) -> dict[str, float]:
        """Return 1 - the cosine of the mean embeddings of prompts about a name and about the nearest target.

        Prompts ask for every subject in every style, on one background; the world's CLIP embeds them. A
        name's embedding is the mean over its prompts, minus the mean over all.
        """
        subjects, styles = self.spec.subject_names, self.spec.style_names
        wordings = self.captioner.words.evaluation
        pairs = list(itertools.product(range(len(subjects)), range(len(styles))))
        texts = [self.captioner.caption(Triple(s, k, 0), wordings[k % len(wordings)]) for s, k in pairs]
        found = np.asarray(self.open_alignment().embed_prompts(texts)).reshape(len(subjects), len(styles), -1)
        names, other = (subjects, 1) if task.file.target_kind == "subject" else (styles, 0)
        means = found.mean(other) - found.mean((0, 1))
        means = means / np.linalg.norm(means, axis=1, keepdims=True)
        targets = [names.index(target) for target in task.concept.targets]
        nearest = 1 - (means @ means[targets].T).max(axis=1)
        return {name: float(far) for name, far in zip(names, nearest, strict=True)}

    @property
    def reference_key(self) -> str:
        """Key of the reference images: the world's digest, and how many of them other extractors embed."""
        return f"{self.digest} {EMBEDDED}"

    def reference_rows(self, task: Task) -> np.ndarray:
        """Return (n,) bool: whether an image of `embed_reference` shows no target of the task's kind."""
        return self._without_targets(task)[:EMBEDDED]

    def embed_reference(self, extractor: Extractor) -> np.ndarray:
        """Return (n, d) features of the first reference images by another extractor; composes them again."""
        import torch

        from .reference import CHUNK, compose_reference

        chunks = itertools.islice(compose_reference(self._canvas), EMBEDDED // CHUNK)
        images = torch.cat([images for images, _ in chunks])
        pixels = ((images + 1) * 127.5).round().clamp(0, 255).byte().permute(0, 2, 3, 1)
        return np.asarray(extractor.embed_images(pixels.numpy()))


def open_world(name: str, folder: Path | None = None) -> EmojiWorld:
    """Open a world that ships with the package, or one that `pretrain` made in `folder`."""
    where = folder or DATA / name
    if not (where / "world.json").is_file():
        raise UserError(
            f"{where}: not a finished world (no world.json); make it with: unlearnbench pretrain {name}"
        )
    return EmojiWorld(load_spec(name), where)
