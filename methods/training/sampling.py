"""Parts of methods that act while an image is drawn: hooks, small networks next to layers, names as text."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

from ...bench.training.objectives import Denoiser
from ...bench.types import SavePoint
from .tokens import READERS

Hook = Callable[[nn.Module, tuple[Any, ...], Any], Any]
"""hook(layer, inputs, output) -> the output in place of the layer's own; None = unchanged."""


@contextmanager
def hooked(module: nn.Module, hooks: Mapping[str, Hook]) -> Iterator[None]:
    """Context in which hooks act on the outputs of a network's layers. hooks: by the layers' names."""
    handles = [module.get_submodule(name).register_forward_hook(hook) for name, hook in hooks.items()]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


class Beside(nn.ModuleDict):
    """Small networks, each next to a layer of a denoiser, by the layer's name; keys hold no dots."""

    def __init__(self, networks: Mapping[str, nn.Module]) -> None:
        super().__init__({name.replace(".", "/"): network for name, network in networks.items()})

    def by_layer(self) -> dict[str, nn.Module]:
        """Return the networks by their layers' names."""
        return {name.replace("/", "."): network for name, network in self.items()}

    def tensors(self) -> dict[str, Tensor]:
        """Return copies of all weights, for `save`."""
        return {name: tensor.detach().clone() for name, tensor in self.state_dict().items()}

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Load the weights that `tensors` returned; other tensors among them are ignored."""
        self.load_state_dict({name: tensors[name] for name in self.state_dict()})


def saving(save: SavePoint, read: Callable[[], Mapping[str, Tensor]]) -> SavePoint:
    """Return a `save` for a training loop that adds to each point the tensors that `read` returns then."""

    def save_with(step: int, log: Mapping[str, Any], tensors: Mapping[str, Tensor] | None = None) -> None:
        save(step, log, tensors=read())

    return save_with


def join_names(denoiser: Denoiser, names: Sequence[str]) -> tuple[str, int]:
    """Return as many names, joined by commas, as the tokenizers hold (at least one), and their number."""
    readers = [
        (getattr(denoiser.pipeline, reader), length) for reader, length in READERS[denoiser.family.name]
    ]

    def fits(text: str) -> bool:
        return all(
            len(tokenizer(text).input_ids) <= (length or tokenizer.model_max_length)
            for tokenizer, length in readers
            if tokenizer is not None
        )

    count = max((n for n in range(2, len(names) + 1) if fits(", ".join(names[:n]))), default=1)
    return ", ".join(names[:count]), count
