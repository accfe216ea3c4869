"""A small open_clip model of a custom config, opened from safetensors."""

import json
from pathlib import Path

import open_clip
import torch

from ..models.whole import load_whole


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
