"""Train and calibrate the detector of an emoji world, on art degraded as an autoencoder degrades it."""

import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL
from torch import Tensor

from ....judges.emoji import DetectorNetwork
from ....progress import show_progress
from ...recipe.classifier import degrade, fit_head, noised_round_trip
from ...recipe.loop import Stage
from ...recipe.negatives import from_bytes, negatives_bank, pixel_kinds
from ...seeds import seeded
from ..compose import WIDEST, Canvas, random_triples
from ..spec import WorldSpec

BANK = 8_000
"""Number of round trips, and of decoded negatives, from which training draws."""


def build_detector(spec: WorldSpec) -> DetectorNetwork:
    torch.manual_seed(spec.seed + 4)
    width = spec.detector.width
    network = DetectorNetwork(spec.pixels, len(spec.subject_names), len(spec.style_names), width)
    return network.to(memory_format=torch.channels_last)


@torch.no_grad()
def round_trips(
    spec: WorldSpec,
    canvas: Canvas,
    vae: AutoencoderKL,
    n: int,
    generator: torch.Generator,
    strongest: float = 0.3,
    scale: tuple[float, float] = WIDEST,
) -> tuple[Tensor, Tensor]:
    """Return n autoencoded images (uint8) and their triples (n, 3).

    Half of them carry latent noise of at most `strongest` (in standard deviations of a latent), like the
    small errors that a denoiser leaves.
    """
    images, triples = [], []
    with show_progress("round trips", n) as advance:
        for done in range(0, n, 200):
            indices = random_triples(spec, 200, generator)
            clean = canvas.compose(*indices, generator, scale)
            images.append(noised_round_trip(vae, clean, strongest, generator))
            triples.append(torch.stack(indices, 1))
            advance(min(done + 200, n), "")
    return torch.cat(images)[:n], torch.cat(triples)[:n]


def make_banks(spec: WorldSpec, canvas: Canvas, vae: AutoencoderKL) -> dict[str, Tensor]:
    """Return the judges' training images: round trips `known` with their `triples`."""
    known, triples = round_trips(spec, canvas, vae, BANK, seeded(spec.seed, "bank", "known"))
    return {"known": known, "triples": triples}


def make_negatives(spec: WorldSpec, vae: AutoencoderKL, latents: Tensor) -> dict[str, Tensor]:
    """Return decoded latents that no image has, as `unknown`."""
    return {"unknown": negatives_bank(vae, latents, BANK // 2, seeded(spec.seed, "bank", "unknown"))}


def detector_stage(
    spec: WorldSpec, canvas: Canvas, banks: dict[str, Tensor], network: DetectorNetwork
) -> Stage:
    """Train both heads by cross-entropy: a third composites, half round trips, the rest nothing known."""
    budget = spec.detector
    known, triples, unknown = banks["known"], banks["triples"], banks["unknown"]
    nothing = len(spec.subject_names), len(spec.style_names)

    def loss(step: int, generator: torch.Generator) -> Tensor:
        fresh, stored, junk = budget.batch // 3, budget.batch // 2, budget.batch // 6
        indices = random_triples(spec, fresh, generator)
        rows = torch.randint(len(known), (stored,), generator=generator)
        clean = torch.cat([canvas.compose(*indices, generator, WIDEST), from_bytes(known[rows])])
        decoded = unknown[torch.randint(len(unknown), (junk,), generator=generator)]
        empty = torch.cat([draw_negatives(spec, canvas, junk, generator), from_bytes(decoded)])
        subject = torch.cat([indices[0], triples[rows, 0], torch.full((len(empty),), nothing[0])])
        style = torch.cat([indices[1], triples[rows, 1], torch.full((len(empty),), nothing[1])])
        images = torch.cat([degrade(clean, generator), empty]).contiguous(memory_format=torch.channels_last)
        # dropout draws from the global generator: tie it to the step as well
        torch.manual_seed(int(torch.randint(2**31, (1,), generator=generator)))
        by_subject, by_style = network(images)
        return F.cross_entropy(by_subject, subject) + F.cross_entropy(by_style, style)

    return Stage(
        "detector",
        {"network": network},
        loss,
        budget.steps,
        budget.rate,
        spec.seed,
        weight_decay=0.05,
        ema=0.99,
    )


@torch.no_grad()
def calibrate(
    spec: WorldSpec, canvas: Canvas, vae: AutoencoderKL, network: DetectorNetwork
) -> dict[str, float]:
    """Fit each head's temperature (by likelihood) and threshold (99.5 % of round trips keep their name)."""
    images, triples = round_trips(spec, canvas, vae, 2_000, seeded(spec.seed, "detector", "calibration"))
    logits = [network(from_bytes(chunk)) for chunk in images.split(200)]
    fitted = {}
    for head, name in enumerate(("subject", "style")):
        scores = torch.cat([pair[head] for pair in logits])
        fitted[f"{name}_temperature"], fitted[f"{name}_threshold"] = fit_head(scores, triples[:, head])
    return fitted


def draw_negatives(spec: WorldSpec, canvas: Canvas, n: int, generator: torch.Generator) -> Tensor:
    """Return (about n, 3, P, P) images of nothing known, made in pixels."""
    quarter = max(2, n // 4)
    image = canvas.compose(*random_triples(spec, quarter, generator), generator, WIDEST)
    return torch.cat(list(pixel_kinds(canvas, image, generator).values()))
