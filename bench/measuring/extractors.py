"""Feature extractors beside a world's own: CLIP, EfficientNet-Lite0, clean-fid's Inception, where they are.

A world that has reference images offers `reference_key` (what they are, for the store),
`reference_rows(task)` (which of them show no target) and `embed_reference(extractor)`; without these,
distances to the base remain.
"""

import io
from functools import cache
from importlib.util import find_spec
from typing import Any

import numpy as np

from ..judges.pinned import LITE0_PACKAGE
from ..judges.types import Extractor
from ..metrics.features import CLIP, INCEPTION, LITE0
from ..registry import builtin_registry
from ..store import Store, content_key


def find_extractors(world: Any) -> dict[str, int]:
    """Return the extractors that this machine has for a world, by name, with their versions; opens none."""
    names = [CLIP]
    if find_spec(LITE0_PACKAGE) is not None:
        names.append(LITE0)
    if getattr(world, "inception", None) is not None:
        names.append(INCEPTION)
    return {name: _version(name) for name in names}


@cache
def _version(name: str) -> int:
    entry = {CLIP: "open-clip"}.get(name, name)
    return builtin_registry("judges", "unlearnbench.bench.judges")[entry].version


def open_extractor(name: str, world: Any, device: str) -> Extractor | None:
    """Return an extractor that `find_extractors` names; None for CLIP in a world without one."""
    if name == LITE0:
        from ..judges.efficientnet_lite0 import EfficientNetLite0, open_network

        return EfficientNetLite0(open_network(), device)
    if name == INCEPTION:
        from ..judges.inception import InceptionExtractor

        return InceptionExtractor(world.inception, device)
    return world.open_alignment()  # type: ignore[no-any-return]


def reference_features(
    world: Any, task: Any, name: str, extractor: Extractor, store: Store
) -> np.ndarray | None:
    """Return (m, d) features of the world's reference images without the task's targets; None: it has none.

    Embedded once: the store keeps them.
    """
    if getattr(world, "reference_key", None) is None:
        return None
    fields = {"reference": world.reference_key, "extractor": name, "version": find_extractors(world)[name]}
    key = content_key(fields)
    stored = store.get("references", key)
    if stored is None:
        buffer = io.BytesIO()
        np.save(buffer, world.embed_reference(extractor), allow_pickle=False)
        stored = buffer.getvalue()
        store.put("references", key, stored)
    features: np.ndarray = np.load(io.BytesIO(stored), allow_pickle=False)
    return features[world.reference_rows(task)]
