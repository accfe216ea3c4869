"""Opens a model that `unlearn` wrote so that plain calls of its pipeline draw what was measured."""

from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch

from ..models.generators import open_pipeline
from ..models.saved.applied import read_applied


def open_acting(folder: Path, device: str, dtype: torch.dtype | None) -> Any:
    """Return a folder's pipeline with its sampling-time method active, if it has one.

    `pipeline.unlearning`: an ExitStack; closing it removes the method.
    """
    pipeline = open_pipeline(folder, device, dtype or torch.float32, applied=True)
    applied = read_applied(folder)
    pipeline.unlearning = ExitStack()
    if applied is not None:
        pipeline.unlearning.enter_context(applied.entered(pipeline))
    return pipeline
