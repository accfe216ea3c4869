"""Cross-attention maps of a UNet: how strongly each place of an image reads each token of the prompt."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d, interpolate


class AttentionMaps:
    """A processor of cross-attention that keeps the probabilities it computes: (b·heads, places, tokens)."""

    def __init__(self) -> None:
        self.maps: list[Tensor] = []

    def __call__(
        self, attn: Any, hidden_states: Tensor, encoder_hidden_states: Tensor | None = None, **_: Any
    ) -> Tensor:
        states = hidden_states if encoder_hidden_states is None else encoder_hidden_states
        query = attn.head_to_batch_dim(attn.to_q(hidden_states))
        key, value = (attn.head_to_batch_dim(project(states)) for project in (attn.to_k, attn.to_v))
        probabilities = attn.get_attention_scores(query, key)
        self.maps.append(probabilities)
        mixed = attn.batch_to_head_dim(torch.bmm(probabilities, value))
        output: Tensor = attn.to_out[1](attn.to_out[0](mixed))
        return output


@contextmanager
def keep_maps(module: Any) -> Iterator[AttentionMaps]:
    """Yield a collector of a UNet's cross-attention maps; afterwards its own processors are restored."""
    before = dict(module.attn_processors)
    maps = AttentionMaps()
    module.set_attn_processor({n: maps if "attn2" in n else p for n, p in before.items()})
    try:
        yield maps
    finally:
        module.set_attn_processor(before)


def masked_attention(maps: list[Tensor], marks: Tensor, regions: Tensor) -> Tensor:
    """Return Σ ‖A^i ⊙ M‖² over layers and marked tokens, its mean over images and heads (eq. 3).

    maps: (b·heads, places, T) a layer. marks: (b, T) bool. regions: (b, h, w) in [0, 1].
    """
    total = torch.zeros((), device=marks.device)
    for found in maps:
        heads = len(found) // len(marks)
        grid = _grid(found.shape[1], regions)
        inside = adaptive_avg_pool2d(regions[:, None], grid).flatten(1).repeat_interleave(heads, 0)
        chosen = marks.repeat_interleave(heads, 0)
        total = total + (found * inside[:, :, None] * chosen[:, None, :]).square().sum() / len(found)
    return total


def _grid(places: int, regions: Tensor) -> tuple[int, int]:
    """Return the height and width of a layer with so many places, shaped as the regions."""
    height, width = regions.shape[-2:]
    shrunk = (height * width / places) ** 0.5
    return round(height / shrunk), round(width / shrunk)


def find_regions(maps: list[list[Tensor]], marks: Tensor, size: tuple[int, int], level: float) -> Tensor:
    """Return the regions (b, h, w), 0 or 1, where the attention to the marked tokens is high.

    maps: for each noising the maps of all layers. size: (h, w). level: share of the maximum.
    """
    total = torch.zeros((len(marks), *size), device=marks.device)
    for found in (layer for layers in maps for layer in layers):
        heads = found.view(len(marks), -1, *found.shape[1:]).mean(1)
        told = (heads * marks[:, None, :]).sum(2).view(len(marks), 1, *_grid(found.shape[1], total))
        told = told / told.amax((2, 3), keepdim=True).clamp(min=1e-12)
        total += interpolate(told, size, mode="bilinear")[:, 0]
    return (total >= level * total.amax((1, 2), keepdim=True)).to(total.dtype)
