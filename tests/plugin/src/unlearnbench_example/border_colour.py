"""A judge of a third party: which of a task's colours the border of an image shows."""

import numpy as np

from unlearnbench.bench.errors import UserError
from unlearnbench.bench.judges.types import NOTHING, verdicts_of

REGISTER = {
    "name": "border-colour",
    "summary": "the colour of an image's border, where it is one that it knows",
    "version": 1,
    "function": "open_judge",
}
COLOURS = {"white": (255, 255, 255), "red": (220, 70, 70), "blue": (110, 160, 235)}
FAR = 60
"""Distance in RGB from which on a colour is none of these."""


class BorderColour:
    def __init__(self, kind, names):
        self.kind, self.names = kind, [*names, NOTHING]
        self.known = np.array([COLOURS[name] for name in names], dtype=np.float32)

    def judge(self, images):
        """Judge images (n, H, W, 3) uint8; features: the median colour of their borders, in [0, 1]."""
        borders = (images[:, 0], images[:, -1], images[:, :, 0], images[:, :, -1])
        shown = np.median(np.concatenate(borders, axis=1).astype(np.float32), axis=1)
        distance = np.linalg.norm(shown[:, None] - self.known, axis=2)
        nearest = np.where(distance.min(axis=1) < FAR, distance.argmin(axis=1), len(self.known))
        return verdicts_of(self.kind, [self.names[i] for i in nearest], shown / 255)


def open_judge(world, task):
    """Return the judge of a task in a world."""
    unknown = [name for name in task.file.names if name not in COLOURS]
    if unknown:
        raise UserError(f"{task.id}: names: {unknown[0]}: known are {', '.join(COLOURS)}")
    return BorderColour(task.file.target_kind, task.file.names)
