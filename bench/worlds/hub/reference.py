"""Features of reference images in files."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ...judges.types import Extractor
from ...pictures import read_picture
from ...planning.concept_names import name_key


def embed_files(paths: Sequence[Any], extractor: Extractor, batch: int = 64) -> np.ndarray:
    """Return (n, d) features of picture files, `batch` of them in memory at once."""
    parts = []
    for start in range(0, len(paths), batch):
        images = [read_picture(path) for path in paths[start : start + batch]]
        parts.append(extractor.embed_images(images))
    return np.concatenate(parts)


def outside_targets(paths: Sequence[Path], top: Path, targets: Iterable[str]) -> np.ndarray:
    """Return (n,) bool: whether a file below `top` is in no folder with the name of a target."""
    names = {name_key(name) for name in targets}
    folders = [path.relative_to(top).parts[:-1] for path in paths]
    return np.array([not names & {name_key(part) for part in parts} for parts in folders], dtype=bool)
