"""Denoising losses of a diffusion pipeline: encoding, noising, target, truncation.

Training and methods use only `Denoiser.draw`, `Denoiser.predict` and `Denoiser.errors`. The differences
between pipelines are in `families.py` (how a denoiser is called) and `noising.py` (its training target).
"""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Generator, Tensor, nn

from ..errors import UserError
from ..types import TrainingSet
from .families import Conditions, Size, denoiser_of, find_family
from .noising import Flow, find_noising

TruncationMode = Literal["sample", "element", "element-x0", "batch"]
ENCODED_AT_ONCE = 32
"""Images or prompts that go through an encoder at once: it bounds the memory and changes no result."""


@dataclass(frozen=True)
class Encoded:
    """A training set as the denoiser gets it, on the denoiser's device.

    latents: (n, c, h, w), scaled. conditions: a row for each distinct prompt, row 0 for the empty one. rows,
    anchor_rows: (n,) on the CPU, each image's row of the conditions; no anchors = None.
    """

    latents: Tensor
    conditions: Conditions
    rows: Tensor
    anchor_rows: Tensor | None


@dataclass(frozen=True)
class Batch:
    """A noised batch: noisy and target (b, c, h, w), times (b,), conditions of each image's prompt."""

    noisy: Tensor
    times: Tensor
    target: Tensor
    conditions: Conditions
    anchors: Conditions | None

    def split(self, size: int) -> list["Batch"]:
        """Return the batch in parts of at most `size` images."""
        if size >= len(self.times):
            return [self]

        def cut(tensor: Tensor, start: int) -> Tensor:
            return tensor[start : start + size]

        return [
            Batch(
                cut(self.noisy, i),
                cut(self.times, i),
                cut(self.target, i),
                {name: cut(t, i) for name, t in self.conditions.items()},
                None if self.anchors is None else {name: cut(t, i) for name, t in self.anchors.items()},
            )
            for i in range(0, len(self.times), size)
        ]


Objective = Callable[[Batch], tuple[Tensor, Tensor]]
"""Function of a batch: returns the scalar to be minimised, and the loss that is logged."""


class Denoiser:
    """The denoiser of a pipeline and its training loss.

    module: the network that is trained, in place. Raises UserError for a pipeline whose loss is not known.
    is_trained: False = the pipeline only draws training images, in any type of numbers.
    """

    def __init__(self, pipeline: Any, is_trained: bool = True) -> None:
        self.family, self.noising = find_family(pipeline), find_noising(pipeline.scheduler)
        if self.family.flow != isinstance(self.noising, Flow):
            kinds = f"{type(pipeline).__name__} with {type(pipeline.scheduler).__name__}"
            raise UserError(f"{kinds}: no training loss for such a model with such a sampler")
        self.pipeline = pipeline
        self.module: nn.Module = denoiser_of(pipeline, is_trained).eval()  # no dropout, in either loss
        first = next(self.module.parameters())
        self.device, self.dtype = first.device, first.dtype
        self.layout = memory_format(self.module)

    @torch.no_grad()
    def encode(self, images: TrainingSet) -> Encoded:
        """Encode a training set once: the posterior's mean, as scaled latents, and its distinct prompts.

        Raises UserError where the set is empty, or where prompts and images do not pair.
        """
        prompts, anchors = images.prompts, images.anchor_prompts
        if not prompts or len(prompts) != len(images.images) or (anchors and len(anchors) != len(prompts)):
            counts = f"{len(images.images)} images, {len(prompts)} prompts, {len(anchors)} anchor prompts"
            raise UserError(f"training set: each image needs one prompt (and anchor, if any); got {counts}")
        distinct = {text: row for row, text in enumerate(dict.fromkeys(("", *prompts, *anchors)))}
        return Encoded(
            self._encode_images(images.images),
            self.encode_text(list(distinct), (images.images.shape[-2], images.images.shape[-1])),
            torch.tensor([distinct[text] for text in prompts]),
            torch.tensor([distinct[text] for text in anchors]) if anchors else None,
        )

    def _encode_images(self, images: Tensor) -> Tensor:
        vae = self.pipeline.vae.eval()
        shift, scale = getattr(vae.config, "shift_factor", None) or 0.0, vae.config.scaling_factor
        latents = [
            vae.encode(part.to(vae.device, vae.dtype)).latent_dist.mean.to(self.device, self.dtype)
            for part in images.split(ENCODED_AT_ONCE)
        ]
        return (torch.cat(latents) - shift) * scale

    @torch.no_grad()
    def encode_text(self, prompts: list[str], size: Size) -> dict[str, Tensor]:
        """Return the denoiser's conditions for prompts, one row each. size: (height, width) of the images."""
        for name, part in self.pipeline.components.items():
            if name.startswith("text_encoder") and part is not None:
                part.eval()
        parts = [prompts[i : i + ENCODED_AT_ONCE] for i in range(0, len(prompts), ENCODED_AT_ONCE)]
        found = [self.family.encode(self.pipeline, part, size, self.device) for part in parts]
        return {name: torch.cat([f[name] for f in found]).to(self.device, self.dtype) for name in found[0]}

    def draw(self, encoded: Encoded, size: int | None, caption_drop: float, generator: Generator) -> Batch:
        """Draw a noised batch: images with replacement, uniform timesteps, some captions dropped.

        size: of the batch; None = every image of the set once. caption_drop: share of the captions (and their
        anchors) replaced by the empty prompt. All draws are made on the CPU, from `generator`, in the order
        rows, dropped captions, timesteps, noise.
        """
        count = len(encoded.rows)
        rows = torch.arange(count) if size is None else torch.randint(count, (size,), generator=generator)
        size = len(rows)
        kept = torch.rand(size, generator=generator) >= caption_drop
        times = self.noising.draw_times(size, generator).to(self.device)
        noise = torch.randn((size, *encoded.latents.shape[1:]), generator=generator)
        noise = noise.to(self.device, self.dtype)
        noisy, target = self.noising.mix(encoded.latents[rows.to(self.device)], noise, times)
        anchors = encoded.anchor_rows
        return Batch(
            noisy=noisy.contiguous(memory_format=self.layout),
            times=times,
            target=target,
            conditions=self._pick(encoded, encoded.rows[rows] * kept),
            anchors=None if anchors is None else self._pick(encoded, anchors[rows] * kept),
        )

    def _pick(self, encoded: Encoded, rows: Tensor) -> Conditions:
        return {name: values[rows.to(self.device)] for name, values in encoded.conditions.items()}

    def predict(self, batch: Batch, conditions: Conditions, module: nn.Module | None = None) -> Tensor:
        """Return the prediction (b, c, h, w) of the denoiser, or of a copy of it, for a noised batch."""
        return self.family.predict(module or self.module, batch.noisy, batch.times, conditions)

    def errors(self, batch: Batch) -> Tensor:
        """Return the squared errors (b, c, h, w) of the denoiser's prediction."""
        return (self.predict(batch, batch.conditions) - batch.target).square()


def memory_format(module: nn.Module) -> torch.memory_format:
    """Return channels_last where the module's convolutions are stored so, else contiguous."""
    kernels = (p for p in module.parameters() if p.dim() == 4 and not p.is_contiguous())
    is_last = any(p.is_contiguous(memory_format=torch.channels_last) for p in kernels)
    return torch.channels_last if is_last else torch.contiguous_format


def truncated_ascent(errors: Tensor, bound: float | Tensor | None, mode: TruncationMode) -> Tensor:
    """Return the forget objective to be minimised: the negated denoising loss as a hinge, relu(bound - loss).

    errors: squared errors (b, ...). bound: in units of these errors; a tensor is broadcast to them; None = no
    hinge. mode: the bound applies to each `sample`'s mean error, to each `element`, or to the `batch`'s mean
    (Ko et al. 2024, SD code, whose rescaled loss has this gradient). The gradient is zero where the bound is
    reached. Source: arXiv 2412.07808 and its released code.
    """
    if bound is None:
        return -errors.mean()
    if mode == "sample":
        errors = errors.flatten(1).mean(1)
    elif mode == "batch":
        errors = errors.mean()
    return torch.relu(bound - errors).mean()


def denoising(denoiser: Denoiser) -> Objective:
    """Return the ordinary denoising loss, the retain objective of every method."""

    def objective(batch: Batch) -> tuple[Tensor, Tensor]:
        loss = denoiser.errors(batch).mean()
        return loss, loss

    return objective


def ascent(denoiser: Denoiser, bound: float | None, mode: TruncationMode) -> Objective:
    """Return the truncated ascent on the denoising loss; the loss that is logged is not truncated.

    `element-x0`: the bound applies to an element's squared error of the clean image x0, which enters the loss
    with a weight w that depends on the time: -w min((x0's prediction - x0)², bound), computed as
    relu(w bound - error). Source: Ko et al. 2024, CIFAR code, training/loss.py.
    """

    def objective(batch: Batch) -> tuple[Tensor, Tensor]:
        errors = denoiser.errors(batch)
        limit: float | Tensor | None = bound
        if bound is not None and mode == "element-x0":
            weights = denoiser.noising.weigh_clean(batch.times).to(errors)
            limit = bound * weights.view(-1, *[1] * (errors.dim() - 1))
        return truncated_ascent(errors, limit, mode), errors.detach().mean()

    objective.is_mean = bound is None or mode != "batch"  # type: ignore[attr-defined]
    return objective


def anchor(denoiser: Denoiser) -> Objective:
    """Return the squared distance to the frozen base's prediction for the anchor prompt.

    The base is the denoiser at the time of this call (one copy is kept). Source: concept ablation, Kumari et
    al. 2023 (arXiv 2303.13516), model-based variant. Raises UserError without anchor prompts.
    """
    base = copy.deepcopy(denoiser.module).eval().requires_grad_(False)

    def objective(batch: Batch) -> tuple[Tensor, Tensor]:
        if batch.anchors is None:
            raise UserError("forget set: the task gives no anchor prompts, which anchor methods need")
        with torch.no_grad():
            target = denoiser.predict(batch, batch.anchors, base)
        loss = (denoiser.predict(batch, batch.conditions) - target).square().mean()
        return loss, loss

    return objective
