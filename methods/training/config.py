"""Settings of methods with a training loop of their own, and of closed-form edits."""

from typing import Literal

from pydantic import BaseModel, Field

from ...bench.config import STRICT
from ...bench.training.config import Bound, PointsConfig

Prompts = Literal["name", "training"]
"""The prompts that hold the concept: its bare `name`, as in released codes, or the forget set's prompts
(`training`)."""


class LoopConfig(PointsConfig):
    """Settings of methods with a training loop of their own.

    clip_norm: None = no clipping, as in the papers. batch: images in a step. micro_batch,
    gradient_checkpointing: as in `bench.training.TrainingConfig`.
    """

    optimiser: Literal["adamw", "adam", "sgd"] = "adam"
    rate: float = Field(default=1e-4, gt=0, allow_inf_nan=False)
    weight_decay: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    batch: int = Field(default=8, ge=1)
    micro_batch: int | None = Field(default=None, ge=1)
    gradient_checkpointing: bool = False
    clip_norm: Bound = None


class EditConfig(BaseModel):
    """Settings of a closed-form edit. lam: λ, the weight of staying close to the base's matrices.

    prompts: the prompts that hold the concept. tokens: edit the states of all their tokens, or only those of
    the last word.
    """

    model_config = STRICT
    prompts: Prompts = "name"
    tokens: Literal["all", "last"] = "last"
    lam: float = Field(default=0.5, gt=0, allow_inf_nan=False)
