"""Train and calibrate the classifier that judges a world of labelled images."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL
from torch import Tensor

from ...judges.image_classifier import ClassifierNetwork
from ...progress import show_progress
from ..recipe.classifier import degrade, fit_head, noised_round_trip
from ..recipe.loop import Stage
from ..recipe.negatives import from_bytes, latent_kinds, negatives_bank, pixel_kinds, to_bytes
from ..seeds import seeded
from .data import LabelledImages, Part
from .spec import ImagesSpec

BANK = 8_000
"""Number of round trips from which training draws, and twice the number of decoded negatives."""
CALIBRATION = 2_000
"""Most training images, and at most a tenth of them, that calibrate and are not trained on."""
SHIFT = 2
"""Most pixels by which a training image is shifted."""
SAME_CLASS = frozenset({"blended"})
"""Kinds of negatives left out: a mixture of two images of one class is another image of it."""
STRONGEST = 0.3
"""Bound of the latent noise of round trips, in standard deviations of a latent."""


@dataclass(frozen=True)
class Grey:
    """Plain grounds from black to white, on which `pixel_kinds` paints."""

    pixels: int
    colours: Tensor


def build_classifier(spec: ImagesSpec) -> ClassifierNetwork:
    torch.manual_seed(spec.seed + 4)
    network = ClassifierNetwork(spec.pixels, len(spec.classes), spec.classifier.width)
    return network.to(memory_format=torch.channels_last)


def split_calibration(spec: ImagesSpec, data: LabelledImages) -> tuple[Part, Part]:
    """Return the training images in two parts: for the classifier's training, and for its calibration."""
    order = torch.randperm(len(data.train), generator=seeded(spec.seed, "calibration"))
    n = max(1, min(CALIBRATION, len(order) // 10))
    return data.train.only(order[n:]), data.train.only(order[:n])


@torch.no_grad()
def round_trips(vae: AutoencoderKL, images: Tensor, generator: torch.Generator, strongest: float) -> Tensor:
    """Return images (n, 3, P, P) uint8 after a pass through the autoencoder, half of them noised."""
    out = []
    with show_progress("round trips", len(images)) as advance:
        for chunk in images.split(200):
            out.append(noised_round_trip(vae, from_bytes(chunk), strongest, generator))
            advance(sum(map(len, out)), "")
    return torch.cat(out)


def make_bank(
    spec: ImagesSpec, data: LabelledImages, vae: AutoencoderKL, latents: Tensor
) -> dict[str, Tensor]:
    """Return the images on which the classifier trains in addition to the world's own.

    They are round trips `known`, their `rows` in the part that it learns from, and decoded latents that no
    image has, `unknown`.
    """
    generator = seeded(spec.seed, "bank")
    learnt, _ = split_calibration(spec, data)
    rows = torch.randperm(len(learnt), generator=generator)[:BANK]
    known = round_trips(vae, learnt.images[rows], generator, STRONGEST)
    n = min(BANK // 2, max(256, len(rows) // 2))
    return {"known": known, "rows": rows, "unknown": negatives_bank(vae, latents, n, generator, SAME_CLASS)}


def shift(images: Tensor, generator: torch.Generator) -> Tensor:
    """Shift all images (n, 3, P, P) of a batch by the same few pixels; the edge is repeated."""
    side = images.shape[-1]
    down, right = torch.randint(2 * SHIFT + 1, (2,), generator=generator).tolist()
    padded = F.pad(images, (SHIFT,) * 4, mode="replicate")
    return padded[:, :, down : down + side, right : right + side]


def draw_negatives(spec: ImagesSpec, images: Tensor, grey: bool, generator: torch.Generator) -> Tensor:
    """Return images of nothing known, made in pixels and from some images.

    grey: the images are grey; then three quarters of the negatives are grey, too.
    """
    kinds = pixel_kinds(_grey_grounds(spec), images, generator)
    negatives = torch.cat([image for kind, image in kinds.items() if kind not in SAME_CLASS])
    return _grey_most(negatives, generator) if grey else negatives


def _degrade_most(images: Tensor, generator: torch.Generator) -> Tensor:
    """Degrade three images in four, whatever they show, so that noise or its absence tells nothing."""
    return _in_most(degrade(images, generator), images, generator)


def _in_most(changed: Tensor, images: Tensor, generator: torch.Generator) -> Tensor:
    """Return the images, three in four of them replaced by `changed`."""
    return torch.where(torch.rand(len(images), 1, 1, 1, generator=generator) < 0.75, changed, images)


def _grey_grounds(spec: ImagesSpec) -> Grey:
    return Grey(spec.pixels, torch.tensor([[0.0] * 3, [1.0] * 3]))


def _grey_most(images: Tensor, generator: torch.Generator) -> Tensor:
    plain = images.mean(1, keepdim=True).expand_as(images)
    return _in_most(plain, images, generator)


@torch.no_grad()
def negative_kinds(
    spec: ImagesSpec, images: Tensor, grey: bool, vae: AutoencoderKL, generator: torch.Generator
) -> dict[str, Tensor]:
    """Return kind -> images of nothing known (m, 3, P, P) uint8, some made from images (n, 3, P, P); m <= n.

    The kinds are those of training, in pixels (grey as in training where `grey`) and in latents.
    """
    kinds: dict[str, list[Tensor]] = {}
    scale = vae.config.scaling_factor
    for chunk in images.split(8):  # each draws its own scale of noise
        clean = from_bytes(chunk)
        for kind, made in pixel_kinds(_grey_grounds(spec), clean, generator).items():
            made = _grey_most(made, generator) if grey else made
            kinds.setdefault(f"{kind}, in pixels", []).append(to_bytes(made))
        latents = vae.encode(clean.contiguous(memory_format=torch.channels_last)).latent_dist.mean * scale
        for kind, z in latent_kinds(latents, generator).items():
            drawn = vae.decode((z / scale).contiguous(memory_format=torch.channels_last)).sample
            kinds.setdefault(f"{kind}, in latents", []).append(to_bytes(drawn))
    left_out = tuple(f"{kind}, in " for kind in SAME_CLASS)
    return {kind: torch.cat(parts) for kind, parts in kinds.items() if not kind.startswith(left_out)}


def classifier_stage(
    spec: ImagesSpec, data: LabelledImages, bank: dict[str, Tensor], network: ClassifierNetwork
) -> Stage:
    """Train by cross-entropy: half images, a third round trips, the rest nothing known."""
    budget, grey = spec.classifier, data.is_grey
    learnt, _ = split_calibration(spec, data)
    known, unknown = bank["known"], bank["unknown"]
    trip_labels = learnt.labels[bank["rows"]]

    def loss(step: int, generator: torch.Generator) -> Tensor:
        fresh, stored, junk = budget.batch // 2, budget.batch // 3, max(2, budget.batch // 12)
        rows = torch.randint(len(learnt), (fresh,), generator=generator)
        trips = torch.randint(len(known), (stored,), generator=generator)
        decoded = torch.randint(len(unknown), (junk,), generator=generator)
        clean = from_bytes(torch.cat([learnt.images[rows], known[trips]]))
        made = draw_negatives(spec, clean[: max(2, junk // 4)], grey, generator)
        empty = torch.cat([made, from_bytes(unknown[decoded])])
        nothing = torch.full((len(empty),), len(spec.classes))
        labels = torch.cat([learnt.labels[rows], trip_labels[trips], nothing])
        images = _degrade_most(torch.cat([shift(clean, generator), empty]), generator)
        # dropout draws from the global generator: tie it to the step as well
        torch.manual_seed(int(torch.randint(2**31, (1,), generator=generator)))
        return F.cross_entropy(network(images.contiguous(memory_format=torch.channels_last)), labels)

    return Stage(
        "classifier",
        {"network": network},
        loss,
        budget.steps,
        budget.rate,
        spec.seed,
        weight_decay=0.05,
        decay_from=0.5,
        ema=0.99,
    )


@torch.no_grad()
def calibrate(
    spec: ImagesSpec, data: LabelledImages, vae: AutoencoderKL, network: ClassifierNetwork
) -> dict[str, float]:
    """Fit temperature and threshold on noised round trips of images that the classifier never saw."""
    _, apart = split_calibration(spec, data)
    images = round_trips(vae, apart.images, seeded(spec.seed, "calibrate"), STRONGEST)
    scores = torch.cat([network(from_bytes(chunk)) for chunk in images.split(200)])
    temperature, threshold = fit_head(scores, apart.labels)
    return {"temperature": temperature, "threshold": threshold}
