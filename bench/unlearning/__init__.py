"""The tool `unlearn`, and how a model that it wrote is opened."""

from pathlib import Path
from typing import Any


def load_model(folder: str | Path, device: str = "cpu", dtype: Any = None) -> Any:
    """Return the diffusers pipeline of a folder, with its sampling-time method active on every call.

    dtype: a torch type; None = float32. Choose the device here: the method's own tensors do not follow
    `pipeline.to`. `pipeline.unlearning.close()` removes the method. Raises UserError where the folder is not
    a complete text-to-image pipeline, or names a method that is not installed.
    """
    from .loading import open_acting

    return open_acting(Path(folder), device, dtype)
