"""Denoising losses of a diffusion pipeline: encoding, noising, target, truncation.

This is the one place that knows what kind of denoiser a pipeline holds; training and methods see only
`Denoiser.draw` and `Denoiser.errors`.
"""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import torch
from diffusers import DDPMScheduler
from torch import Generator, Tensor, nn

from .errors import UserError
from .types import TrainingSet

TruncationMode = Literal["sample", "element", "batch"]
ENCODED_AT_ONCE = 32
"""Images or prompts that go through an encoder together: bounds the memory, not the result's meaning."""


@dataclass(frozen=True)
class Encoded:
    """A training set as the denoiser sees it, on the denoiser's device.

    latents: (n, c, h, w), scaled. states: (k, tokens, width), one a distinct prompt, row 0 the empty one.
    rows, anchor_rows: (n,) on the CPU, each image's row of `states`; no anchors = None.
    """

    latents: Tensor
    states: Tensor
    rows: Tensor
    anchor_rows: Tensor | None


@dataclass(frozen=True)
class Batch:
    """A noised batch: noisy and target (b, c, h, w), times (b,), states, anchor_states (b, tokens, width)."""

    noisy: Tensor
    times: Tensor
    target: Tensor
    states: Tensor
    anchor_states: Tensor | None


Objective = Callable[[Batch], tuple[Tensor, Tensor]]
"""Of a batch: the scalar to be minimised, and the loss that is logged for it."""


class Denoiser:
    """The denoiser of a UNet pipeline and its training loss.

    module: the network that is trained, in place. Raises UserError for a pipeline whose loss this is not.
    """

    def __init__(self, pipeline: Any) -> None:
        check_pipeline(pipeline)
        self.pipeline = pipeline
        self.module: nn.Module = pipeline.unet.eval()  # no dropout, in either loss
        # Samplers differ in how they walk the schedule, not in the schedule: the training scheduler
        # made of the sampler's settings noises as the base model's training did.
        self.schedule: Any = DDPMScheduler.from_config(pipeline.scheduler.config)
        self.times = int(self.schedule.config.num_train_timesteps)
        if self.schedule.config.prediction_type not in TARGETS:
            kind = self.schedule.config.prediction_type
            raise UserError(
                f"pipeline: no training target for prediction_type {kind!r}; known: {sorted(TARGETS)}"
            )
        first = next(self.module.parameters())
        self.device, self.dtype = first.device, first.dtype
        self.layout = memory_format(self.module)

    @torch.no_grad()
    def encode(self, images: TrainingSet) -> Encoded:
        """Encode a training set once: the posterior's mean, as scaled latents, and its distinct prompts.

        Raises UserError where the set is empty, or prompts and images do not pair.
        """
        prompts, anchors = images.prompts, images.anchor_prompts
        if not prompts or len(prompts) != len(images.images) or (anchors and len(anchors) != len(prompts)):
            counts = f"{len(images.images)} images, {len(prompts)} prompts, {len(anchors)} anchor prompts"
            raise UserError(f"training set: each image needs one prompt (and anchor, if any); got {counts}")
        distinct = {text: row for row, text in enumerate(dict.fromkeys(("", *prompts, *anchors)))}
        return Encoded(
            self._encode_images(images.images),
            self._encode_text(list(distinct)),
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

    def _encode_text(self, prompts: list[str]) -> Tensor:
        self.pipeline.text_encoder.eval()
        parts = [prompts[i : i + ENCODED_AT_ONCE] for i in range(0, len(prompts), ENCODED_AT_ONCE)]
        states = [self.pipeline.encode_prompt(part, self.device, 1, False)[0] for part in parts]
        return torch.cat(states).to(self.device, self.dtype)

    def draw(self, encoded: Encoded, size: int, caption_drop: float, generator: Generator) -> Batch:
        """Draw a noised batch: images with replacement, uniform timesteps, some captions left out.

        caption_drop: share of the captions (and their anchors) replaced by the empty prompt. All draws are
        made on the CPU, from `generator`, in the order rows, dropped captions, timesteps, noise.
        """
        rows = torch.randint(len(encoded.rows), (size,), generator=generator)
        kept = torch.rand(size, generator=generator) >= caption_drop
        times = torch.randint(self.times, (size,), generator=generator).to(self.device)
        noise = torch.randn((size, *encoded.latents.shape[1:]), generator=generator)
        noise = noise.to(self.device, self.dtype)
        clean = encoded.latents[rows.to(self.device)]
        anchors = encoded.anchor_rows
        return Batch(
            noisy=self.schedule.add_noise(clean, noise, times).contiguous(memory_format=self.layout),
            times=times,
            target=TARGETS[self.schedule.config.prediction_type](self.schedule, clean, noise, times),
            states=encoded.states[(encoded.rows[rows] * kept).to(self.device)],
            anchor_states=None if anchors is None else encoded.states[(anchors[rows] * kept).to(self.device)],
        )

    def errors(self, batch: Batch) -> Tensor:
        """Return the squared errors (b, c, h, w) of the denoiser's prediction."""
        return (predict(self.module, batch, batch.states) - batch.target).square()


def predict(module: nn.Module, batch: Batch, states: Tensor) -> Tensor:
    """Return a UNet's prediction (b, c, h, w) for a noised batch under the given text states."""
    return module(batch.noisy, batch.times, encoder_hidden_states=states).sample


TARGETS: dict[str, Callable[[Any, Tensor, Tensor, Tensor], Tensor]] = {
    "epsilon": lambda schedule, clean, noise, times: noise,
    "v_prediction": lambda schedule, clean, noise, times: schedule.get_velocity(clean, noise, times),
    "sample": lambda schedule, clean, noise, times: clean,
}
"""What the network is trained to predict, by the scheduler's prediction_type."""


def check_pipeline(pipeline: Any) -> None:
    """Raise UserError unless the pipeline is a text-to-image UNet pipeline that can be trained as it is."""
    unet = getattr(pipeline, "unet", None)
    name = type(pipeline).__name__
    if unet is None:
        raise UserError(f"{name}: has no UNet; methods train UNet pipelines")
    if getattr(unet.config, "addition_embed_type", None) or getattr(unet.config, "class_embed_type", None):
        raise UserError(f"{name}: its UNet needs more conditions than one prompt (SDXL and the like)")
    if unet.config.in_channels != pipeline.vae.config.latent_channels:
        raise UserError(f"{name}: its UNet takes more than latents (inpainting and the like)")
    if unet.dtype not in (torch.float32, torch.float64):
        raise UserError(f"{name}: its UNet is in {unet.dtype}; load it in torch.float32 to train it")


def memory_format(module: nn.Module) -> torch.memory_format:
    """Return channels_last where the module's convolutions are stored so, else contiguous."""
    kernels = (p for p in module.parameters() if p.dim() == 4 and not p.is_contiguous())
    is_last = any(p.is_contiguous(memory_format=torch.channels_last) for p in kernels)
    return torch.channels_last if is_last else torch.contiguous_format


def truncated_ascent(errors: Tensor, bound: float | None, mode: TruncationMode) -> Tensor:
    """Return the forget objective to be minimised: the negated denoising loss as a hinge, relu(bound - loss).

    errors: squared errors (b, ...). bound: in units of the loss at hand; None = no hinge. mode: what the
    bound holds for: each `sample`'s mean error, each `element` (Ko et al. 2024, CIFAR code: min(error,
    alpha)) or the `batch`'s mean (their SD code, whose rescaled loss has this gradient). The gradient is
    zero where the bound is reached. Source: arXiv 2412.07808 and its released code.
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
    """Return the truncated ascent on the denoising loss; logged is that loss itself, not truncated."""

    def objective(batch: Batch) -> tuple[Tensor, Tensor]:
        errors = denoiser.errors(batch)
        return truncated_ascent(errors, bound, mode), errors.detach().mean()

    return objective


def anchor(denoiser: Denoiser) -> Objective:
    """Return the squared distance to the frozen base's prediction for the anchor prompt.

    The base is the denoiser as it is when this is called (one copy is kept). Source: concept ablation,
    Kumari et al. 2023 (arXiv 2303.13516), model-based variant. Raises UserError without anchor prompts.
    """
    base = copy.deepcopy(denoiser.module).eval().requires_grad_(False)

    def objective(batch: Batch) -> tuple[Tensor, Tensor]:
        if batch.anchor_states is None:
            raise UserError("forget set: the task gives no anchor prompts, which anchor methods need")
        with torch.no_grad():
            target = predict(base, batch, batch.anchor_states)
        loss = (predict(denoiser.module, batch, batch.states) - target).square().mean()
        return loss, loss

    return objective
