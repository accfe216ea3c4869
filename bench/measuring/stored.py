"""A record's point, and its images in the store."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Origin:
    """A record and the point of it that is compared."""

    record: Any
    point: Any

    def find_image(self, store: Any, prompt: str, seed: int, guidance: float | None = None) -> bytes | None:
        """Return an image of the point as PNG; None where this store does not hold it, or it failed."""
        from ..models.sampling import Request, image_key

        device = self.record.environment.get("device", "cpu")
        request = Request(prompt, seed, guidance)
        key = image_key(self.point.fingerprint, self.sampling, self.dtype, device, request)
        found: bytes | None = store.get("images", key)
        return found or None

    @property
    def sampling(self) -> Any:
        from ..models.generators import Sampling

        known = Sampling.__dataclass_fields__
        return Sampling(**{name: v for name, v in self.record.sampling.items() if name in known})

    @property
    def dtype(self) -> str:
        return str(self.record.sampling.get("dtype", "torch.float32"))
