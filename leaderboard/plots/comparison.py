"""Images of the shown points on the same prompts and noise, one strip for each row of the board."""

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image

from ...bench.records.load import Loaded
from ..ranking.board_rows import shown_points

SIDE = 64  # pixels of a tile


@dataclass(frozen=True)
class ComparisonRow:
    """One row's images as a data URI, and which point they are of."""

    name: str
    point: str
    uri: str


@dataclass(frozen=True)
class ImageComparison:
    """A concept's strips. captions: the prompts of the columns."""

    task: str
    seed: int
    captions: tuple[str, ...]
    strips: tuple[ComparisonRow, ...]


def compare_images(loaded: Sequence[Loaded], names: Sequence[str]) -> list[ImageComparison]:
    """Return one comparison for each concept. names: rows of the board in order; each at its lowest seed."""
    tasks = sorted({e.record.task.id for e in loaded if e.record.task.role == "evaluated"})
    found = [_compare([e for e in loaded if e.record.task.id == task], names) for task in tasks]
    return [comparison for comparison in found if comparison is not None]


def _compare(entries: Sequence[Loaded], names: Sequence[str]) -> ImageComparison | None:
    chosen = []
    for name in names:
        own = [e for e in entries if e.row == name]
        pairs = [(e, point) for e, point in shown_points(own) if e.sheet is not None]
        if pairs:
            chosen.append((name, *min(pairs, key=lambda pair: pair[0].record.seed)))
    if not chosen:
        return None
    captions = tuple(chosen[0][1].record.sheet)
    # images of other noise or other prompts cannot be compared
    alike = [(name, e, p) for name, e, p in chosen if tuple(e.record.sheet) == captions and not _noise(e)]
    strips = [
        ComparisonRow(
            name, "" if e.record.method.reference else f"step {p.step}", _cut(e, e.record.points.index(p))
        )
        for name, e, p in alike
    ]
    seed = max((e.record.seed for _, e, _ in alike), default=0)
    return ImageComparison(entries[0].record.task.id, seed, captions, tuple(strips))


def _noise(entry: Loaded) -> bool:
    return bool(entry.record.sampling.get("noise", 0))


def _cut(entry: Loaded, row: int) -> str:
    """Return one row of a contact sheet, scaled down, as a data URI."""
    assert entry.sheet is not None
    with Image.open(io.BytesIO(entry.sheet), formats=["WEBP"]) as sheet:
        side = sheet.height // len(entry.record.points)
        strip = sheet.convert("RGB").crop((0, row * side, sheet.width, (row + 1) * side))
    strip = strip.resize((SIDE * len(entry.record.sheet), SIDE), Image.Resampling.LANCZOS)
    target = io.BytesIO()
    strip.save(target, "WEBP", quality=80, method=4)
    return "data:image/webp;base64," + base64.b64encode(target.getvalue()).decode()
