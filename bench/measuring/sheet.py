"""The contact sheet of a record: a row for each point, a column for each prompt, the same noise in all."""

import io
from collections.abc import Sequence

import numpy as np
from PIL import Image

from .requests import ImageRequest

TILE = 64
NOT_DRAWN = (128, 128, 128)
COLUMNS = {"forget": 4, "indirect": 2, "retain": 6}


def choose_columns(image_requests: Sequence[ImageRequest]) -> list[int]:
    """Return the indices of the images that the sheet shows: some of each split, only first samples."""
    chosen: list[int] = []
    for split, wanted in COLUMNS.items():
        rows = [
            i
            for i, image_request in enumerate(image_requests)
            if image_request.prompt.split == split and image_request.sample == 0
        ]
        step = max(1, len(rows) // wanted)
        chosen += rows[::step][:wanted]
    return chosen


def make_sheet(rows: Sequence[Sequence[np.ndarray | None]]) -> bytes:
    """Return a WebP of tiles. rows: for each point its (H, W, 3) uint8 images.

    None stands for an image that was not drawn or failed, which is left grey.
    """
    side = max([TILE, *(tile.shape[0] for tiles in rows for tile in tiles if tile is not None)])
    sheet = Image.new("RGB", (side * len(rows[0]), side * len(rows)), NOT_DRAWN)
    for r, tiles in enumerate(rows):
        for c, tile in enumerate(tiles):
            if tile is None:
                continue
            image = Image.fromarray(tile)
            if image.size != (side, side):
                image = image.resize((side, side), Image.Resampling.LANCZOS)
            sheet.paste(image, (c * side, r * side))
    buffer = io.BytesIO()
    sheet.save(buffer, "WEBP", quality=80, method=6)
    return buffer.getvalue()
