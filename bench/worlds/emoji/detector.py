"""Train and calibrate the detector of an emoji world, on the art, degraded as an autoencoder degrades."""

import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL
from torch import Tensor
from torchvision.transforms.functional import gaussian_blur

from ...judges.emoji_network import DetectorNetwork
from ...progress import show_progress
from .autoencoder import random_triples
from .compose import WIDEST, Canvas
from .garbage import draw_garbage, from_bytes, garbage_bank, to_bytes
from .loop import Stage, seeded
from .spec import WorldSpec

BANK = 8_000
"""Round trips (and as many garbage decodes) that training draws from."""


def build_detector(spec: WorldSpec) -> DetectorNetwork:
    torch.manual_seed(spec.seed + 4)
    width = spec.detector.width
    network = DetectorNetwork(spec.pixels, len(spec.subject_names), len(spec.style_names), width)
    return network.to(memory_format=torch.channels_last)


@torch.no_grad()
def noised_round_trip(
    vae: AutoencoderKL, clean: Tensor, strongest: float, generator: torch.Generator
) -> Tensor:
    """Return images (n, 3, P, P) in [-1, 1] as the autoencoder gives them back (uint8), half of them noised.

    strongest: bound of the noise in units of a latent's deviation.
    """
    latents = vae.encode(clean.contiguous(memory_format=torch.channels_last)).latent_dist.mean
    strength = strongest * (torch.rand(len(clean), 1, 1, 1, generator=generator) - 0.5).clamp(min=0) * 2
    latents = latents + strength * latents.std() * torch.randn(latents.shape, generator=generator)
    return to_bytes(vae.decode(latents).sample)


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

    Half of them carry latent noise up to `strongest` (in units of a latent's deviation), the small errors
    that a denoiser leaves.
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


def degrade(images: Tensor, generator: torch.Generator) -> Tensor:
    """Blur, noise and a slight change of contrast, of a strength drawn for the batch."""
    blur, contrast = torch.rand(2, generator=generator).tolist()
    if blur > 0.5:
        images = gaussian_blur(images, [3, 3], [0.2 + 0.9 * (blur - 0.5)])
    noise = 0.12 * torch.rand(len(images), 1, 1, 1, generator=generator) ** 2
    images = images * (0.92 + 0.16 * contrast) + noise * torch.randn(images.shape, generator=generator)
    return images.clamp(-1, 1)


def make_banks(spec: WorldSpec, canvas: Canvas, vae: AutoencoderKL) -> dict[str, Tensor]:
    """Return what judges train on: round trips `known` with their `triples`."""
    known, triples = round_trips(spec, canvas, vae, BANK, seeded(spec.seed, "bank", "known"))
    return {"known": known, "triples": triples}


def make_garbage(spec: WorldSpec, vae: AutoencoderKL, latents: Tensor) -> dict[str, Tensor]:
    """Return decoded latents that no image has, `unknown`."""
    return {"unknown": garbage_bank(vae, latents, BANK // 2, seeded(spec.seed, "bank", "unknown"))}


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
        empty = torch.cat([draw_garbage(spec, canvas, junk, generator), from_bytes(decoded)])
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


def fit_head(scores: Tensor, truth: Tensor) -> tuple[float, float]:
    """Return a head's temperature, the likeliest, and the confidence that 99.5 % of its images reach.

    scores: logits (n, names + 1), `nothing known` last; truth: (n,).
    """
    temperatures = torch.logspace(-0.5, 0.7, 61)
    losses = torch.stack([F.cross_entropy(scores / t, truth) for t in temperatures])
    temperature = float(temperatures[losses.argmin()])
    confidence = torch.softmax(scores / temperature, 1)[:, :-1].max(1).values
    return round(temperature, 4), round(float(confidence.quantile(0.005).clamp(0.3, 0.9)), 4)
