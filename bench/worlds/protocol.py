"""The interface of a world, and a check that a world has all of it."""

from __future__ import annotations

from abc import abstractmethod
from inspect import getattr_static
from typing import TYPE_CHECKING, Any, Protocol, Self

from ..errors import UserError
from ..planning.protocol import PlannedWorld

if TYPE_CHECKING:  # listing opens no world, and so imports no numpy
    from pathlib import Path

    import numpy as np

    from ..judges.types import Extractor, JointEmbedder, Judge
    from ..models.hub import Source
    from ..planning.tasks import PromptSizes, Task
    from ..types import DataChoice, Problem, Prompt


class World(PlannedWorld, Protocol):
    """A base model with its prompts, judges and reference images. A subclass inherits the defaults."""

    @property
    @abstractmethod
    def digest(self) -> str:
        """Hex digest that changes with any file of the world."""
        ...

    @property
    @abstractmethod
    def pipeline_folder(self) -> Path:
        """Folder of the base model in the diffusers format."""
        ...

    @property
    @abstractmethod
    def steps(self) -> int:
        """Number of sampling steps that images are drawn with."""
        ...

    @property
    @abstractmethod
    def guidance(self) -> float:
        """Guidance scale that images are drawn with."""
        ...

    @property
    @abstractmethod
    def pixels(self) -> int:
        """Side of the images, in pixels."""
        ...

    @property
    def scheduler(self) -> str:
        """Scheduler to draw with, of `bench/models/settings.py`; "" = the one that the folder names."""
        return ""

    @property
    def is_placed(self) -> bool:
        """Whether a user says where its files are, so that they may change; False: its version fixes them."""
        return False

    def placed(self, **where: Any) -> Self:
        """Return the world with its files where the command line's options say; None changes nothing."""
        return self

    @property
    def problem_module(self) -> str:
        """Module that makes prompts and problems: its source is a part of every key."""
        return type(self).__module__

    def inputs(self, task: Task) -> dict[str, Any]:
        """Return what results depend on besides the world's files and the concept, as JSON values."""
        return {}

    def sources(self, task: Task) -> list[Source]:
        """Return the files and packages that a task needs and that do not ship."""
        return []

    @abstractmethod
    def prompts(self, task: Task, sizes: PromptSizes) -> list[Prompt]:
        """Return the evaluation prompts of a task, each with its truth."""
        ...

    @abstractmethod
    def problem(self, task: Task, data: DataChoice, seed: int) -> Problem:
        """Return a method's input: the captioned images that it trains on, and the names to be forgotten."""
        ...

    def problem_without_images(self, task: Task, data: DataChoice, seed: int) -> Problem:
        """Return the input of a method that needs no training images: sets may have prompts only.

        A world whose base model draws its training images overrides it.
        """
        return self.problem(task, data, seed)

    @property
    def training_draws(self) -> int:
        """Number of images in each training set that the base model draws; 0 = training images ship."""
        return 0

    def open_judge(self, task: Task) -> Judge:
        """Return the world's own judge that a task names; UserError where it has none of this name."""
        raise UserError(f"{task.id}: judge: {task.file.judge!r}: {self.id} has no such judge, and no plug-in")

    def open_alignment(self) -> JointEmbedder | None:
        """Return the embedder that compares images with prompts; None = no alignment score in this world."""
        return None

    def reference(self, task: Task) -> np.ndarray:
        """Return (n, d) judge features of real images that show no target; n = 0 where there are none."""
        import numpy as np

        return np.empty((0, 0), dtype=np.float32)

    @property
    def reference_key(self) -> str | None:
        """Digest of the reference images that other extractors embed; None = there are none."""
        return None

    def reference_rows(self, task: Task) -> np.ndarray:
        """Return (n,) bool: whether an image of `embed_reference` shows no target."""
        import numpy as np

        return np.empty(0, dtype=bool)

    def embed_reference(self, extractor: Extractor) -> np.ndarray:
        """Return (n, d) features of the reference images by another extractor."""
        raise UserError(f"{self.id}: has no reference images")

    def distances(self, task: Task) -> dict[str, float]:
        """Return how far each name of the target's kind is from the nearest target; {} = not known."""
        return {}

    @property
    def inception(self) -> Path | None:
        """File with clean-fid's Inception weights; None = no FID in this world."""
        return None


MEMBERS = sorted(name for kind in (PlannedWorld, World) for name in vars(kind) if not name.startswith("_"))
"""Names of all members that a world must have."""


def check_world(world: Any, name: str) -> World:
    """Return a world after checking that it has every member; UserError names what it lacks.

    name: the world's name and its maker. No property is read, because some look for gigabytes of files.
    """
    lacking = [member for member in MEMBERS if getattr_static(world, member, ...) is ...]
    if lacking:
        raise UserError(
            f"world {name}: {type(world).__name__} lacks {', '.join(lacking)}; "
            "a subclass of unlearnbench.bench.worlds.protocol.World inherits what has a default"
        )
    return world  # type: ignore[no-any-return]
