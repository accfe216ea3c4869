"""Tasks without a file of their own: combinations, and those that a seed draws.

`family@draw:SEED` names all that a seed draws, `family/draw-SEED-concept@world` one of them.

Drawn tasks guard the public board against overfitting: a maintainer reveals the seed at the re-run, so nobody
could tune on the tasks. Concepts, prompts and noise follow from the seed only.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import replace

from ..errors import UserError
from ..registry import Registry
from .combined import combine, is_combined
from .protocol import PlannedWorld
from .tasks import Task, TaskFile, build_tasks

DRAWN = re.compile(r"(?P<family>[a-z0-9-]+)@draw:(?P<seed>.*)")
ONE = re.compile(r"(?P<family>[a-z0-9-]+)/draw-(?P<seed>\d{1,18})-[a-z0-9-]+@(?P<world>[a-z0-9-]+)")
WORLD = "emoji"
"""The world that `family@draw:SEED` is drawn from."""


class DrawingTasks(Registry[Task]):
    """The registry of tasks, including combinations and those of every seed; iterating lists only the shipped
    ones."""

    def __init__(
        self, shipped: Registry[Task], files: Sequence[TaskFile], open_world: Callable[[str], PlannedWorld]
    ) -> None:
        super().__init__(shipped.kind)
        self._entries = {name: shipped[name] for name in shipped}
        self._files, self._open_world = files, open_world
        self._drawn: dict[tuple[str, str, str], list[Task]] = {}

    def __getitem__(self, name: str) -> Task:
        if DRAWN.fullmatch(name):
            names = ", ".join(task.id for task in self.expand(name))
            raise UserError(f"{name}: names several tasks; give one of {names}")
        if is_combined(name):
            return combine(name, self.__getitem__)
        match = ONE.fullmatch(name)
        if match is None or name in self._entries:
            return super().__getitem__(name)
        for task in self.draw(match["family"], match["seed"], match["world"]):
            if task.id == name:
                return task
        raise UserError(f"no task named {name!r}: the seed {match['seed']} draws other concepts")

    def __contains__(self, name: object) -> bool:
        if super().__contains__(name):
            return True
        if not isinstance(name, str) or not (ONE.fullmatch(name) or is_combined(name)):
            return False
        try:
            return self[name] is not None
        except UserError:
            return False

    def expand(self, name: str) -> list[Task]:
        """Return the tasks of a name: those of `family@draw:SEED`, else the one task of that name."""
        match = DRAWN.fullmatch(name)
        return self.draw(match["family"], match["seed"]) if match else [self[name]]

    def draw(self, family: str, seed: str, world: str = WORLD) -> list[Task]:
        """Return the tasks that a seed draws; UserError for a seed or a family that cannot be drawn."""
        if not re.fullmatch(r"0|[1-9]\d{0,17}", seed):
            raise UserError(
                f"{family}@draw:{seed}: the seed is a whole number from 0 up, of at most 18 digits"
            )
        key = (family, seed, world)
        if key not in self._drawn:  # the records of a folder name the same few draws again and again
            self._drawn[key] = self._draw(*key)
        return list(self._drawn[key])

    def _draw(self, family: str, seed: str, world: str) -> list[Task]:
        opened = self._open_world(world)
        files = [f.model_copy(update={"world": world}) for f in self._files if world in (f.world, *f.also)]
        concepts = opened.draw_concepts(files, family, int(seed))
        file = next(file for file in files if file.family == family)
        shipped = next(t for t in self._entries.values() if t.file.world == world and t.file.family == family)
        own = build_tasks([file.model_copy(update={"concepts": concepts})])
        return [
            replace(task, suite_targets=shipped.suite_targets | set(task.concept.targets))
            for task in own.values()
        ]


def seed_in(names: Sequence[str]) -> str | None:
    """Return the seed of the drawn tasks among some names, None where there are none.

    Raises UserError where drawn tasks are mixed with shipped ones or with those of another seed: one board
    holds one draw.
    """
    seeds = {match["seed"] if (match := DRAWN.fullmatch(name)) else None for name in names}
    if len(seeds) > 1:
        raise UserError(f"--task: {', '.join(names)}: drawn tasks of one seed make a run of their own")
    return seeds.pop() if seeds else None
