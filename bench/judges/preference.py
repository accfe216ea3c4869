"""Preference models: how much people would prefer an image for its prompt, by the user's own weights.

PickScore (Kirstain et al. 2023, arXiv 2305.01569) and HPSv2 (Wu et al. 2023, arXiv 2306.09341) are CLIP
ViT-H/14 networks trained on people's choices. Their scores say how an image looks, not what it shows: they
are reported (`unlearnbench rate`) and rank nothing. ImageReward is not here: it is a BLIP network with a head
of its own, whose weights fit no class of transformers.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
import torch.nn.functional as F

from ..errors import UserError
from ..models.whole import first_line, open_network, quiet
from .unlearncanvas import fill_network, read_weights

REGISTER = [
    {
        "name": "pickscore",
        "summary": "no verdict: how much people would prefer an image for its prompt (`unlearnbench rate`)",
        "paper": "https://arxiv.org/abs/2305.01569",
        "version": 1,
        "function": "open_pickscore",
    },
    {
        "name": "hpsv2",
        "summary": "no verdict: how much people would prefer an image for its prompt (`unlearnbench rate`)",
        "paper": "https://arxiv.org/abs/2306.09341",
        "version": 1,
        "function": "open_hpsv2",
    },
]
HPS_NETWORK = "ViT-H-14"
MEAN, STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
"""Of the pixels that CLIP was trained on, by channel."""


class PreferenceScorer(Protocol):
    """Scores images for their prompts; higher = preferred."""

    def score(self, images: np.ndarray, prompts: Sequence[str]) -> np.ndarray:
        """Return (n,) float64 of images (n, H, W, 3) uint8, each with its own prompt."""
        ...


class PickScorer:
    """PickScore: the cosine of image and prompt times exp(logit_scale), which the weights hold."""

    def __init__(self, model: Any, processor: Any, device: str = "cpu") -> None:
        self.model, self.processor, self.device = model.float().eval().to(device), processor, device

    @torch.no_grad()
    def score(self, images: np.ndarray, prompts: Sequence[str]) -> np.ndarray:
        """See `PreferenceScorer`; a prompt is cut at the length that the text tower takes."""
        length = self.model.config.text_config.max_position_embeddings
        words = {"padding": True, "truncation": True, "max_length": length}
        inputs = self.processor(text=list(prompts), images=list(images), return_tensors="pt", **words)
        found = self.model(**inputs.to(self.device))
        cosines = (found.image_embeds * found.text_embeds).sum(dim=1)
        return np.asarray((self.model.logit_scale.exp() * cosines).double().cpu())


class HpsScorer:
    """HPSv2: the cosine of image and prompt."""

    def __init__(self, model: Any, tokenizer: Any, device: str = "cpu") -> None:
        self.model, self.tokenizer, self.device = model.float().eval().to(device), tokenizer, device

    @torch.no_grad()
    def score(self, images: np.ndarray, prompts: Sequence[str]) -> np.ndarray:
        """See `PreferenceScorer`; a prompt is cut at the length that the text tower takes."""
        size = self.model.visual.image_size
        pixels = prepare_hps(images, size[0] if isinstance(size, tuple) else size)
        first = F.normalize(self.model.encode_image(pixels.to(self.device)), dim=1)
        second = F.normalize(self.model.encode_text(self.tokenizer(list(prompts)).to(self.device)), dim=1)
        return np.asarray((first * second).sum(dim=1).double().cpu())


def prepare_hps(images: np.ndarray, side: int) -> torch.Tensor:
    """Return (n, 3, side, side) float32 of images (n, H, W, 3) uint8 as HPSv2's own code prepares them.

    The longer side becomes `side` by torchvision's bicubic filter on floats in [0, 1] (not PIL's), the rest
    is padded with 0, then CLIP's normalisation (tgxs002/HPSv2 at 866735e, src/open_clip/transform.py).
    """
    from torchvision.transforms import InterpolationMode
    from torchvision.transforms import functional as transforms

    x = torch.from_numpy(np.ascontiguousarray(images)).permute(0, 3, 1, 2).float() / 255
    height, width = x.shape[2:]
    if max(height, width) != side:
        size = [round(side / max(height, width) * length) for length in (height, width)]
        x = transforms.resize(x, size, InterpolationMode.BICUBIC, antialias=True)
    rest = [side - length for length in x.shape[2:]]
    x = F.pad(x, (rest[1] // 2, rest[1] - rest[1] // 2, rest[0] // 2, rest[0] - rest[0] // 2))
    return transforms.normalize(x, list(MEAN), list(STD))


def open_pickscore(folder: Path, device: str = "cpu") -> PickScorer:
    """Open a folder of a CLIP model with its processor, in transformers' format; downloads nothing.

    Raises UserError where a file is missing, or the weights are incomplete or of another network.
    """
    from transformers import CLIPModel, CLIPProcessor

    if not (folder / "config.json").is_file():
        raise UserError(f"{folder}: no config.json: not a folder of a CLIP model; fetch it again")
    model = open_network(folder, CLIPModel, torch.float32)
    try:
        with quiet():
            processor = CLIPProcessor.from_pretrained(str(folder), local_files_only=True)
    except Exception as error:  # whatever a damaged folder makes the library raise
        raise UserError(f"{folder}: its processor does not open: {first_line(error)}") from None
    return PickScorer(model, processor, device)


def open_hpsv2(path: Path, device: str = "cpu", network: str = HPS_NETWORK) -> HpsScorer:
    """Open a file of HPSv2's weights (.pt, or the same tensors as .safetensors); downloads nothing.

    network: its architecture in open_clip. Raises UserError where the file holds more than tensors, or those
    of another network.
    """
    import open_clip

    weights = read_weights(path, "state_dict")
    with quiet():
        model = open_clip.create_model(network, pretrained=None, load_weights=False)
        tokenizer = open_clip.get_tokenizer(network)
    fill_network(model, weights, path, f"a {network}")
    return HpsScorer(model, tokenizer, device)
