"""The tool `unlearn`, and how a model that it wrote is opened."""

from pathlib import Path
from typing import Any


def load_model(folder: str | Path, device: str = "cpu", dtype: Any = None) -> Any:
    """Return the diffusers pipeline of a folder, its sampling-time method acting on every call of it.

    dtype: a torch type; None = float32. The device is chosen here: what the method keeps does not follow
    `pipeline.to`. `pipeline.unlearning.close()` takes the method off. Raises UserError where the folder is no
    whole text-to-image pipeline, or names a method that is not here.
    """
    from .loading import open_acting

    return open_acting(Path(folder), device, dtype)
