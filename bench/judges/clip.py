"""Alignment of image and prompt by a CLIP model: cosine of the embeddings."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

REGISTER = {
    "name": "open-clip",
    "summary": "cosine of image and prompt embeddings by an open_clip model (alignment score)",
    "paper": "https://arxiv.org/abs/2104.08718",
    "version": 1,
    "function": "open_scorer",
}


class AlignmentScorer:
    """Embeds images and prompts; both embeddings have unit length."""

    def __init__(self, model: Any, tokenizer: Any) -> None:
        self.model, self.tokenizer = model, tokenizer

    @torch.no_grad()
    def embed_images(self, images: np.ndarray, batch: int = 64) -> np.ndarray:
        """Return (n, d) float32 of images (n, H, W, 3) uint8."""
        device = next(self.model.parameters()).device
        out = []
        for chunk in np.array_split(images, max(1, -(-len(images) // batch))):
            x = (
                torch.from_numpy(np.ascontiguousarray(chunk)).to(device).permute(0, 3, 1, 2).float() / 127.5
                - 1
            )
            out.append(F.normalize(self.model.encode_image(x), dim=1).float().cpu().numpy())
        return np.concatenate(out)

    @torch.no_grad()
    def embed_prompts(self, prompts: list[str]) -> np.ndarray:
        """Return (n, d) float32 of prompts."""
        device = next(self.model.parameters()).device
        ids = self.tokenizer(
            prompts,
            padding="max_length",
            max_length=self.tokenizer.model_max_length,
            truncation=True,
            return_tensors="pt",
        ).input_ids
        return F.normalize(self.model.encode_text(ids.to(device)), dim=1).float().cpu().numpy()


def open_scorer(folder: Path, tokenizer_folder: Path) -> AlignmentScorer:
    """Open an open_clip model of a world (`config.json`, `model.safetensors`) and its tokenizer."""
    from transformers import CLIPTokenizer

    from .clip_model import load_clip

    return AlignmentScorer(load_clip(folder), CLIPTokenizer.from_pretrained(tokenizer_folder))
