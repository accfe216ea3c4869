"""The quality bar of a world's base model: does it draw what evaluation prompts ask for?"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image
from rich.table import Table

from ...generators import Generator, Sampling, open_pipeline
from ...metrics.fd import frechet_from_features
from ...metrics.kid import kid
from ...progress import show_progress
from ...sampling import Request, draw_whole, micro_batch, noise_seed
from ...stats.intervals import wilson
from .spec import Triple
from .world import EmojiWorld

BAR = {"subject": 0.97, "style": 0.97, "background": 0.98}
INDIRECT_BAR = 0.80
REJECTED_BAR = 0.02
CALL_DEFAULTS = (50, 7.5)
"""Steps and guidance of a StableDiffusionPipeline call that names neither."""


@dataclass(frozen=True)
class Share:
    """A share of n images, with the bar that it must meet (None = shown only)."""

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
    """What one command prints; `met` says whether every bar holds."""

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


def held_out_requests(world: EmojiWorld, images: int) -> tuple[list[Triple], list[Request]]:
    """Return every held-out triple, as often as `images` needs, in evaluation wordings.

    A world that holds none out (`tiny`) is measured on all of its triples.
    """
    held = [t for t in world.spec.triples if world.spec.is_held_out(t)] or world.spec.triples
    wordings = world.captioner.words.evaluation
    triples, requests = [], []
    for turn in range(-(-images // len(held))):
        for i, triple in enumerate(held):
            text = world.captioner.caption(triple, wordings[(i + turn) % len(wordings)])
            triples.append(triple)
            requests.append(Request(text, noise_seed(0, "quality", text, turn)))
    return triples, requests


def indirect_requests(world: EmojiWorld) -> Iterator[tuple[str, list[Request]]]:
    """Yield each category's indirect evaluation prompts: every phrase in every style, backgrounds in turn."""
    spec = world.spec
    for group, phrases in world.captioner.words.indirect.items():
        if group not in spec.subjects:
            continue
        requests = []
        for p, phrase in enumerate(phrases.evaluation):
            for k in range(len(spec.style_names)):
                text = world.captioner.indirect(phrase, Triple(0, k, (p + k) % len(spec.background_names)))
                requests.append(Request(text, noise_seed(0, "quality-indirect", text, 0)))
        yield group, requests


def draw_images(
    pipeline: Any, requests: list[Request], sampling: Sampling, device: str, title: str
) -> np.ndarray:
    """Return images (n, H, W, 3) uint8 of requests, batch by batch, nothing stored."""
    generator = Generator(pipeline, sampling, "")
    size, images = micro_batch(device, sampling), []
    with show_progress(title, len(requests)) as advance:
        for start in range(0, len(requests), size):
            images.append(draw_whole(generator, requests[start : start + size], title))
            advance(min(start + size, len(requests)), "")
    return np.concatenate(images)


def _attribute_shares(
    found: pd.DataFrame, triples: list[Triple], world: EmojiWorld, label: str, bars: bool
) -> list[Share]:
    spec = world.spec
    names = {"subject": spec.subject_names, "style": spec.style_names, "background": spec.background_names}
    shares = []
    for kind, known in names.items():
        truth = [known[getattr(t, kind)] for t in triples]
        hits = int((found[kind].to_numpy() == np.array(truth)).sum())
        shares.append(Share(f"{kind}{label}", hits, len(triples), BAR[kind] if bars else None))
    rejected = int(((found["subject"] == "") | (found["style"] == "")).sum())
    shares.append(
        Share(f"nothing known{label}", rejected, len(triples), REJECTED_BAR if bars else None, True)
    )
    return shares


def measure_quality(world: EmojiWorld, images: int, device: str, sheet: Path | None = None) -> QualityReport:
    """Draw and judge held-out triples, at the stated settings and at the call's, and indirect prompts."""
    pipeline, judge = open_pipeline(world.pipeline_folder, device), world.open_judge()
    size = world.pixels
    stated = Sampling(world.steps, world.guidance, size, size)
    triples, requests = held_out_requests(world, images)
    drawn = draw_images(pipeline, requests, stated, device, "held-out triples")
    verdicts = judge.judge(drawn)
    shares = _attribute_shares(verdicts.found, triples, world, "", True)
    for group, asked in indirect_requests(world):
        found = judge.judge(draw_images(pipeline, asked, stated, device, f"indirect: {group}")).found
        hits = int(found["subject"].isin(world.spec.subjects[group]).sum())
        shares.append(Share(f"indirect: {group}", hits, len(asked), INDIRECT_BAR))
    defaults = Sampling(*CALL_DEFAULTS, size, size)
    once = len({*triples})
    again = judge.judge(
        draw_images(pipeline, requests[:once], defaults, device, "at the call's defaults")
    ).found
    shares += _attribute_shares(again, triples[:once], world, " (50 steps, guidance 7.5)", False)
    features, reference = verdicts.features.astype(np.float64), world.reference().astype(np.float64)
    distances = {"KID to the reference": kid(features, reference)}
    if len(features) >= 2 * features.shape[1]:
        distances[f"FD to the reference (n = {len(features)})"] = frechet_from_features(features, reference)
    if sheet is not None:
        write_sheet(drawn, sheet)
    held = any(world.spec.is_held_out(t) for t in world.spec.triples)
    measured_on = "held-out triples" if held else "its trained triples (it holds none out)"
    return QualityReport(world.id, measured_on, shares, distances)


def write_sheet(images: np.ndarray, path: Path, columns: int = 24, rows: int = 14) -> None:
    """Write the first images (n, S, S, 3) as one PNG."""
    shown = images[: columns * rows]
    side = images.shape[1]
    grid = Image.new("RGB", (columns * side, -(-len(shown) // columns) * side))
    for i, image in enumerate(shown):
        grid.paste(Image.fromarray(image), (i % columns * side, i // columns * side))
    grid.save(path)
