"""The images that a task asks for: its prompts, each with its noise samples and their seeds."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

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


def narrow_requests(requests: Sequence[ImageRequest], targets: Collection[str]) -> list[ImageRequest]:
    """Return the requests without forget prompts of other targets; only these targets count as not forgotten.

    For a step of a sequence: requests of the steps to come are not asked yet.
    """
    found = []
    for request in requests:
        prompt = request.prompt
        if prompt.split == "retain":
            found.append(request)
        elif prompt.asked.get(prompt.target_kind) in targets:
            own = tuple(name for name in prompt.targets if name in targets)
            found.append(replace(request, prompt=replace(prompt, targets=own)))
    return found


def seed_of(task: Task, prompt: Prompt, sample: int, noise: int) -> int:
    """Return the seed of an image's noise: the protocol's for a prompt's first image, else the task's."""
    if prompt.seed is not None and (sample, noise) == (0, 0):
        return prompt.seed
    from ..models.sampling import noise_seed  # imports torch

    return noise_seed(noise, task.id, prompt.id, sample)
