"""Zero-shot classification by an open_clip model over a list of names, with an answer `nothing known`."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image

from ..models.clip import open_clip_model
from .types import NOTHING, JointEmbedder, Verdicts, verdicts_of

REGISTER = {
    "name": "clip-zero-shot",
    "summary": "the nearest of a task's names, or noise, by an open_clip model (ViT-B-32 laion2b by default)",
    "paper": "https://arxiv.org/abs/2103.00020",
    "version": 1,
    "function": "ZeroShotJudge",
}
NOISE = "random noise"
"""The class of an image that shows nothing (Ko et al. 2024: an eleventh class next to CIFAR-10's ten)."""
PHRASES = {"subject": "a photo of {}", "style": "an image in the style of {}"}


class ClipScorer:
    """Embeds images and prompts by an open_clip model with its own preprocessing; both have unit length."""

    def __init__(self, folder: Path, device: str = "cpu") -> None:
        """Open a folder in open_clip's format (`open_clip_config.json` and its weights); downloads nothing.

        Raises UserError where the folder's weights are missing or incomplete.
        """
        self.model, self.preprocess, self.tokenizer = open_clip_model(folder, device)
        self.device = device

    @torch.no_grad()
    def embed_images(self, images: np.ndarray, batch: int = 64) -> np.ndarray:
        """Return (n, d) float32 of images (n, H, W, 3) uint8."""
        out = []
        for start in range(0, len(images), batch):
            part = [self.preprocess(Image.fromarray(image)) for image in images[start : start + batch]]
            features = self.model.encode_image(torch.stack(part).to(self.device))
            out.append(F.normalize(features, dim=1).float().cpu().numpy())
        return np.concatenate(out)

    @torch.no_grad()
    def embed_prompts(self, prompts: Sequence[str]) -> np.ndarray:
        """Return (n, d) float32 of prompts, each cut at the model's context length."""
        features = self.model.encode_text(self.tokenizer(list(prompts)).to(self.device))
        return np.asarray(F.normalize(features, dim=1).float().cpu().numpy())


class ZeroShotJudge:
    """Names what is in an image: one of `names`, or `nothing known` where noise is nearer."""

    def __init__(self, scorer: JointEmbedder, kind: str, names: Sequence[str]) -> None:
        self.scorer, self.kind, self.names = scorer, kind, list(names)
        phrases = [PHRASES[kind].format(name) for name in self.names]
        self.texts = scorer.embed_prompts([*phrases, NOISE])

    def judge(self, images: np.ndarray) -> Verdicts:
        """Judge (n, H, W, 3) uint8 images; features: the model's own, for distances of sets."""
        features = self.scorer.embed_images(images)
        best = (features @ self.texts.T).argmax(axis=1)
        answers = [*self.names, NOTHING]
        return verdicts_of(self.kind, [answers[i] for i in best], features)
