"""A LoRA that is trained apart from the layers that it is added to."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Generator, Tensor, nn


class Adapter:
    """A LoRA of one concept on every layer: up (out, r) starts at zero, down (r, in) is drawn."""

    def __init__(self, layers: dict[str, nn.Linear], rank: int, generator: Generator) -> None:
        self.pairs: dict[str, tuple[nn.Parameter, nn.Parameter]] = {}
        for name, layer in layers.items():
            weight = layer.weight
            down = (torch.rand((rank, weight.shape[1]), generator=generator) * 2 - 1) / weight.shape[1] ** 0.5
            up = weight.new_zeros((weight.shape[0], rank))
            self.pairs[name] = nn.Parameter(up), nn.Parameter(down.to(weight))

    def parameters(self) -> list[nn.Parameter]:
        """Return the trained tensors of all layers."""
        return [parameter for pair in self.pairs.values() for parameter in pair]

    @contextmanager
    def attached(self, layers: dict[str, nn.Linear]) -> Iterator[None]:
        """Add the LoRA's output to that of the layers while the context is open."""
        handles = [layer.register_forward_hook(self._adder(name)) for name, layer in layers.items()]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def _adder(self, name: str) -> Any:
        up, down = self.pairs[name]
        return lambda layer, inputs, output: output + inputs[0] @ down.T @ up.T

    @torch.no_grad()
    def delta(self, name: str) -> Tensor:
        """Return ΔW (out, in) of a layer."""
        up, down = self.pairs[name]
        return up @ down
