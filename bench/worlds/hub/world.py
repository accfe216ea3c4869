"""Real models as worlds: Stable Diffusion and Flux from a folder or the hub's cache, judged by CLIP."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import UserError
from ...judges.packages import CANVAS, FACES, judge_digest, judge_sources, judge_versions, resnet50_source
from ...judges.pinned import INCEPTION_FILE
from ...judges.types import Extractor, JointEmbedder, Judge
from ...models.clip import check_clip
from ...models.digests import files_digest, list_files
from ...models.generators import Sampling, check_model
from ...models.hub import Source, check_sources, find
from ...models.layout import read_config
from ...models.reading import read_cells
from ...models.whole import check_archive
from ...pictures import PICTURES, READING_VERSION
from ...planning.tasks import PromptSizes, Task, concept_kind
from ...types import DataChoice, DrawSettings, Problem, Prompt, TrainingSet
from ...unlearning.writing import OTHERS, Wording, names_in, write_for_targets
from ..prompts import anchors_of
from ..protocol import World
from .crossed import cross_prompts, write_crossed
from .prompts import build_prompts, names_of
from .reference import embed_files, outside_targets

CLIP = Source("judge and alignment score: open_clip ViT-B-32", "laion/CLIP-ViT-B-32-laion2B-s34B-b79K")
TRAINING_IMAGES = 200
"""Number of images in each training set that the base model draws."""
EVERY = PromptSizes(forget=10**5, retain_same=10**5, retain_other=10**5, retain_given=10**5)
"""All evaluation prompts that a suite of any size may use: no training prompt is among them."""
MakeSets = Callable[[Task, Wording, int], tuple[TrainingSet, TrainingSet]]
"""(task, prompts, seed) -> forget and retain set."""


@dataclass(frozen=True)
class HubWorld(World):
    """A real model. steps, guidance: of its sampling. side: of its images, where its folder does not say.

    image_size: the side that the user asked for instead. clip: where the judge's CLIP is. data: folder of the
    user's published prompt files. images: number in a training set. device: for drawing these and for CLIP.
    scheduler: of `bench/models/settings.py`, in place of the one that the folder names; "" = the folder's
    own. dtype: type of numbers, as torch names it, in which the model draws training images.
    """

    name: str
    source: Source
    steps: int = 50
    guidance: float = 7.5
    side: int = 512
    version: int = 1
    clip: Source = CLIP
    data: Path = Path("data")
    images: int = TRAINING_IMAGES
    image_size: int | None = None
    device: str = "cpu"
    scheduler: str = ""
    dtype: str = "torch.float32"
    _drawn: dict[tuple[Any, ...], Any] = field(default_factory=dict, compare=False, repr=False)

    is_placed = True

    @property
    def training_draws(self) -> int:
        return self.images

    def placed(self, **where: Any) -> "HubWorld":
        """Return the world with another model, CLIP, data folder, steps or size; None changes nothing."""
        given = {name: value for name, value in where.items() if value is not None}
        for name in ("source", "clip"):
            if name in given:
                given[name] = replace(getattr(self, name), where=str(given[name]))
        return replace(self, _drawn={}, **given)

    @property
    def id(self) -> str:
        return f"{self.name}@{self.version}"

    @cached_property
    def pipeline_folder(self) -> Path:
        if self.source.how and self.source.folder is None:
            raise UserError(f"{self.source.where}: {self.source.what}: not here; {self.source.remedy}")
        return find(self.source.where)

    @cached_property
    def digest(self) -> str:
        """sha256 over the files of the model and of the judge's CLIP; both must be complete."""
        check_model(self.pipeline_folder)
        check_clip(find(self.clip.where))
        if self.inception is not None:
            check_archive(self.inception)
        files = files_digest(str(self.pipeline_folder)) + files_digest(str(find(self.clip.where)))
        return hashlib.sha256(files.encode()).hexdigest()

    @cached_property
    def pixels(self) -> int:
        """Side of the model's images: the one asked for, else the one in the model's folder."""
        folder = self.pipeline_folder
        part = next((folder / name for name in ("unet", "transformer") if (folder / name).is_dir()), None)
        if part is None:
            return self.image_size or self.side
        blocks = read_config(folder / "vae" / "config.json").get("block_out_channels", [0])
        if not isinstance(blocks, list) or not blocks:
            raise UserError(
                f"{folder / 'vae' / 'config.json'}: block_out_channels: needed: a list of numbers"
            )
        shrunk = 2 ** (len(blocks) - 1)
        if self.image_size is not None:
            step = shrunk * (2 if part.name == "transformer" else 1)
            if self.image_size % step:
                raise UserError(f"--image-size {self.image_size}: {self.name} draws only multiples of {step}")
            return self.image_size
        where = part / "config.json"
        cells = read_cells(read_config(where).get("sample_size"), str(where))
        if cells is None:
            return self.side
        if cells[0] != cells[1]:
            raise UserError(f"{where}: sample_size: {cells} is no square, as worlds draw; give --image-size")
        return cells[0] * shrunk

    problem_module = __name__
    """The module that makes prompts and problems: its source is a part of every key."""

    def inputs(self, task: Task) -> dict[str, Any]:
        """Return what prompts and problems depend on besides the world's files and the concept."""
        check_sources(judge_sources(task.file.judge, self.data))
        published = [named for named in (task.file.protocol, task.file.captions) if named is not None]
        half = [] if self.dtype == "torch.float32" else [self.dtype]  # earlier keys stay
        return {
            "drawn": [self.steps, self.guidance, self.images, self.image_size, self.scheduler, *half],
            "task": task.file.model_dump(exclude={"concepts", "summary", "paper"}),
            "prompts": [files_digest(str(self.data / named.file)) for named in published],
            "judge": [judge_versions(task.file.judge), judge_digest(task.file.judge, self.data)],
            "pictures": READING_VERSION,
        }

    def sources(self, task: Task) -> list[Source]:
        """Return the files that a task needs and this project does not ship."""
        needed = [replace(self.source, check=check_model), replace(self.clip, check=check_clip)]
        protocol, captions = task.file.protocol, task.file.captions
        if protocol is not None:
            what = f"prompts: {protocol.source or protocol.kind}"
            needed.append(Source(what, str(self.data / protocol.file), protocol.licence, hub=False))
        if captions is not None:
            what = f"captions: {captions.source or captions.name}"
            needed.append(Source(what, str(self.data / captions.file), captions.licence, hub=False))
        return needed + judge_sources(task.file.judge, self.data)

    def prompts(self, task: Task, sizes: PromptSizes) -> list[Prompt]:
        """Return the evaluation prompts: of the published file that the task names, else of templates.

        Where the task crosses two kinds of names, every pair has its prompts.
        """
        if task.file.crossed is not None:
            return cross_prompts(task, sizes)
        return build_prompts(task, sizes, self.data)

    def problem(self, task: Task, data: DataChoice, seed: int) -> Problem:
        """Return the problem: prompts from templates, images drawn by the base model."""
        return self._problem(task, data, seed, self._draw_sets)

    def problem_without_images(self, task: Task, data: DataChoice, seed: int) -> Problem:
        """Return the problem with the same prompts and no images; nothing is drawn."""
        from ...unlearning.drawn import no_images

        return self._problem(task, data, seed, lambda task, wording, seed: no_images(self._sampling, wording))

    @property
    def _sampling(self) -> Sampling:
        return Sampling(self.steps, self.guidance, self.pixels, self.pixels, scheduler=self.scheduler)

    def _draw_sets(self, task: Task, wording: Wording, seed: int) -> tuple[TrainingSet, TrainingSet]:
        """Return the sets that the base model draws, once for all methods of a task."""
        from .drawing import draw_once

        where = (str(self.pipeline_folder), self.device, self.dtype)
        return draw_once(self._drawn, task.id, wording, self._sampling, seed, where)

    def _problem(self, task: Task, data: DataChoice, seed: int, make_sets: MakeSets) -> Problem:
        import torch

        if data != "diverse":
            raise UserError(f"{self.name}: data: {data!r} is only for the embedded worlds")
        concept = task.concept
        asked = {prompt.text for prompt in self.prompts(task, EVERY)}
        if task.file.crossed is not None:
            wording = write_crossed(task, self.images, asked)
        else:
            pairs = {target: concept.anchor_of(target) for target in concept.targets}
            wording = write_for_targets(pairs, task.file.wording, self.images, asked)
        forget, retain = make_sets(task, wording, seed)
        anchor, anchors = anchors_of(concept)
        named = (anchor, *anchors, *task.file.names, *OTHERS[task.file.wording])
        return Problem(
            task=task.id,
            concept=concept.name,
            anchor=anchor,
            anchors=anchors,
            forget_set=forget,
            retain_set=retain,
            data=data,
            seed=seed,
            generator=torch.Generator().manual_seed(seed),
            targets=tuple(concept.targets),
            retained=names_in(retain.prompts, named, concept.targets),
            kind=concept_kind(task),
            sampling=DrawSettings(self.steps, self.guidance),
        )

    @cached_property
    def _scorer(self) -> Any:
        from ...judges.zero_shot import ClipScorer

        return ClipScorer(find(self.clip.where), self.device)

    @cached_property
    def _canvas(self) -> Any:
        """UnlearnCanvas' classifiers, opened once for both of its families."""
        from ...judges.unlearncanvas import open_judge

        return open_judge(self.data / CANVAS, self._scorer, self.device)

    def open_judge(self, task: Task) -> Judge:
        """Return the judge that the task names."""
        from ...judges.efficientnet_lite0 import ImageNetJudge
        from ...judges.face import FaceJudge, read_references
        from ...judges.nudenet import NudeNetJudge
        from ...judges.opennsfw import OpenNsfwJudge
        from ...judges.resnet50 import ResNet50Judge
        from ...judges.zero_shot import ZeroShotJudge

        names, faces = names_of(task, self.data), self.data / FACES
        openers: dict[str, Callable[[], Judge]] = {
            "nudenet": lambda: NudeNetJudge(self._scorer),
            "opennsfw": lambda: OpenNsfwJudge(self._scorer),
            "clip-zero-shot": lambda: ZeroShotJudge(self._scorer, task.file.target_kind, names),
            "efficientnet-lite0": lambda: ImageNetJudge(names, device=self.device),
            "resnet50": lambda: ResNet50Judge(
                names, find(resnet50_source(self.data).where), device=self.device
            ),
            CANVAS: lambda: self._canvas.knowing(task.file),
            "face": lambda: FaceJudge(self._scorer, names, read_references(faces, names)),
        }
        name = task.file.judge.partition("@")[0]
        if name not in openers:
            raise UserError(f"{task.id}: judge: {task.file.judge!r} cannot be opened for {self.name}")
        return openers[name]()

    @property
    def inception(self) -> Path | None:
        """clean-fid's Inception weights in the user's data folder, None where they are not there."""
        weights = self.data / INCEPTION_FILE
        return weights if weights.is_file() else None

    @cached_property
    def _reference_files(self) -> list[Path]:
        folder = self.data / "reference"
        files = list_files(folder) if folder.is_dir() else []
        return [path for path in files if path.suffix.lower() in PICTURES]

    @cached_property
    def reference_key(self) -> str | None:
        """Key of the user's reference images (`DATA/reference/`) and their embedders; None without images."""
        if not self._reference_files:
            return None
        weights = "" if self.inception is None else files_digest(str(self.inception))
        files = files_digest(str(self.data / "reference"))
        return hashlib.sha256((self.digest + files + weights + f"|{READING_VERSION}").encode()).hexdigest()

    def reference_rows(self, task: Task) -> np.ndarray:
        """Return (n,) bool: whether a reference image is in no folder with the name of a target.

        Images directly in `reference/` all count: there the user leaves targets out.
        """
        return outside_targets(self._reference_files, self.data / "reference", task.concept.targets)

    def embed_reference(self, extractor: Extractor) -> np.ndarray:
        """Return (n, d) features of the user's reference images by an extractor."""
        return embed_files(self._reference_files, extractor)

    def open_alignment(self) -> JointEmbedder:
        return self._scorer

    def reference(self, task: Task | None = None) -> np.ndarray:
        """Return no features (0, d): no reference images ship; distances to the base's images remain."""
        return np.empty((0, self._scorer.embed_prompts([""]).shape[1]), dtype=np.float32)

    def retrained_pipeline(self, task: Task) -> Path:
        raise UserError(f"retrain: {self.name}: nobody can train this model again without its targets")
