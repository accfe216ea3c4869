"""The basic types of the benchmark: values, prompts, problems, points, views, metrics. No torch at import."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Annotated, Any, Literal, Protocol

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    model_serializer,
)

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    import torch


Direction = Literal["up", "down"]
Split = Literal["forget", "retain", "indirect"]
ConceptKind = Literal["subject", "style", "person", "category"]
"""Kind of a concept: a thing, a manner of drawing, a person, or a class of things that a policy names."""
LATER: dict[str, Any] = {"later": True}
"""`json_schema_extra` of a record's field that was added after records had been published."""


@cache
def _later_fields(kind: type[BaseModel]) -> dict[str, Any]:
    """Return the default of each field that is marked LATER."""
    return {
        name: info.get_default(call_default_factory=True)
        for name, info in kind.model_fields.items()
        if info.json_schema_extra == LATER
    }


class FixedPart(BaseModel):
    """Base of a part of a record that gets no new field."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class RecordPart(FixedPart):
    """Base of the parts of a record that may get fields.

    A field marked LATER is left out of files and digests at its default. Otherwise a new field would
    change the digest of every published record. Declare one as
    `name: T = Field(default=DEFAULT, json_schema_extra=LATER)`.
    """

    @model_serializer(mode="wrap")
    def _leave_out_defaults(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        content: dict[str, Any] = handler(self)
        for name, default in _later_fields(type(self)).items():
            if getattr(self, name) == default:
                content.pop(name, None)
        return content


class Value(FixedPart):
    """A measured number with its interval; where it could not be measured, a reason instead, never 0.

    A record holds hundreds: they are written without a look for fields at their defaults.
    """

    value: float | None
    low: float | None = None
    high: float | None = None
    n: int = 0
    missing: str | None = None


def missing(reason: str, n: int = 0) -> Value:
    """Return the Value of a number that could not be measured."""
    return Value(value=None, n=n, missing=reason)


def not_scored(reason: str) -> Value:
    """Return the Value of a number that was left out on purpose: neither a failure nor a zero."""
    return missing(f"not scored: {reason}")


class AttackCost(RecordPart):
    """seconds: of the attack, without the images that measure it. passes: images through the denoiser, a step
    each. images: drawn by the attack. judged: images that it asked the judge about."""

    seconds: float
    passes: int
    images: int
    judged: int


class AttackInfo(RecordPart):
    """One attack. budget: in words, with its unit. fingerprint: of the model that was attacked.

    of: digest of the record that was attacked, "" for a model without one. texts: prompt id -> what was asked
    in its place. learning_seed: of the images that it learnt from. readings: of a diagnostic. values: see
    `bench/metrics/attacks.py`. curve: steps of the attack at which the points from index 2 on were taken.
    """

    name: str
    version: int
    summary: str
    paper: str
    moves: Literal["prompt", "embedding", "noise", "latents", "weights", "nothing"]
    access: Literal["black-box", "white-box"]
    config: dict[str, Any]
    budget: str
    seed: int
    learning_seed: int
    fingerprint: str
    of: str = ""
    texts: dict[str, str] = Field(default_factory=dict)
    readings: dict[str, float] = Field(default_factory=dict)
    values: dict[str, Value] = Field(default_factory=dict)
    curve: list[int] = Field(default_factory=list, json_schema_extra=LATER)
    cost: AttackCost


@dataclass(frozen=True)
class Prompt:
    """One evaluation prompt and the truth about it.

    split: `forget`, `retain` or `indirect`. asked: the attributes that the image must show, by kind
    (`{"subject": "fox", "style": "line", "background": "red"}`). targets: for forget and indirect prompts,
    the names whose presence means that the concept was not forgotten. relation: of a retain prompt's concept
    to the target: `same` or `other` family, or `crossed` (a concept of the same family together with one of
    another domain). given: whether the method's retain set held that concept. half: A or B, by hash, for
    choosing on one half and scoring on the other.
    """

    id: str
    text: str
    split: Split
    asked: Mapping[str, str]
    target_kind: str
    targets: tuple[str, ...]
    relation: Literal["target", "same", "other", "crossed"]
    given: bool
    half: Literal["A", "B"]
    seed: int | None = None  # of the noise, where a published protocol names it; None = the task's own
    guidance: float | None = None  # where a published protocol names it; None = the world's


@dataclass(frozen=True)
class TrainingSet:
    """Captioned images that a method trains on. images: (n, 3, H, W) float in [-1, 1]."""

    prompts: tuple[str, ...]
    images: torch.Tensor
    anchor_prompts: tuple[
        str, ...
    ] = ()  # forget set only: the same prompts with the anchor in the target's place


RETAIN_SUBJECTS = r"retain-([1-9]\d{0,2})"
"""Form of the data choice with a number of subjects."""


def _known_data(value: str) -> str:
    if value not in ("diverse", "narrow", "narrow-retain") and not re.fullmatch(RETAIN_SUBJECTS, value):
        raise ValueError("must be diverse, narrow, narrow-retain or retain-N, with N subjects (1 to 999)")
    return value


DataChoice = Annotated[str, AfterValidator(_known_data)]
"""Content of a method's training sets: `diverse`: every given concept in every wording; `narrow`: two
subjects in one wording; `narrow-retain`: such a retain set, with the forget set of `diverse`; `retain-N`: the
first N given subjects in every wording, with the forget set of `diverse`."""

Headline = Literal["AVA", "H"]
"""The number that orders a board (`leaderboard/STATISTICS.md`)."""


@dataclass(frozen=True)
class DrawSettings:
    """Sampling steps and guidance scale with which a world draws its images."""

    steps: int
    guidance: float


@dataclass(frozen=True)
class Problem:
    """The complete input of an unlearning method; it holds no evaluation prompt.

    data: how much the sets show. generator: a CPU torch.Generator seeded by the training seed; every random
    choice of a method comes from it, so that a run repeats exactly. targets: the names to be forgotten, as
    prompts write them. retained: names that the retain set shows. kind: of the concept. sampling: how the
    world draws, for methods that draw with the model. anchors: of each target, in their order; () where all
    have `anchor`, or one has none. anchor: None where targets have different ones.
    """

    task: str
    concept: str
    anchor: str | None
    forget_set: TrainingSet
    retain_set: TrainingSet
    data: DataChoice
    seed: int
    generator: torch.Generator
    targets: tuple[str, ...] = ()
    retained: tuple[str, ...] = ()
    kind: ConceptKind = "subject"
    sampling: DrawSettings = DrawSettings(50, 7.5)
    anchors: tuple[str, ...] = ()


class SavePoint(Protocol):
    """save(step, log, tensors): keep the model as it is now as a point, to be scored later.

    log: column names to equally long lists, with one entry for each training step so far. tensors: data that
    a sampling-time method keeps for its `apply`, by names of its own; None = nothing.
    """

    def __call__(
        self, step: int, log: Mapping[str, Any], tensors: Mapping[str, torch.Tensor] | None = None
    ) -> None: ...


INTERVAL_VERSION: Literal[2] = 2
"""Version of the intervals of shares in new records. 1: Wilson's at an estimated effective size, which could
fall when a hit was added; 2: `bench/stats/monotone.py`. A record is read by the version that it names."""


@dataclass(frozen=True)
class View:
    """One point as a metric sees it: pure data, no model.

    items: one row for each image, with the columns of `ITEM_COLUMNS` and some of `OPTIONAL_COLUMNS`.
    features: {extractor: (rows, d)} aligned with items. reference: {extractor: (n, d)} features of the
    world's reference images. base: the same prompts and noise drawn by the base model (None for the base
    itself). interval_version: of the intervals of shares.
    """

    items: pd.DataFrame
    features: Mapping[str, np.ndarray] = field(default_factory=dict)
    reference: Mapping[str, np.ndarray] = field(default_factory=dict)
    base: View | None = None
    interval_version: int = INTERVAL_VERSION


ITEM_COLUMNS = (
    "split",  # forget | retain | indirect
    "prompt_id",
    "prompt",
    "sample",  # index of the noise sample of this prompt
    "seed",  # of the image's noise
    "half",  # A | B
    "relation",  # target | same | other | crossed
    "given",  # bool: concept was in the method's retain set
    "target_kind",  # subject | style: the kind of attribute that is to be forgotten
    "asked_subject",  # "" where the prompt does not ask for it
    "asked_style",
    "asked_background",
    "found_subject",  # the judge's answer; "" = nothing known; None = the judge failed
    "found_style",
    "found_background",
    "target_found",  # bool | None: the judge found a target (forget and indirect prompts)
    "alignment",  # cosine of image and prompt embeddings (open_clip); NaN where not computed
    "alignment_shuffled",  # cosine of the image with another prompt of its split: chance level
    "flatness",  # standard deviation of the pixels within each channel, averaged, in [0, 1]; NaN: failed
    "image_sha256",  # of the pixels, the first 128 bits in hex; "" = the image failed: pixels not finite
)
OPTIONAL_COLUMNS = (
    "guidance",  # of the image, where its prompt names one; NaN = the record's `sampling`
    "target_score",  # how sure the judge is that the target is there (NaN: retain rows), for curves
)
"""Columns that follow the others, in this order, in rows that need them."""


@dataclass(frozen=True)
class Metric:
    """A pure metric: a score for each item (or None), then its reduction to named values.

    per_item(items) -> Series of floats, NaN where a row has no score; None for metrics of sets.
    reduce(scores, view) -> {name: Value}; the first name is the metric's own.
    """

    per_item: Callable[[pd.DataFrame], pd.Series | None]
    reduce: Callable[[pd.Series | None, View], dict[str, Value]]
