"""Quality reports, shared by several recipes."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from rich.table import Table

from ...models.generators import Generator, Sampling
from ...models.sampling import Request, draw_whole, micro_batch
from ...progress import show_progress
from ...stats.intervals import wilson


@dataclass(frozen=True)
class Share:
    """A share of n images, with the bar that it must meet (None = only shown)."""

    name: str
    hits: int
    n: int
    bar: float | None
    at_most: bool = False

    @property
    def met(self) -> bool:
        share = self.hits / self.n
        return self.bar is None or (share <= self.bar if self.at_most else share >= self.bar)


@dataclass(frozen=True)
class QualityReport:
    """The output of one command; `met` says whether every bar is met."""

    world: str
    measured_on: str
    shares: list[Share]
    distances: dict[str, float]

    @property
    def met(self) -> bool:
        return all(share.met for share in self.shares)

    def table(self) -> Table:
        table = Table(
            title=f"{self.world}: the base model on {self.measured_on}", title_justify="left", box=None
        )
        for column in ("measure", "share", "95 % interval", "images", "bar", ""):
            table.add_column(column, justify="left" if column == "measure" else "right")
        for share in self.shares:
            low, high = wilson(share.hits, share.n)
            bar = "" if share.bar is None else f"{'≤' if share.at_most else '≥'} {share.bar:.2f}"
            verdict = "" if share.bar is None else ("met" if share.met else "MISSED")
            table.add_row(
                share.name, f"{share.hits / share.n:.4f}", f"{low:.4f}-{high:.4f}", str(share.n), bar, verdict
            )
        for name, value in self.distances.items():
            table.add_row(name, f"{value:.4f}", "", "", "", "")
        return table


def draw_images(
    pipeline: Any, requests: list[Request], sampling: Sampling, device: str, title: str
) -> np.ndarray:
    """Return images (n, H, W, 3) uint8 of requests, drawn in batches; nothing is stored."""
    generator = Generator(pipeline, sampling, "")
    size, images = micro_batch(device, sampling), []
    with show_progress(title, len(requests)) as advance:
        for start in range(0, len(requests), size):
            images.append(draw_whole(generator, requests[start : start + size], title))
            advance(min(start + size, len(requests)), "")
    return np.concatenate(images)


def write_sheet(images: np.ndarray, path: Path, columns: int = 24, rows: int = 14) -> None:
    """Write the first images (n, S, S, 3) as one PNG."""
    shown = images[: columns * rows]
    side = images.shape[1]
    grid = Image.new("RGB", (columns * side, -(-len(shown) // columns) * side))
    for i, image in enumerate(shown):
        grid.paste(Image.fromarray(image), (i % columns * side, i // columns * side))
    grid.save(path)
