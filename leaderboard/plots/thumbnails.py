"""Contact sheets as files of a site, with tiles of at most 128 px."""

import hashlib
import io

from PIL import Image

from ...bench.records.load import Loaded

SIDE = 128
"""Maximum side of a tile in pixels. It bounds the size of a site by the number of its records."""


def make_thumbnail(entry: Loaded) -> tuple[str, bytes]:
    """Return (file name, WebP) of a record's contact sheet; the name is a digest of the content."""
    assert entry.sheet is not None
    content = _shrink(entry.sheet, len(entry.record.sheet), len(entry.record.points))
    return f"{hashlib.sha256(content).hexdigest()[:20]}.webp", content


def _shrink(sheet: bytes, columns: int, rows: int) -> bytes:
    with Image.open(io.BytesIO(sheet), formats=["WEBP"]) as image:
        if image.width <= SIDE * columns:
            return sheet
        small = image.convert("RGB").resize((SIDE * columns, SIDE * rows), Image.Resampling.LANCZOS)
    target = io.BytesIO()
    small.save(target, "WEBP", quality=80, method=4)
    return target.getvalue()
