"""Quality of the detector: its accuracy, its confusion, and how often it names images that show nothing."""

from collections import Counter
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from diffusers import AutoencoderKL
from rich.table import Table
from torch import Tensor

from ....judges.types import NOTHING
from ....stats.intervals import wilson
from ...recipe.negatives import (
    blank_images,
    blend_images,
    blob_images,
    latent_kinds,
    noise_images,
    shuffle_patches,
    to_bytes,
)
from ...seeds import seeded
from ..compose import Canvas, load_canvas, random_triples
from ..world import SPRITES, EmojiWorld
from .detector import round_trips
from .quality import REJECTED_BAR

ACCURACY_BAR = 0.99
NAMED_BAR = 0.05
ATTRIBUTES = ("subject", "style", "background")


@dataclass(frozen=True)
class JudgeReport:
    """Predictions by kind of image; images of known truth have additional columns true_*."""

    world: str
    known: dict[str, pd.DataFrame]
    negatives: dict[str, pd.DataFrame]

    def accuracy(self, kind: str, attribute: str) -> float:
        """Return the share of a kind's images with the attribute named right; `nothing known` is wrong."""
        rows = self.known[kind]
        return float((rows[attribute] == rows[f"true_{attribute}"]).mean())

    def rejected(self, kind: str) -> float:
        """Return the share of a kind's images with no subject or no style named."""
        rows = self.known[kind]
        return float(((rows["subject"] == NOTHING) | (rows["style"] == NOTHING)).mean())

    def named(self, kind: str) -> float:
        """Return the share of a kind's negatives with a subject or a style named."""
        rows = self.negatives[kind]
        return float(((rows["subject"] != NOTHING) | (rows["style"] != NOTHING)).mean())

    @property
    def met(self) -> bool:
        good = all(self.accuracy(k, a) >= ACCURACY_BAR for k in self.known for a in ATTRIBUTES)
        kept = all(self.rejected(k) <= REJECTED_BAR for k in self.known)
        return good and kept and all(self.named(k) <= NAMED_BAR for k in self.negatives)

    def confusion(self, attribute: str) -> pd.DataFrame:
        """Return counts of true (rows) against named (columns) over all images of known truth."""
        rows = pd.concat(self.known.values())
        named = rows[attribute].replace(NOTHING, "nothing known")
        return pd.crosstab(rows[f"true_{attribute}"], named).rename_axis(index="true", columns=None)

    def tables(self) -> list[Table]:
        return [self._accuracies(), self._named(), _matrix("style", self.confusion("style")), self._pairs()]

    def _accuracies(self) -> Table:
        table = _table(f"{self.world}: the detector on images of known truth", "images", "n", *ATTRIBUTES)
        table.add_column("nothing known", justify="right")
        for kind, rows in self.known.items():
            shares = [f"{self.accuracy(kind, a):.4f}" for a in ATTRIBUTES]
            table.add_row(kind, str(len(rows)), *shares, f"{self.rejected(kind):.4f}")
        return table

    def _named(self) -> Table:
        table = _table("Images of nothing known that got a name", "images", "n", "named", "95 % interval")
        for kind, rows in self.negatives.items():
            low, high = wilson(round(self.named(kind) * len(rows)), len(rows))
            table.add_row(kind, str(len(rows)), f"{self.named(kind):.4f}", f"{low:.4f}-{high:.4f}")
        return table

    def _pairs(self, most: int = 12) -> Table:
        wrong: Counter[tuple[str, str]] = Counter()
        for rows in self.known.values():
            pairs = zip(rows["true_subject"], rows["subject"], strict=True)
            wrong.update((true, named or "nothing known") for true, named in pairs if true != named)
        table = _table("Subjects named wrongly most often", "true", "named", "images")
        for (true, named), n in sorted(wrong.items(), key=lambda item: (-item[1], item[0]))[:most]:
            table.add_row(true, named, str(n))
        return table


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left", box=None)
    for i, column in enumerate(columns):
        table.add_column(column, justify="left" if i == 0 else "right")
    return table


def _matrix(attribute: str, counts: pd.DataFrame) -> Table:
    table = _table(f"Confusion of the {attribute} (rows: true)", "", *map(str, counts.columns))
    for name, row in counts.iterrows():
        table.add_row(str(name), *map(str, row))
    return table


def _array(images: Tensor) -> np.ndarray:
    """Return (n, P, P, 3) uint8 for the judge from (n, 3, P, P), uint8 or in [-1, 1]."""
    data = images if images.dtype == torch.uint8 else to_bytes(images)
    return np.ascontiguousarray(data.permute(0, 2, 3, 1).numpy())


@torch.no_grad()
def negative_images(
    canvas: Canvas, vae: AutoencoderKL, n: int, generator: torch.Generator
) -> dict[str, np.ndarray]:
    """Return n images of nothing known of each kind, as (n, P, P, 3) uint8."""
    image = canvas.compose(*random_triples(canvas.spec, n, generator), generator)
    kinds = {
        "noise": torch.cat([noise_images(n // 8, canvas.pixels, generator) for _ in range(8)]),
        "blank": blank_images(canvas, n, generator),
        "blobs": blob_images(canvas, n, generator),
        "blends of two": blend_images(image, generator),
        "shuffled patches": shuffle_patches(image, 4, generator),
    }
    latents = vae.encode(image.contiguous(memory_format=torch.channels_last)).latent_dist.mean
    latents = latents * vae.config.scaling_factor
    for kind, z in latent_kinds(latents, generator).items():
        kinds[f"decoded latents, {kind}"] = vae.decode(z / vae.config.scaling_factor).sample
    return {kind: _array(images) for kind, images in kinds.items()}


@torch.no_grad()
def measure_judges(world: EmojiWorld, n: int = 2_000, negatives: int = 400) -> JudgeReport:
    """Judge n fresh composites, n autoencoder round trips (with and without latent noise) and negatives."""
    spec, judge = world.spec, world.open_judge()
    canvas = load_canvas(spec, SPRITES)
    vae = AutoencoderKL.from_pretrained(world.pipeline_folder / "vae").eval()
    generator = seeded(spec.seed, "judges", "measured")
    indices = random_triples(spec, n, generator)
    images = {
        "composites": (canvas.compose(*indices, generator), torch.stack(indices, 1)),
        "round trips": round_trips(spec, canvas, vae, n, generator, 0.0, spec.scale),
        "noised round trips": round_trips(spec, canvas, vae, n, generator, scale=spec.scale),
    }
    known = {}
    for kind, (data, truth) in images.items():
        rows = judge.judge(_array(data)).found
        for i, names in enumerate((spec.subject_names, spec.style_names, spec.background_names)):
            rows[f"true_{ATTRIBUTES[i]}"] = [names[j] for j in truth[:, i].tolist()]
        known[kind] = rows
    junk = negative_images(canvas, vae, negatives, generator)
    return JudgeReport(world.id, known, {kind: judge.judge(x).found for kind, x in junk.items()})
