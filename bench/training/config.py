"""Settings of training that methods share."""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, Field, ValidationInfo, field_validator

from ..config import STRICT
from .objectives import TruncationMode

Part = Literal["full", "xattn", "noxattn", "lora"]


def _drop_infinity(value: float | None) -> float | None:
    return None if value == float("inf") else value


Bound = Annotated[float | None, Field(gt=0, allow_inf_nan=True), AfterValidator(_drop_infinity)]
"""A positive bound or none. TOML has no null: there `inf` stands for none; after validation None does."""


class PointsConfig(BaseModel):
    """Settings of every method: the trained part, and the steps at which the model is saved.

    part: `full`, `xattn` (cross-attention), `noxattn` (all but cross-attention; ESD, Gandikota et al. 2023,
    whose code also leaves out the time embedding and the output layer) or `lora` (adapters on every
    attention, merged into the weights of a saved point). checkpoints: rising steps, the last one equal to
    `steps`; default: only `steps`.
    """

    model_config = STRICT
    part: Part = "full"
    steps: int = Field(default=60, ge=1)
    checkpoints: tuple[int, ...] = Field(default_factory=lambda given: (given["steps"],))

    @field_validator("checkpoints")
    @classmethod
    def _check_checkpoints(cls, value: tuple[int, ...], info: ValidationInfo) -> tuple[int, ...]:
        steps = info.data.get("steps", value[-1] if value else 0)
        if not value or sorted(set(value)) != list(value) or value[0] < 1 or value[-1] != steps:
            raise ValueError(f"must be positive, rising and end at steps = {steps}")
        return value


class TrainingConfig(PointsConfig):
    """Settings of a method that trains by gradients.

    rate: constant learning rate. batch: images of each set in a step. caption_drop: share of captions
    dropped, as in the base model's training. clip_norm: bound of the update direction's L2 norm (`inf` =
    none). weight_decay: decoupled only for `adamw`. diagnostics: log more than the step's number. rank: of
    the adapters of part `lora`. micro_batch: images that go through the denoiser at once (default: the whole
    batch); it is halved automatically where the device's memory is too small. gradient_checkpointing: less
    memory for more time.
    """

    rank: int = Field(default=8, ge=1)
    micro_batch: int | None = Field(default=None, ge=1)
    gradient_checkpointing: bool = False
    optimiser: Literal["adamw", "adam", "sgd"] = "adamw"
    rate: float = Field(default=1e-4, gt=0, allow_inf_nan=False)
    weight_decay: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    batch: int = Field(default=32, ge=1)
    caption_drop: float = Field(default=0.1, ge=0, le=1)
    clip_norm: Bound = 1.0
    diagnostics: bool = True

    def retain_draws(self) -> tuple[int | None, float]:
        """Return the retain set's batch (None = every image once) and the share of its captions dropped."""
        return self.batch, self.caption_drop


class ForgetConfig(TrainingConfig):
    """Settings of a method with a forget and a retain gradient.

    lam: λ, the weight of the retain gradient. retain_batch: images of the retain set in a step (default:
    `batch`; "all": each of them once). retain_caption_drop: share of the retain set's captions dropped
    (default: `caption_drop`, which else holds only for the forget set).
    """

    lam: float = Field(default=1.0, ge=0, allow_inf_nan=False)
    retain_batch: int | Literal["all"] | None = None
    retain_caption_drop: float | None = Field(default=None, ge=0, le=1)

    @field_validator("retain_batch", mode="before")
    @classmethod
    def _check_retain_batch(cls, value: Any) -> Any:
        if value not in (None, "all") and (type(value) is not int or value < 1):
            raise ValueError('must be a number of images, or "all"')
        return value

    def retain_draws(self) -> tuple[int | None, float]:
        size = None if self.retain_batch == "all" else self.retain_batch or self.batch
        drop = self.retain_caption_drop
        return size, self.caption_drop if drop is None else drop


class AscentConfig(ForgetConfig):
    """Settings of a method whose forget objective is truncated gradient ascent.

    truncation: bound of the forget loss in units of that loss (`inf` = none; a v- or epsilon-loss of 1 means
    that zero is predicted), or of the squared error of x0. truncation_mode: the quantity that it bounds
    (`objectives.truncated_ascent`; `element-x0`: `objectives.ascent`).
    """

    truncation: Bound = 1.0
    truncation_mode: TruncationMode = "sample"
