"""Settings of methods with a loop of their own, and of those that solve for their weights."""

from typing import Literal

from pydantic import BaseModel, Field

from ...bench.config import STRICT
from ...bench.training.trainer import Bound, PointsConfig

Prompts = Literal["name", "training"]
"""Which prompts hold the concept: its bare `name`, as in released codes, or the forget set's prompts
(`training`)."""


class LoopConfig(PointsConfig):
    """Settings that methods with a loop of their own share.

    clip_norm: None = no clipping, as in the papers. batch: images a step. micro_batch,
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
    """Settings of a closed-form edit. lam: λ, the weight of staying at the base's matrices.

    prompts: which prompts hold the concept. tokens: the states of all their tokens are edited, or those of
    the last word alone.
    """

    model_config = STRICT
    prompts: Prompts = "name"
    tokens: Literal["all", "last"] = "last"
    lam: float = Field(default=0.5, gt=0, allow_inf_nan=False)
