"""The reference images of an emoji world: fresh composites of its triples, the same on every machine."""

from collections.abc import Iterator

import torch
from torch import Tensor

from ..seeds import seeded
from .compose import Canvas

REFERENCE_IMAGES = 4_000
CHUNK = 200


def compose_reference(canvas: Canvas) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield images (200, 3, P, P) in [-1, 1] and their triples (200, 3), in an arbitrary order.

    A world ships the detector's features of these images; other extractors need the images composed again.
    """
    spec = canvas.spec
    generator = seeded(spec.seed, "reference")
    n = min(REFERENCE_IMAGES, 40 * len(spec.triples))
    rows = torch.randperm(n, generator=generator) % len(spec.triples)
    for chunk in torch.tensor(spec.triples)[rows].split(CHUNK):
        yield canvas.compose(chunk[:, 0], chunk[:, 1], chunk[:, 2], generator), chunk
