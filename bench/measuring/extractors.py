"""Feature extractors besides a world's own, where this machine has them.

They are CLIP, EfficientNet-Lite0 and clean-fid's Inception. Where a world has no reference images, distances
to the base remain.
"""

import io
from functools import cache
from importlib.util import find_spec

import numpy as np

from ..judges.pinned import LITE0_PACKAGE
from ..judges.types import Extractor
from ..metrics.features import CLIP, INCEPTION, LITE0
from ..planning.tasks import Task
from ..registry import builtin_registry
from ..store import Store, content_key
from ..worlds.protocol import World


def find_extractors(world: World) -> dict[str, int]:
    """Return name -> version of the extractors that this machine has for a world; opens none."""
    names = [CLIP]
    if find_spec(LITE0_PACKAGE) is not None:
        names.append(LITE0)
    if world.inception is not None:
        names.append(INCEPTION)
    return {name: _version(name) for name in names}


@cache
def _version(name: str) -> int:
    entry = {CLIP: "open-clip"}.get(name, name)
    return builtin_registry("judges", "unlearnbench.bench.judges")[entry].version


def open_extractor(name: str, world: World, device: str) -> Extractor | None:
    """Return an extractor that `find_extractors` names; None for CLIP in a world without CLIP."""
    if name == LITE0:
        from ..judges.efficientnet_lite0 import EfficientNetLite0, open_network

        return EfficientNetLite0(open_network(), device)
    if name == INCEPTION and world.inception is not None:
        from ..judges.inception import InceptionExtractor

        return InceptionExtractor(world.inception, device)
    return world.open_alignment()


def reference_features(
    world: World, task: Task, name: str, extractor: Extractor, store: Store
) -> np.ndarray | None:
    """Return (m, d) features of the world's reference images without the task's targets, None without images.

    They are embedded once and kept in the store.
    """
    if world.reference_key is None:
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
