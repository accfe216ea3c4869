"""Forget-Me-Not: the attention of images to the concept's tokens is trained towards zero.

Loss ‖A‖ (one norm over all layers, heads and places) of the cross-attention probabilities at the concept's
tokens, on noised images of the concept (arXiv 2303.17591, section 3.2). Joint-attention transformers have no
cross-attention map and are refused.

Where this differs from the released code: no token is learned by textual inversion first (its `use_ti`);
weight decay is 0, because here it would also move weights that have no gradient.
"""

from typing import Any, Literal

import torch
from pydantic import Field
from torch import Tensor

from ..bench.errors import UserError
from ..bench.training.families import check_supported
from ..bench.training.objectives import Batch, Denoiser, Encoded, Objective
from ..bench.training.trainer import Trainer, fork, select_part
from ..bench.types import Problem, SavePoint
from .training.attention import keep_maps
from .training.config import LoopConfig
from .training.tokens import encode_tokens

REGISTER = {
    "summary": "Forget-Me-Not: attention to the concept's tokens trained towards zero",
    "paper": "https://arxiv.org/abs/2303.17591",
    "version": 1,
    "function": "unlearn",
    "config": "Config",
    "direction": "",
    "needs": ["targets", "forget_set"],
    "pipelines": ["sd", "sdxl"],
}
PRESETS = {
    # SHI-Labs/Forget-Me-Not@2767849, configs/attn.yaml
    "paper": {"part": "full", "steps": 35, "rate": 2e-6, "batch": 1, "optimiser": "adamw",
              "end_tokens": True, "clip_norm": 1.0},
}  # fmt: skip


class Config(LoopConfig):
    """end_tokens: whether the tokens that end and pad a prompt count as the concept's (`use_pooler`).

    gradient_checkpointing is not possible: the attention maps of the forward pass are in the loss.
    """

    part: Literal["xattn", "full"] = "xattn"
    rate: float = Field(default=1e-3, gt=0, allow_inf_nan=False)
    steps: int = Field(default=30, ge=1)
    end_tokens: bool = False
    gradient_checkpointing: Literal[False] = False


def attention_norm(maps: list[Tensor], marks: Tensor) -> Tensor:
    """Return the norm of the maps at the marked tokens. marks: (b, T) bool."""
    total = torch.zeros((), device=marks.device)
    for found in maps:
        heads = len(found) // len(marks)
        total = total + (found * marks.repeat_interleave(heads, 0)[:, None, :]).square().sum()
    # the gradient of the norm at zero is not a number; there is nothing left to forget
    return total.sqrt() if total > 0 else total


def resteer(denoiser: Denoiser) -> Objective:
    """Return the attention norm as an objective; batches hold the marks under `concept`."""

    def objective(batch: Batch) -> tuple[Tensor, Tensor]:
        with keep_maps(denoiser.module) as maps:
            denoiser.predict(batch, batch.conditions)
        loss = attention_norm(maps.maps, batch.conditions["concept"])
        return loss, loss

    objective.is_mean = False  # type: ignore[attr-defined]
    return objective


class ResteeringTrainer(Trainer):
    """Trains on the forget set's images with the marks of the concept's tokens."""

    def __init__(self, pipeline: Any, problem: Problem, config: Config) -> None:
        super().__init__(pipeline, config)
        [self.stream] = fork(problem.generator, 1)
        self.encoded = self._mark(problem)
        self.objective = resteer(self.denoiser)
        self.open(select_part(self.denoiser.module, config.part))

    def _mark(self, problem: Problem) -> Encoded:
        """Return the encoded forget set with the marks of each prompt among its conditions."""
        images = problem.forget_set
        encoded = self.denoiser.encode(images)
        distinct = list(dict.fromkeys(("", *images.prompts, *images.anchor_prompts)))
        tokens = encode_tokens(self.denoiser, distinct, problem.targets, (0, 0))
        if not tokens.concept[encoded.rows].any():
            raise UserError("fmn: no prompt of the forget set holds the name of a target")
        marks = tokens.concept
        if self.config.end_tokens:
            last = tokens.ends.int().argmax(1, keepdim=True)
            marks = marks | (torch.arange(marks.shape[1]) > last)
        conditions = {**encoded.conditions, "concept": marks.to(self.denoiser.device)}
        return Encoded(encoded.latents, conditions, encoded.rows, None)

    def take_step(self) -> dict[str, float]:
        batch = self.denoiser.draw(self.encoded, self.config.batch, 0.0, self.stream)
        loss, gradient = self.differentiate(self.objective, batch)
        return {"forget_loss": loss.item(), "norm_before_clipping": self.descend(gradient).item()}


def unlearn(pipeline: Any, problem: Problem, config: Config, save: SavePoint) -> None:
    """Train the attention to the concept's tokens towards zero, in place."""
    check_supported(pipeline, "fmn", REGISTER["pipelines"])  # type: ignore[arg-type]
    ResteeringTrainer(pipeline, problem, config).run(save)
