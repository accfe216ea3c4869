"""Peak of the bytes that tensors made by torch operations hold, by watching every dispatched operation."""

import weakref
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class AllocationPeak(TorchDispatchMode):
    """Counts storages made inside the block; `peak` is the most bytes that lived at once."""

    def __init__(self) -> None:
        super().__init__()
        self.live, self.peak = 0, 0
        self.seen: set[int] = set()

    def _release(self, key: int, size: int) -> None:
        self.seen.discard(key)
        self.live -= size

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        known = {self._key(t) for t in tree_leaves((args, kwargs)) if isinstance(t, torch.Tensor)}
        result = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(result):
            if isinstance(tensor, torch.Tensor) and self._key(tensor) not in known | self.seen:
                storage = tensor.untyped_storage()
                self.seen.add(self._key(tensor))
                self.live += storage.nbytes()
                weakref.finalize(storage, self._release, self._key(tensor), storage.nbytes())
        self.peak = max(self.peak, self.live)
        return result

    @staticmethod
    def _key(tensor: torch.Tensor) -> int:
        return tensor.untyped_storage()._cdata
