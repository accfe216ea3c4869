"""Cross-attention maps of a UNet: how strongly each place of an image reads each token of the prompt."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor


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
