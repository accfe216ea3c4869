"""What planning needs of a world."""

from abc import abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from ..errors import UserError
from .tasks import ConceptSpec, Task, TaskFile


class PlannedWorld(Protocol):
    """A world as plans see it; `bench/worlds/protocol.py` has the rest. Subclasses inherit the defaults."""

    @property
    @abstractmethod
    def id(self) -> str:
        """Its name and version: `NAME@VERSION`."""
        ...

    def draw_concepts(self, files: Sequence[TaskFile], family: str, seed: int) -> list[ConceptSpec]:
        """Return the held-out concepts that a seed draws from a family; UserError where none can be drawn."""
        raise UserError(f"{family}@draw:{seed}: the world {self.id} cannot draw concepts")

    def retrained_pipeline(self, task: Task) -> Path:
        """Return the folder of a model trained without the task's targets; UserError where there is none."""
        raise UserError(f"retrain: {self.id}: it has no model that was trained without {task.concept.name}")
