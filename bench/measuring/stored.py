"""A record's point and its images in the store."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..records.record import PointInfo, Record
from ..store import Store

if TYPE_CHECKING:  # a store is looked into without torch
    from ..models.generators import Sampling


@dataclass(frozen=True)
class Origin:
    """A record and one of its points."""

    record: Record
    point: PointInfo

    def find_image(self, store: Store, prompt: str, seed: int, guidance: float | None = None) -> bytes | None:
        """Return an image of the point as PNG; None where the store does not hold it, or it failed."""
        from ..models.sampling import Request, image_key

        device = self.record.environment.get("device", "cpu")
        request = Request(prompt, seed, guidance)
        key = image_key(self.point.fingerprint, self.sampling, self.dtype, device, request)
        found: bytes | None = store.get("images", key)
        return found or None

    @property
    def sampling(self) -> Sampling:
        from ..models.generators import Sampling

        known = Sampling.__dataclass_fields__
        return Sampling(**{name: v for name, v in self.record.sampling.items() if name in known})

    @property
    def dtype(self) -> str:
        return str(self.record.sampling.get("dtype", "torch.float32"))
