"""Features of reference images in files."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from ...judges.types import Extractor
from ...pictures import read_picture


def embed_files(paths: Sequence[Any], extractor: Extractor, batch: int = 64) -> np.ndarray:
    """Return (n, d) features of picture files, `batch` of them in memory at once."""
    parts = []
    for start in range(0, len(paths), batch):
        images = [read_picture(path) for path in paths[start : start + batch]]
        parts.append(extractor.embed_images(images))
    return np.concatenate(parts)
