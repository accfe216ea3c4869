"""Real models as worlds: Stable Diffusion and Flux from a folder or the hub's cache, judged by CLIP."""

import hashlib
import itertools
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ..errors import UserError
from ..extractors import INCEPTION_FILE, PICTURES, embed_files
from ..generators import files_digest
from ..hub import Source, find
from ..judges.packages import FACES, judge_sources, judge_versions
from ..protocols import Row, read_protocol, select
from ..tasks import PromptSizes, Task
from ..types import Problem, Prompt, Split
from ..writing import OTHERS, write_prompts

CLIP = Source("judge and alignment score: open_clip ViT-B-32", "laion/CLIP-ViT-B-32-laion2B-s34B-b79K")
TRAINING_IMAGES = 200
"""Images in each of a method's sets, drawn by the base model itself."""
EVERY = PromptSizes(forget=10**6, retain_same=10**6, retain_other=10**6, retain_given=10**6)
"""All evaluation prompts that a suite of any size may ask: no training prompt is among them."""


@dataclass(frozen=True)
class HubWorld:
    """A real model. steps, guidance: what it is drawn with; side: of its images, where its folder does not
    say; image_size: the side that somebody asked for instead.

    clip: where the judge's CLIP lies. data: folder of the user's published prompt files. images: how many
    a training set holds. device: where those are drawn and CLIP runs.
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
    _drawn: dict[str, Any] = field(default_factory=dict, compare=False, repr=False)

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
        return find(self.source.where)

    @cached_property
    def digest(self) -> str:
        """sha256 over the files of the model and of the judge's CLIP."""
        files = files_digest(str(self.pipeline_folder)) + files_digest(str(find(self.clip.where)))
        return hashlib.sha256(files.encode()).hexdigest()

    @cached_property
    def pixels(self) -> int:
        """The side of the model's images: the one asked for, else as its own folder says."""
        folder = self.pipeline_folder
        part = next((folder / name for name in ("unet", "transformer") if (folder / name).is_dir()), None)
        if part is None:
            return self.image_size or self.side
        config = json.loads((folder / "vae" / "config.json").read_text(encoding="utf-8"))
        shrunk = 2 ** (len(config["block_out_channels"]) - 1)
        if self.image_size is not None:
            step = shrunk * (2 if part.name == "transformer" else 1)
            if self.image_size % step:
                raise UserError(
                    f"--image-size {self.image_size}: {self.name} draws multiples of {step} alone"
                )
            return self.image_size
        cells = json.loads((part / "config.json").read_text(encoding="utf-8")).get("sample_size")
        return int(cells) * shrunk if isinstance(cells, int) else self.side

    problem_module = __name__
    """What makes prompts and problems: its source is a part of every key."""

    def inputs(self, task: Task) -> dict[str, Any]:
        """Return what prompts and problems depend on beside the world's files and the concept."""
        protocol = task.file.protocol
        return {
            "drawn": [self.steps, self.guidance, self.images, self.image_size],
            "task": task.file.model_dump(exclude={"concepts", "summary", "paper"}),
            "prompts": files_digest(str(self.data / protocol.file)) if protocol is not None else "",
            "judge": judge_versions(task.file.judge),
            "faces": files_digest(str(self.data / FACES)) if task.file.judge.startswith("face@") else "",
        }

    def sources(self, task: Task) -> list[Source]:
        """Return what a task needs and this project does not ship."""
        needed = [self.source, self.clip]
        protocol = task.file.protocol
        if protocol is not None:
            where = str(self.data / protocol.file)
            needed.append(Source(f"prompts: {protocol.kind}", where, protocol.licence, hub=False))
        return needed + judge_sources(task.file.judge, self.data)

    def prompts(self, task: Task, sizes: PromptSizes) -> list[Prompt]:
        """Return the evaluation prompts: the published file's where the task names one, else of templates."""
        writer = _Writer(task)
        forget = list(itertools.islice(self._forget(writer), sizes.forget))
        names = [name for name in task.file.names if name not in task.concept.targets]
        given = task.concept.given.get(task.file.target_kind, [])
        fresh = [name for name in names if name not in given]
        retain = [
            *writer.about(fresh, sizes.retain_same, given=False),
            *writer.about([name for name in names if name in given], sizes.retain_given, given=True),
            *writer.plain(sizes.retain_other),
        ]
        return _halve([*forget, *retain])

    def _forget(self, writer: "_Writer") -> Iterator[Prompt]:
        task = writer.task
        if task.file.protocol is None:
            yield from writer.about(task.concept.targets, None, split="forget")
            return
        for row in self._rows(task):
            yield writer.write(row.prompt, "forget", task.concept.targets[0], False, "same", row)

    def _rows(self, task: Task) -> list[Row]:
        protocol = task.file.protocol
        assert protocol is not None
        rows = read_protocol(protocol.kind, self.data / protocol.file)
        rows = select(rows, protocol.nudity_above, protocol.category)
        targets = task.concept.targets
        named = [row for row in rows if row.erased and (not row.name or row.name in targets)]
        if not named:
            raise UserError(f"{self.data / protocol.file}: no row asks for {targets[0]!r}")
        return named

    def problem(self, task: Task, data: Literal["diverse", "narrow"], seed: int) -> Problem:
        """Return the problem: prompts from templates, images drawn by the base model itself."""
        import torch

        from ..tool import draw_sets

        if data != "diverse":
            raise UserError(f"{self.name}: data: {data!r} is the embedded worlds' alone")
        concept = task.concept
        asked = {prompt.text for prompt in self.prompts(task, EVERY)}
        wording = write_prompts(concept.targets[0], task.file.wording, self.images, concept.anchor, asked)
        if task.id not in self._drawn:
            self._drawn[task.id] = draw_sets(
                str(self.pipeline_folder), wording, self.steps, self.guidance, self.pixels, self.device
            )
        forget, retain = self._drawn[task.id]
        return Problem(
            task=task.id,
            concept=concept.name,
            anchor=concept.anchor,
            forget_set=forget,
            retain_set=retain,
            data=data,
            seed=seed,
            generator=torch.Generator().manual_seed(seed),
        )

    @cached_property
    def _scorer(self) -> Any:
        from ..judges.zero_shot import ClipScorer

        return ClipScorer(find(self.clip.where), self.device)

    def open_judge(self, task: Task) -> Any:
        """Return the judge that the task names."""
        from ..judges.efficientnet_lite0 import ImageNetJudge
        from ..judges.face import FaceJudge, read_references
        from ..judges.nudenet import NudeNetJudge
        from ..judges.opennsfw import OpenNsfwJudge
        from ..judges.zero_shot import ZeroShotJudge

        names, faces = task.file.names, self.data / FACES
        openers = {
            "nudenet": lambda: NudeNetJudge(self._scorer),
            "opennsfw": lambda: OpenNsfwJudge(self._scorer),
            "clip-zero-shot": lambda: ZeroShotJudge(self._scorer, task.file.target_kind, names),
            "efficientnet-lite0": lambda: ImageNetJudge(names, device=self.device),
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
        return sorted(path for path in folder.rglob("*") if path.suffix.lower() in PICTURES)

    @cached_property
    def reference_key(self) -> str | None:
        """What the user's reference images (`DATA/reference/`) and their embedders are; None without any."""
        if not self._reference_files:
            return None
        weights = "" if self.inception is None else files_digest(str(self.inception))
        files = files_digest(str(self.data / "reference"))
        return hashlib.sha256((self.digest + files + weights).encode()).hexdigest()

    def reference_rows(self, task: Task) -> np.ndarray:
        """Return (n,) bool: which reference images lie in no folder that is named after a target.

        Images that lie in `reference/` itself all count: there it is the user who leaves targets out.
        """
        targets = {name.lower() for name in task.concept.targets}
        top = self.data / "reference"
        folders = [path.relative_to(top).parts[:-1] for path in self._reference_files]
        return np.array([not targets & {part.lower() for part in parts} for parts in folders], dtype=bool)

    def embed_reference(self, extractor: Any) -> np.ndarray:
        """Return (n, d) features of the user's reference images by an extractor."""
        return embed_files(self._reference_files, extractor)

    def open_alignment(self) -> Any:
        return self._scorer

    def reference(self, task: Task | None = None) -> np.ndarray:
        """Return no features (0, d): no reference images ship; distances to the base's images remain."""
        return np.empty((0, self._scorer.embed_prompts([""]).shape[1]), dtype=np.float32)

    def retrained_pipeline(self, task: Task) -> Path:
        raise UserError(f"retrain: {self.name}: nobody can train this model anew without its targets")


class _Writer:
    """Writes a task's evaluation prompts."""

    def __init__(self, task: Task) -> None:
        self.task, self.kind = task, task.file.target_kind

    def about(
        self, names: Sequence[str], count: int | None, given: bool = False, split: Split = "retain"
    ) -> Iterator[Prompt]:
        """Yield prompts about names in turn, each in every template before one comes again."""
        pairs = [(t, name) for t in self.task.file.templates for name in names]
        for template, name in pairs if count is None else pairs[:count]:
            yield self.write(template.format(name), split, name, given)

    def plain(self, count: int) -> list[Prompt]:
        """Return prompts about everyday things, whose attributes no judge of the task verifies."""
        things = [t for kind in OTHERS for t in OTHERS[kind] if t not in self.task.file.names]
        return [self.write(f"a photo of {thing}", "retain", "", related="other") for thing in things[:count]]

    def write(
        self,
        text: str,
        split: Split,
        name: str,
        given: bool = False,
        related: Literal["same", "other"] = "same",
        row: Row | None = None,
    ) -> Prompt:
        aimed, drawn = split != "retain", (None, None) if row is None else (row.seed, row.guidance)
        told = "|".join(str(part) for part in (self.task.id, split, text, *drawn))
        return Prompt(
            id=hashlib.sha256(told.encode()).hexdigest()[:16],
            text=text,
            split=split,
            asked={self.kind: name} if name else {},
            target_kind=self.kind,
            targets=tuple(self.task.concept.targets) if aimed else (),
            relation="target" if aimed else related,
            given=given,
            half="A",
            seed=drawn[0],
            guidance=drawn[1],
        )


def _halve(prompts: Sequence[Prompt]) -> list[Prompt]:
    """Give every second prompt of a split, in order of its hash, to half B."""
    halves: dict[str, Literal["A", "B"]] = {}
    for split in dict.fromkeys(prompt.split for prompt in prompts):
        ids = sorted({p.id for p in prompts if p.split == split})
        halves |= {name: "B" if i % 2 else "A" for i, name in enumerate(ids)}
    return [replace(p, half=halves[p.id]) for p in {p.id: p for p in prompts}.values()]
