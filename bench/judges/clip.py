"""Alignment of image and prompt by a CLIP model: cosine of the embeddings."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import torch
import torch.nn.functional as F

from ..models.whole import load_whole

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

    return AlignmentScorer(load_clip(folder), CLIPTokenizer.from_pretrained(tokenizer_folder))


def build_clip(config: dict[str, object], seed: int = 0) -> open_clip.CLIP:
    """Return an untrained open_clip model of a config; its text tower pools at the highest id, EOS."""
    torch.manual_seed(seed)
    return open_clip.CLIP(**config)  # type: ignore[arg-type]


def load_clip(folder: Path) -> open_clip.CLIP:
    """Open the model that a world ships: `config.json` (open_clip's format) and `model.safetensors`."""
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    model = build_clip(config["model_cfg"])
    load_whole(model, folder / "model.safetensors")
    return model.eval().requires_grad_(False)
