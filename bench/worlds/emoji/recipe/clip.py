"""The world's small open_clip model, with which the alignment score (AS) is measured."""

import open_clip
import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import CLIPTokenizer

from ...recipe.classifier import degrade
from ...recipe.loop import Stage
from ...recipe.negatives import from_bytes
from ...recipe.parts import Triple
from ...recipe.text import tokenize
from ..captions import Captioner
from ..compose import WIDEST, Canvas, random_triples
from ..spec import WorldSpec


def clip_config(spec: WorldSpec, tokenizer: CLIPTokenizer) -> dict[str, object]:
    """Return the open_clip model config: a ViT and a text tower of one width, the world's own vocabulary."""
    width, heads = spec.clip.width, 4
    return {
        "embed_dim": width,
        "vision_cfg": {
            "image_size": spec.pixels,
            "patch_size": spec.clip.patch,
            "layers": spec.clip.layers,
            "width": width,
            "head_width": width // heads,
            "mlp_ratio": 2.0,
        },
        "text_cfg": {
            "context_length": spec.text.tokens,
            "vocab_size": len(tokenizer),
            "width": width,
            "heads": heads,
            "layers": 2,
            "mlp_ratio": 2.0,
        },
    }


def clip_stage(
    spec: WorldSpec,
    canvas: Canvas,
    captioner: Captioner,
    tokenizer: CLIPTokenizer,
    model: open_clip.CLIP,
    banks: dict[str, Tensor],
) -> Stage:
    """Train by CLIP's symmetric contrastive loss on composites and round trips with training captions."""
    budget, known, triples = spec.clip, banks["known"], banks["triples"]

    def loss(step: int, generator: torch.Generator) -> Tensor:
        half = budget.batch // 2
        indices = random_triples(spec, half, generator)
        rows = torch.randint(len(known), (budget.batch - half,), generator=generator)
        images = torch.cat([canvas.compose(*indices, generator, WIDEST), from_bytes(known[rows])])
        truth = torch.cat([torch.stack(indices, 1), triples[rows]])
        captions = captioner.training_captions([Triple(*t) for t in truth.tolist()], generator)
        text = tokenize(tokenizer, captions)
        logits = (
            model.encode_image(degrade(images, generator), normalize=True)
            @ model.encode_text(text, normalize=True).T
            * model.logit_scale.exp().clamp(max=100)
        )
        # equal captions in a batch are not each other's negatives
        same = (text[:, None] == text[None]).all(2) & ~torch.eye(len(text), dtype=torch.bool)
        logits = logits.masked_fill(same, float("-inf"))
        target = torch.arange(len(text))
        return (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2

    return Stage(
        "clip", {"model": model}, loss, budget.steps, budget.rate, spec.seed, weight_decay=0.05, ema=0.99
    )
