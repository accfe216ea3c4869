"""The images that a task asks for: its prompts, each with its noise samples and their seeds."""

from dataclasses import dataclass, field

import numpy as np

from ..models.sampling import noise_seed
from ..planning.tasks import PromptSizes, Task, samples_of
from ..types import Prompt
from ..worlds.protocol import World


@dataclass(frozen=True)
class ImageRequest:
    """One image that a task asks for: a prompt, its noise sample and the noise's seed.

    latents: (c, h, w) float32, an attack's initial noise in place of the seed's.
    """

    prompt: Prompt
    sample: int
    seed: int
    latents: np.ndarray | None = field(default=None, compare=False)


def list_requests(world: World, task: Task, sizes: PromptSizes, noise: int) -> list[ImageRequest]:
    """Return every image that a task asks for, in the order of its prompts. noise: seed of the evaluation."""
    return [
        ImageRequest(prompt, sample, seed_of(task, prompt, sample, noise))
        for prompt in world.prompts(task, sizes)
        for sample in range(samples_of(task, prompt.split, sizes))
    ]


def seed_of(task: Task, prompt: Prompt, sample: int, noise: int) -> int:
    """Return the seed of an image's noise: the protocol's for a prompt's first image, else the task's."""
    if prompt.seed is not None and (sample, noise) == (0, 0):
        return prompt.seed
    return noise_seed(noise, task.id, prompt.id, sample)
