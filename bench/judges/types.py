"""The interfaces of judges and extractors, and the predictions that a judge returns."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import pandas as pd

NOTHING = ""
"""The judge's answer `nothing known`."""
SCORE_DIGITS = 6
"""Decimals of a judge's scores. Item rows keep as many, so that rounding never moves one over a threshold."""


class Extractor(Protocol):
    """Turns images (n, H, W, 3) uint8, of one size or a list of several, into (n, d) float32."""

    def embed_images(self, images: Any) -> np.ndarray:
        """Return (n, d) features."""
        ...


class JointEmbedder(Extractor, Protocol):
    """Embeds images and prompts in one space, each to unit length."""

    def embed_prompts(self, prompts: list[str]) -> np.ndarray:
        """Return (n, d) float32 of prompts."""
        ...


@dataclass(frozen=True)
class Verdicts:
    """Predictions for n images. found: columns subject, style, background. features: (n, d) float32.

    scores: (n,) confidence of a judge with a single target that the target is there; `found` compares it with
    a threshold.
    """

    found: pd.DataFrame
    features: np.ndarray
    scores: np.ndarray | None = None


def verdicts_of(
    kind: str, answers: Sequence[str], features: np.ndarray, scores: np.ndarray | None = None
) -> Verdicts:
    """Return the predictions of a judge that answers for only one kind of attribute."""
    found = pd.DataFrame({name: [NOTHING] * len(answers) for name in ("subject", "style", "background")})
    found[kind] = list(answers)
    return Verdicts(found, features, scores)


class Judge(Protocol):
    """Says what images show."""

    def judge(self, images: np.ndarray) -> Verdicts:
        """Judge images (n, H, W, 3) uint8."""
        ...
