"""A made-up board of known truth: families > concepts > training runs x prompts > images, in probits.

A share of a concept's point is Phi(x): the mean over prompts, whose answers to one prompt correlate through a
normal factor (a probit model), so that a share of infinitely many prompts needs no integral. The constants
are near those of the published board `results/emoji`: `tests/golden/spread.py` measures PROMPT, the runs and
SHARED; profiles, family and concept shifts are rounded from its means.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

Floats = NDArray[np.float64]
PROMPTS = (12, 36, 12)
"""Prompts of one half that ask for each part."""
ANSWERS = (2, 3, 4)
"""Answers a prompt: two images; the three attributes of one image; the two attributes of two images."""
PROMPT = (0.95, 0.38, 0.17)
"""Correlation of the normal factor within a prompt: intra-cluster correlations of .80, .25 and .11."""
CONCEPT = (0.30, 0.17, 0.20)
"""Standard deviation of concepts within a family, probits."""
SHARED, SHARED_LOST = 0.8, 0.95
"""Correlations of two methods' shifts on one concept, and of their being lost."""
ASCENT, ANCHORED = (0.65, 0.28, 0.34), (0.05, 0.05, 0.05)
"""Standard deviation of training runs, probits: of methods that ascend, and that steer to an anchor."""
FAMILY = np.array([[0.0, 0.0, 0.0], [0.0, 0.0, 0.0], [-0.8, -1.0, -0.3], [-0.2, -0.4, -0.1]])
"""Shifts of (classes, characters, categories, styles)."""
LOST = np.array([0.5, 0.5, 2.0, 1.0])
"""How often a family's concepts are lost, relative to one another."""
HALF, WHOLE = (1.0, 2.5), (4.5, 4.5)
"""By how many probits (uniform) the UA of a lost concept is lower: half forgotten, or not at all."""


@dataclass(frozen=True)
class Profile:
    """A method: probits of UA, VA and in-prompt alignment by point at the middle concept of `classes`.

    lost: share of the concepts on which UA stays low. run: standard deviation of training runs, by part.
    """

    ua: tuple[float, ...]
    va: tuple[float, ...]
    in_prompt: tuple[float, ...]
    run: tuple[float, float, float] = ASCENT
    lost: float = 0.0

    def aligned(self, by: float) -> "Profile":
        """Return the method with VA and in-prompt alignment higher by so many probits at every point."""
        higher = [tuple(x + by for x in part) for part in (self.va, self.in_prompt)]
        return replace(self, va=higher[0], in_prompt=higher[1])


SUM = Profile((-1.5, 0.9, 1.9, 2.3, 2.3), (2.0, 1.4, 1.2, 1.5, 1.4), (1.5, 0.5, -0.1, -0.2, -0.3))
"""As gradient_sum after 10, 20, 30 and 40 steps at weight 1; the last point continues."""
RESTRICTED = Profile((-1.6, 0.4, 1.9, 2.3, 2.3), (2.1, 1.9, 1.6, 1.5, 1.4), (1.5, 0.8, 0.1, -0.3, -0.4))
"""As balanced."""
STEERED = Profile((0.3, 1.9, 2.3, 2.3, 2.3), (2.3, 2.1, 2.2, 2.3, 2.3), (0.9, 0.9, 1.4, 1.7, 1.8), ANCHORED)
"""As anchor_balanced."""
EXTREMES = {
    "forgets nothing": Profile((-2.3,) * 5, (2.3,) * 5, (2.3,) * 5, ANCHORED),
    "destroys everything": Profile((2.6,) * 5, (-2.2,) * 5, (-2.2,) * 5, ANCHORED),
    "garbage for the target": Profile((2.6,) * 5, (2.0,) * 5, (-2.2,) * 5, ANCHORED),
    "forgets three quarters": Profile((0.67,) * 5, (2.3,) * 5, (1.6,) * 5, ANCHORED),
}


def assign_families(concepts: int, equal: bool = True) -> NDArray[np.intp]:
    """Return the family of each concept of a suite (n,): as many of each, or 3 : 3 : 1 : 1."""
    pattern = (0, 1, 2, 3, 0, 1, 2, 3) if equal else (0, 1, 0, 1, 2, 0, 1, 3)
    return np.sort(np.resize(np.array(pattern), concepts))


def draw_concepts(
    methods: Sequence[Profile],
    families: NDArray[np.intp],
    suites: int,
    generator: np.random.Generator,
    depth: tuple[float, float] = HALF,
) -> Floats:
    """Return the probits of every point: (suites, concepts, methods, 3 parts, points)."""
    shape = (suites, len(families), len(methods))
    shared = np.array([SHARED, SHARED, SHARED, SHARED_LOST])
    common, own = (generator.standard_normal((*shape[:2], number, 4)) for number in (1, len(methods)))
    normals = np.sqrt(shared) * common + np.sqrt(1 - shared) * own
    weight = LOST[families] / LOST[families].mean()
    chance = np.minimum(0.98, np.array([m.lost for m in methods]) * weight[:, None])  # (concepts, methods)
    lower = generator.uniform(*depth, size=(*shape[:2], 1)) * (ndtr(normals[..., 3]) < chance)
    points = np.array([[m.ua, m.va, m.in_prompt] for m in methods])
    shift = FAMILY[families][:, None, :] + normals[..., :3] * np.array(CONCEPT)
    shift[..., 0] -= lower
    return np.asarray(points + shift[..., None])


def draw_runs(
    probits: Floats, methods: Sequence[Profile], runs: int, generator: np.random.Generator
) -> Floats:
    """Return the probits of training runs: (suites, concepts, methods, 3, runs, points)."""
    spread = np.array([m.run for m in methods])[..., None]
    shifts = spread * generator.standard_normal((*probits.shape[:-1], runs))
    return np.asarray(probits[..., None, :] + shifts[..., None])


def true_shares(probits: Floats) -> Floats:
    """Return shares of infinitely many prompts (..., runs, 2, points), the same on both halves."""
    return np.asarray(np.repeat(ndtr(probits)[..., None, :], 2, axis=-2))


def observe(probits: Floats, generator: np.random.Generator) -> Floats:
    """Return observed shares (suites, concepts, methods, 3, runs, 2, points) of runs' probits.

    Methods, runs and points see the same prompts; every image has noise of its own.
    """
    seen = np.empty((*probits.shape[:-1], 2, probits.shape[-1]))
    suites, concepts = probits.shape[:2]
    for part, (prompts, answers, factor) in enumerate(zip(PROMPTS, ANSWERS, PROMPT, strict=True)):
        prompt = np.sqrt(factor) * generator.standard_normal((suites, concepts, 1, 1, 2, 1, prompts))
        chance = ndtr((probits[:, :, :, part, :, None, :, None] + prompt) / np.sqrt(1 - factor))
        hits = generator.binomial(answers, chance).sum(axis=-1)
        seen[:, :, :, part] = hits / (answers * prompts)
    return seen
