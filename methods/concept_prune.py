"""ConceptPrune: weights of the feed-forward layers that only the concept uses are set to zero.

At each sampling step every weight of a feed-forward layer's second matrix has the score |W_ij| ‖X_j‖ (Wanda),
where ‖X_j‖ is the norm of its j-th input over prompts and places, each place's input scaled to length one. A
weight is the concept's where its score is among the `ratio` largest of its row, and larger than with the same
prompts about the anchor. It is pruned where that holds in more than the share `agreement` of the steps (arXiv
2405.19237, section 4).

Where this differs from the released code: base prompts are the anchor's, or the concept's without its name;
the released code has lists written for each concept. There is no training, and no gradient.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from pydantic import BaseModel, Field
from torch import Tensor, nn

from ..bench.config import STRICT
from ..bench.errors import UserError
from ..bench.training.objectives import Denoiser
from ..bench.training.trainer import fork, freeze
from ..bench.types import Problem, SavePoint
from .training.config import Prompts
from .training.latents import LatentSampler, draw_noise
from .training.tokens import concept_prompts, lead_with_each

REGISTER = {
    "summary": "ConceptPrune: feed-forward weights that the concept alone uses set to zero",
    "paper": "https://arxiv.org/abs/2405.19237",
    "version": 1,
    "function": "unlearn",
    "config": "Config",
    "direction": "",
    "needs": ["targets"],
}
PRESETS = {
    # ruchikachavhan/concept-prune@04a8a67, configs/wanda_config.yaml; the share of steps is left open there
    "paper": {"ratio": 0.01, "agreement": 0.0, "sampling_steps": 51},
}
LAYER = ".ff.net.2"


class Config(BaseModel):
    """ratio: share of a row's weights that may be the concept's. agreement: share of the steps, see above.

    pairs: number of prompt pairs. sampling_steps: of a complete drawing (None = the world's). prompts: the
    prompts that hold the concept.
    """

    model_config = STRICT
    ratio: float = Field(default=0.3, ge=0, le=1)
    agreement: float = Field(default=0.0, ge=0, lt=1)
    pairs: int = Field(default=24, ge=1)
    sampling_steps: int | None = Field(default=None, ge=1)
    prompts: Prompts = "training"


def find_layers(module: nn.Module) -> dict[str, nn.Linear]:
    """Return the second matrices of the feed-forward layers, by name."""
    named = module.named_modules()
    found = {name: m for name, m in named if name.endswith(LAYER) and isinstance(m, nn.Linear)}
    if not found:
        raise UserError(f"{type(module).__name__}: has no feed-forward layer named {LAYER}")
    return found


@contextmanager
def watch(layers: dict[str, nn.Linear], see: Callable[[str, Tensor], None]) -> Iterator[None]:
    """Call see(name, inputs (m, d)) at every forward pass of the layers; afterwards the hooks are removed."""

    def hook(name: str) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
        return lambda layer, inputs: see(name, inputs[0].flatten(0, -2))

    handles = [layer.register_forward_pre_hook(hook(name)) for name, layer in layers.items()]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def collect_norms(
    denoiser: Denoiser, sampler: LatentSampler, noise: Tensor, conditions: dict[str, Tensor]
) -> dict[str, Tensor]:
    """Return each layer's input norms (steps, d) while the prompts of rows 1... are drawn; row 0 is empty."""
    layers = find_layers(denoiser.module)
    sums = {name: torch.zeros(sampler.steps + 1, m.in_features) for name, m in layers.items()}
    step = 0

    def see(name: str, inputs: Tensor) -> None:
        unit = nn.functional.normalize(inputs.float(), dim=1)
        sums[name][step] += unit.square().sum(0).cpu()

    def turn(number: int) -> None:
        nonlocal step
        step = number

    asked = {name: values[1:] for name, values in conditions.items()}
    empty = {name: values[:1].expand(asked[name].shape) for name, values in conditions.items()}
    with watch(layers, see):
        sampler.draw(noise, asked, empty, on_step=turn)
    return {name: total[: step + 1].sqrt() for name, total in sums.items()}


def concept_mask(weight: Tensor, concept: Tensor, base: Tensor, ratio: float, agreement: float) -> Tensor:
    """Return the mask (out, d) of the weights to be pruned. concept, base: input norms (steps, d)."""
    count = int(ratio * weight.shape[1])
    votes = torch.zeros(weight.shape)
    magnitude = weight.detach().abs().float().cpu()
    for ours, theirs in zip(concept, base, strict=True):
        score = magnitude * ours
        top = torch.zeros(weight.shape, dtype=torch.bool)
        top.scatter_(1, score.topk(count, dim=1).indices, True)
        votes += top & (score > magnitude * theirs)
    return votes > agreement * len(concept)


@torch.no_grad()
def unlearn(pipeline: Any, problem: Problem, config: Config, save: SavePoint) -> None:
    """Set the concept's feed-forward weights to zero, in place; saves one point."""
    freeze(pipeline)
    denoiser = Denoiser(pipeline)
    [stream] = fork(problem.generator, 1)
    side: Any = tuple(problem.forget_set.images.shape[-2:])
    pairs = concept_prompts(problem, config.prompts)
    ordered = lead_with_each(*pairs, problem.targets, config.pairs, "pairs")
    prompts, others = (found[: config.pairs] for found in ordered)
    others = [other or _without(prompt, problem) for prompt, other in zip(prompts, others, strict=True)]
    sampler = LatentSampler(
        denoiser, config.sampling_steps or problem.sampling.steps, problem.sampling.guidance
    )
    noise = draw_noise(denoiser, len(prompts), side, stream)  # the same noise for both: only the words differ
    ours, theirs = (
        collect_norms(denoiser, sampler, noise, denoiser.encode_text(["", *texts], side))
        for texts in (prompts, others)
    )
    pruned = 0
    for name, layer in find_layers(denoiser.module).items():
        mask = concept_mask(layer.weight, ours[name], theirs[name], config.ratio, config.agreement)
        layer.weight[mask.to(layer.weight.device)] = 0
        pruned += int(mask.sum())
    save(1, {"step": [1], "pruned": [pruned]})


def _without(prompt: str, problem: Problem) -> str:
    """Return a prompt without the names of the targets."""
    for name in problem.targets:
        prompt = prompt.replace(name, "")
    return " ".join(prompt.split())
