"""Concept ablation as published: on images of the anchor, the concept is trained to be read as the anchor.

Loss ‖e(x_t, c) - sg e(x_t, a)‖². x_t: noised images of the *anchor*, which the base draws. sg e: the current
model, without gradient (arXiv 2303.13516, eq. 5, model-based). Keys and values of cross-attention are
trained; in SD3 and Flux those of the text.

Where this differs from the released code: images stay latents, which saves decoding and encoding; pairs of
prompts come from the forget set (`prompts = "name"`: bare names) and not from a language model;
`prior_weight` is the weight of the denoising loss on the same images with the anchor's prompts.
"""

from typing import Any, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from ..bench.errors import UserError
from ..bench.training.objectives import Batch, Denoiser, Encoded, Objective
from ..bench.training.trainer import Trainer, fork, select_part
from ..bench.types import Problem, SavePoint
from .training.config import LoopConfig, Prompts
from .training.latents import draw_latents
from .training.steering import steer
from .training.tokens import concept_prompts, lead_with_each

REGISTER = {
    "summary": "Concept ablation as published: the concept read as its anchor, on images of the anchor",
    "paper": "https://arxiv.org/abs/2303.13516",
    "version": 1,
    "function": "unlearn",
    "config": "Config",
    "direction": "",
    "needs": ["targets", "anchor"],
}
PRESETS = {
    # nupurkmr9/concept-ablation@c11fb1b, diffusers/README.md: 2e-6 for each of 2 x 4 images a step
    "paper": {"steps": 100, "rate": 1.6e-5, "batch": 8, "optimiser": "adamw", "weight_decay": 0.01,
              "images": 1000, "layers": "keys_and_values"},
    "paper-nudity": {"steps": 400, "rate": 3.2e-5, "batch": 8, "optimiser": "adamw", "weight_decay": 0.01,
                     "images": 1000, "layers": "all", "prior_weight": 1.0},
}  # fmt: skip
KEYS_AND_VALUES = ("attn2.to_k.", "attn2.to_v.", ".add_k_proj.", ".add_v_proj.")


class Config(LoopConfig):
    """layers: of cross-attention that are trained. images: number of anchor images that the base draws.
    prior_weight: of the ordinary loss on them. prompts: the prompts that hold the concept."""

    part: Literal["xattn"] = "xattn"
    layers: Literal["keys_and_values", "all"] = "keys_and_values"
    rate: float = Field(default=3e-4, gt=0, allow_inf_nan=False)
    steps: int = Field(default=60, ge=1)
    images: int = Field(default=32, ge=1)
    prior_weight: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    prompts: Prompts = "training"


def select_layers(module: nn.Module, layers: str) -> list[nn.Parameter]:
    """Return the trained parameters; raises UserError where the denoiser has none."""
    if layers == "all":
        return select_part(module, "xattn")
    found = [p for name, p in module.named_parameters() if any(mark in name for mark in KEYS_AND_VALUES)]
    if not found:
        raise UserError(f"{type(module).__name__}: has no keys and values of the text to train")
    return found


def ablation(denoiser: Denoiser, prior_weight: float) -> Objective:
    """Return the distance to the anchor's prediction, plus `prior_weight` times the anchor's own loss."""
    steered = steer(denoiser)

    def objective(batch: Batch) -> tuple[Tensor, Tensor]:
        loss, _ = steered(batch)
        if prior_weight == 0:
            return loss, loss
        assert batch.anchors is not None
        prior = (denoiser.predict(batch, batch.anchors) - batch.target).square().mean()
        return loss + prior_weight * prior, loss

    return objective


class AblationTrainer(Trainer):
    """Trains on latents of the anchor's images, which the base draws before the first step."""

    def __init__(self, pipeline: Any, problem: Problem, config: Config) -> None:
        super().__init__(pipeline, config)
        if not problem.anchor and not problem.anchors:
            raise UserError("anchor: the task names none, which concept ablation needs")
        drawn, self.stream = fork(problem.generator, 2)
        self.encoded = self._draw_anchor(problem, drawn)
        self.objective = ablation(self.denoiser, config.prior_weight)
        self.open(select_layers(self.denoiser.module, config.layers))

    def _draw_anchor(self, problem: Problem, stream: torch.Generator) -> Encoded:
        """Return latents of the anchor's images, each with a prompt of the concept and one of the anchor."""
        side: Any = tuple(problem.forget_set.images.shape[-2:])
        count = self.config.images
        pairs = concept_prompts(problem, self.config.prompts)
        prompts, anchors = lead_with_each(*pairs, problem.targets, count, "images")
        conditions = self.denoiser.encode_text(["", *prompts, *anchors], side)
        rows = 1 + torch.arange(count) % len(prompts)
        anchored = rows + len(prompts)
        latents = draw_latents(self.denoiser, problem.sampling, conditions, anchored, side, stream)
        return Encoded(latents, conditions, rows, anchored)

    def take_step(self) -> dict[str, float]:
        batch = self.denoiser.draw(self.encoded, self.config.batch, 0.0, self.stream)
        loss, gradient = self.differentiate(self.objective, batch)
        return {"forget_loss": loss.item(), "norm_before_clipping": self.descend(gradient).item()}


def unlearn(pipeline: Any, problem: Problem, config: Config, save: SavePoint) -> None:
    """Steer the concept to its anchor on images of the anchor, in place."""
    AblationTrainer(pipeline, problem, config).run(save)
