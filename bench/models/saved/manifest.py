"""What is known of a cell's saved points without opening a model."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ...errors import UserError


@dataclass(frozen=True)
class PointManifest:
    """A saved point: enough to find its images without opening a diffusion model."""

    step: int
    fingerprint: str
    delta: str  # sha256 of its weights file, and their store key; "" for a reference
    bytes: int
    parameters: int
    seconds: float | None
    memory: int | None
    distance: float | None = None
    label: str = ""  # its display name; "" = the number of steps
    model: str = ""  # the model itself, where somebody else made it; "" = the cell's base


def reference_point(holder: Any, step: int = 0, label: str = "", model: str = "") -> PointManifest:
    """Return the point of a model as it is: nothing trained. holder: of the model (`Holder`)."""
    return PointManifest(step, holder.fingerprint, "", 0, 0, None, None, label=label, model=model)


@dataclass(frozen=True)
class Manifest:
    """All points of one training and its log."""

    points: list[PointManifest]
    log: dict[str, list[float | None]]

    def to_bytes(self) -> bytes:
        return json.dumps({"points": [vars(p) for p in self.points], "log": self.log}).encode()

    @staticmethod
    def from_bytes(payload: bytes) -> "Manifest":
        content = json.loads(payload)
        return Manifest([PointManifest(**p) for p in content["points"]], content["log"])

    def placed(self, named: Sequence[tuple[int, str, str]]) -> "Manifest":
        """Return the same points at (step, label, model).

        A manifest is kept by the content of its models, whose paths may have changed since.
        """
        points = [
            replace(point, step=step, label=label, model=model)
            for point, (step, label, model) in zip(self.points, named, strict=True)
        ]
        return Manifest(points, self.log)


def clean_log(log: Mapping[str, Any]) -> dict[str, list[float | None]]:
    """Return a log as JSON: floats, None where not finite. Raises UserError for other than numbers."""
    try:
        return {str(name): [_finite(value) for value in column] for name, column in log.items()}
    except (TypeError, ValueError, AttributeError) as error:
        raise UserError(f"save: log: must be columns of numbers: {error}") from None


def _finite(value: Any) -> float | None:
    number = math.nan if value is None else float(value)
    return number if math.isfinite(number) else None
