"""Families of denoisers: how each encodes a prompt, and how each is called.

Only this module tells a Stable Diffusion UNet from the networks of SDXL, SD3 and Flux. All others see latents
(n, c, h, w), conditions (a row for each prompt) and a prediction of the latents' shape.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import UserError
from ..models.device.precision import autocast
from ..models.generators import denoiser_name, trainable_module
from ..models.layout import INDEX, read_config

Conditions = Mapping[str, Tensor]
"""Arguments of the denoiser by name, each (k, ...): row i belongs to prompt i."""
Size = tuple[int, int]
"""(height, width) of the images in pixels."""
DISTILLED_GUIDANCE = 3.5
"""Guidance that a distilled Flux gets while it trains: the default of its pipeline call."""


@dataclass(frozen=True)
class Family:
    """A family. flow: whether it is trained by flow matching.

    encode(pipeline, prompts, size, device) -> conditions; call(module, noisy, times, conditions) ->
    (b, c, h, w).
    """

    name: str
    flow: bool
    encode: Callable[[Any, list[str], Size, torch.device], dict[str, Tensor]]
    call: Callable[[nn.Module, Tensor, Tensor, Conditions], Tensor]

    def predict(self, module: nn.Module, noisy: Tensor, times: Tensor, conditions: Conditions) -> Tensor:
        """Return the prediction (b, c, h, w) in the type of `noisy`, computed in that of the training."""
        with autocast(noisy.device.type):
            found = self.call(module, noisy, times, conditions)
        return found.to(noisy.dtype)


def _encode_sd(pipeline: Any, prompts: list[str], size: Size, device: torch.device) -> dict[str, Tensor]:
    return {"encoder_hidden_states": pipeline.encode_prompt(prompts, device, 1, False)[0]}


def _predict_unet(module: nn.Module, noisy: Tensor, times: Tensor, conditions: Conditions) -> Tensor:
    added = {name: conditions[name] for name in ("text_embeds", "time_ids") if name in conditions}
    states = conditions["encoder_hidden_states"]
    extra = {"added_cond_kwargs": added} if added else {}
    prediction: Tensor = module(noisy, times, encoder_hidden_states=states, **extra).sample
    return prediction


def _encode_sdxl(pipeline: Any, prompts: list[str], size: Size, device: torch.device) -> dict[str, Tensor]:
    states, _, pooled, _ = pipeline.encode_prompt(
        prompts, device=device, num_images_per_prompt=1, do_classifier_free_guidance=False
    )
    if pipeline.config.force_zeros_for_empty_prompt:  # what its call takes for "no prompt"
        named = torch.tensor([bool(prompt) for prompt in prompts], device=states.device)
        states, pooled = states * named[:, None, None], pooled * named[:, None]
    # size as drawn, no crop, size wanted (SDXL, Podell et al. 2023, section 2.2)
    ids = torch.tensor([*size, 0, 0, *size], device=pooled.device, dtype=pooled.dtype)
    return {
        "encoder_hidden_states": states,
        "text_embeds": pooled,
        "time_ids": ids.expand(len(prompts), -1),
    }


def _encode_sd3(pipeline: Any, prompts: list[str], size: Size, device: torch.device) -> dict[str, Tensor]:
    states, _, pooled, _ = pipeline.encode_prompt(
        prompts, None, None, device=device, num_images_per_prompt=1, do_classifier_free_guidance=False
    )
    return {"encoder_hidden_states": states, "pooled_projections": pooled}


def _predict_sd3(module: nn.Module, noisy: Tensor, times: Tensor, conditions: Conditions) -> Tensor:
    prediction: Tensor = module(hidden_states=noisy, timestep=times, **conditions).sample
    return prediction


def _encode_flux(pipeline: Any, prompts: list[str], size: Size, device: torch.device) -> dict[str, Tensor]:
    states, pooled, _ = pipeline.encode_prompt(prompts, device=device, num_images_per_prompt=1)
    return {"encoder_hidden_states": states, "pooled_projections": pooled}


def _predict_flux(module: nn.Module, noisy: Tensor, times: Tensor, conditions: Conditions) -> Tensor:
    """Call Flux on latents cut into tokens of 2 x 2; its times run from 0 to 1."""
    from diffusers import FluxPipeline

    b, c, h, w = noisy.shape
    guidance = None
    if module.config.guidance_embeds:  # type: ignore[union-attr]
        guidance = torch.full((b,), DISTILLED_GUIDANCE, device=noisy.device, dtype=torch.float32)
    tokens = module(
        hidden_states=FluxPipeline._pack_latents(noisy, b, c, h, w),
        timestep=times / 1000,
        guidance=guidance,
        txt_ids=torch.zeros(
            conditions["encoder_hidden_states"].shape[1], 3, device=noisy.device, dtype=noisy.dtype
        ),
        img_ids=FluxPipeline._prepare_latent_image_ids(b, h // 2, w // 2, noisy.device, noisy.dtype),
        **conditions,
    ).sample
    prediction: Tensor = FluxPipeline._unpack_latents(tokens, h, w, 1)
    return prediction


FAMILIES = {
    "StableDiffusionPipeline": Family("sd", False, _encode_sd, _predict_unet),
    "StableDiffusionXLPipeline": Family("sdxl", False, _encode_sdxl, _predict_unet),
    "StableDiffusion3Pipeline": Family("sd3", True, _encode_sd3, _predict_sd3),
    "FluxPipeline": Family("flux", True, _encode_flux, _predict_flux),
}
ADDED = {"StableDiffusionXLPipeline": "text_time"}
"""Pipeline -> additional conditions of its UNet, besides time and prompt."""


def find_family(pipeline: Any) -> Family:
    """Return a pipeline's family; raises UserError where its training loss is not known here."""
    name = type(pipeline).__name__
    if name not in FAMILIES:
        raise UserError(f"{name}: no training loss for pipelines of this kind; known: {', '.join(FAMILIES)}")
    return FAMILIES[name]


def check_supported(pipeline: Any, method: str, known: Sequence[str]) -> None:
    """Raise UserError where a method does not work on a pipeline. known: names of families, () = all."""
    _check_class(type(pipeline).__name__, method, known)


def check_folder(folder: Path, method: str, known: Sequence[str]) -> None:
    """Raise UserError where a method does not work on the pipeline in a folder, which is not opened."""
    if known:
        _check_class(str(read_config(folder / INDEX).get("_class_name")), method, known)


def _check_class(pipeline: str, method: str, known: Sequence[str]) -> None:
    family = FAMILIES.get(pipeline)
    if known and (family is None or family.name not in known):
        raise UserError(f"{method}: does not work on {pipeline}; it works on: {', '.join(known)}")


def denoiser_of(pipeline: Any, is_trained: bool = True) -> nn.Module:
    """Return the network that methods train; raises UserError where it cannot be trained as it is.

    is_trained: False = it only draws, so that its numbers may have any type.
    """
    name, part = type(pipeline).__name__, denoiser_name(pipeline)
    module = trainable_module(pipeline)
    if part == "unet":
        _check_unet(name, pipeline)
    else:
        _check_transformer(name, pipeline)
    _check_vae(name, pipeline.vae, flow=part != "unet")
    first = next(module.parameters())
    if is_trained and first.dtype not in (torch.float32, torch.float64):
        raise UserError(f"{name}: its {part} is in {first.dtype}; load it in torch.float32 to train it")
    return module


def _check_unet(name: str, pipeline: Any) -> None:
    """Raise UserError where a UNet's input or output is more than latents, conditioned on only the prompt."""
    config, latents = pipeline.unet.config, pipeline.vae.config.latent_channels
    if config.in_channels != latents:
        raise UserError(f"{name}: its UNet takes more than latents (inpainting and the like)")
    if getattr(config, "out_channels", latents) != latents:
        raise UserError(f"{name}: its UNet gives more than one value a latent (a learned variance)")
    if getattr(config, "class_embed_type", None) or getattr(config, "num_class_embeds", None):
        raise UserError(f"{name}: its UNet needs class labels in addition to the prompt")
    for key in ("time_cond_proj_dim", "encoder_hid_dim_type"):
        if getattr(config, key, None):
            raise UserError(f"{name}: unet/config.json: {key}: no training loss for such a UNet")
    added = getattr(config, "addition_embed_type", None)
    if added != ADDED.get(name):
        raise UserError(f"{name}: unet/config.json: addition_embed_type: no training loss for {added!r}")


def _check_transformer(name: str, pipeline: Any) -> None:
    config, latents = pipeline.transformer.config, pipeline.vae.config.latent_channels
    takes = latents * (4 if name == "FluxPipeline" else 1)  # Flux sees 2 x 2 latents as one token
    if config.in_channels != takes or getattr(config, "out_channels", None) not in (None, takes):
        raise UserError(f"{name}: its transformer takes more than latents (control images and the like)")


def _check_vae(name: str, vae: Any, flow: bool) -> None:
    """Raise UserError where latents are scaled in a way that training does not support."""
    config, kind = vae.config, type(vae).__name__
    if kind != "AutoencoderKL":
        raise UserError(f"{name}: no training loss for latents of {kind}")
    for key in ("latents_mean", "latents_std"):
        if getattr(config, key, None) is not None:
            raise UserError(
                f"{name}: vae/config.json: {key}: no training loss for latents that are so scaled"
            )
    scale, shift = config.scaling_factor, getattr(config, "shift_factor", None)
    if not isinstance(scale, int | float) or not math.isfinite(scale) or scale == 0:
        raise UserError(f"{name}: vae/config.json: scaling_factor: {scale!r}; needed: a number, not 0")
    if shift and not flow:
        raise UserError(f"{name}: vae/config.json: shift_factor: this pipeline's sampler does not know it")
