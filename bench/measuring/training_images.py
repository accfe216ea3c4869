"""Do a method's training images show the concept that it must forget? The task's judge answers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from ..judges.types import Judge
from ..planning.tasks import Task
from ..records.training_images import TrainingImages, not_judged
from ..store import Store, content_key
from ..types import Problem, TrainingSet
from .judging import ask_judge

if TYPE_CHECKING:
    import torch


LOOKING_VERSION = 1
"""Bump when the same images would give other shares."""
AT_ONCE = 64
"""Number of images that are judged together."""


def aims_of(task: Task) -> tuple[str, list[str]]:
    """Return the kind of answer that counts on a task's images, and the names of the targets."""
    return task.file.target_kind, task.concept.targets


def judge_problem(problem: Problem, judge: Judge, kind: str, targets: Sequence[str]) -> TrainingImages:
    """Return the shares of a problem's images that show a target. kind: of answer, e.g. `subject`."""
    known = not_judged(problem, "the judge failed on an image")
    shares = [_share(images, judge, kind, targets) for images in (problem.forget_set, problem.retain_set)]
    if None in shares:
        return known
    return known.model_copy(update={"forget_shown": shares[0], "retain_shown": shares[1], "reason": ""})


def _share(images: TrainingSet, judge: Judge, kind: str, targets: Sequence[str]) -> float | None:
    answers: list[Any] = []
    for part in images.images.split(AT_ONCE):
        answers += ask_judge(judge, _to_bytes(part)).found[kind].tolist()
    if not answers or any(pd.isna(answer) for answer in answers):
        return None
    return round(float(np.mean([answer in targets for answer in answers])), 6)


def _to_bytes(images: torch.Tensor) -> np.ndarray:
    """Return (n, H, W, 3) uint8 of (n, 3, H, W) in [-1, 1]."""
    pixels = ((images.float() + 1) * 127.5).round().clamp(0, 255).permute(0, 2, 3, 1)
    return np.ascontiguousarray(pixels.cpu().numpy().astype(np.uint8))


def look_once(store: Store, fields: dict[str, Any], look: Callable[[], TrainingImages]) -> TrainingImages:
    """Return the stored shares of a problem, else those that `look` finds. fields: all that decides them."""
    key = content_key(fields | {"looking": LOOKING_VERSION})
    stored = store.get("training-images", key)
    if stored is not None:
        return TrainingImages.model_validate_json(stored)
    found = look()
    store.put("training-images", key, found.model_dump_json().encode())
    return found
