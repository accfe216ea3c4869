"""Worlds of real models: Stable Diffusion, FLUX and models fine-tuned from them."""

from ..models.hub import Source
from .hub.world import HubWorld

REGISTER = [
    {
        "name": "flux",
        "summary": "FLUX.1 dev (flow matching, guidance-distilled), from a folder or the hub's cache",
        "version": 1,
        "function": "open_flux",
    },
    {
        "name": "sd14",
        "summary": "Stable Diffusion 1.4, from a folder or the hub's cache",
        "version": 1,
        "function": "open_sd14",
    },
    {
        "name": "sd15",
        "summary": "Stable Diffusion 1.5, from a folder or the hub's cache",
        "version": 1,
        "function": "open_sd15",
    },
    {
        "name": "sd21",
        "summary": "Stable Diffusion 2.1 (v-prediction), from a folder or the hub's cache",
        "version": 1,
        "function": "open_sd21",
    },
    {
        "name": "sd3",
        "summary": "Stable Diffusion 3 medium (flow matching), from a folder or the hub's cache",
        "version": 1,
        "function": "open_sd3",
    },
    {
        "name": "sdxl",
        "summary": "Stable Diffusion XL, from a folder or the hub's cache",
        "version": 1,
        "function": "open_sdxl",
    },
    {
        "name": "unlearncanvas",
        "summary": "Stable Diffusion fine-tuned on UnlearnCanvas' styles and objects, from a user's folder",
        "version": 1,
        "function": "open_unlearncanvas",
    },
]


def open_flux() -> HubWorld:
    """Return the world; its weights are looked for when they are first needed."""
    source = Source("FLUX.1 dev (flow matching, guidance-distilled)", "black-forest-labs/FLUX.1-dev")
    return HubWorld("flux", source, steps=28, guidance=3.5, side=1024)


def open_sd14() -> HubWorld:
    """Return the world; its weights are looked for when they are first needed."""
    source = Source("Stable Diffusion 1.4", "CompVis/stable-diffusion-v1-4", "CreativeML OpenRAIL-M")
    return HubWorld("sd14", source, steps=50, guidance=7.5, side=512)


def open_sd15() -> HubWorld:
    """Return the world; its weights are looked for when they are first needed."""
    source = Source("Stable Diffusion 1.5", "stable-diffusion-v1-5/stable-diffusion-v1-5")
    return HubWorld("sd15", source, steps=50, guidance=7.5, side=512)


def open_sd21() -> HubWorld:
    """Return the world; its weights are looked for when they are first needed."""
    source = Source("Stable Diffusion 2.1 (v-prediction)", "stabilityai/stable-diffusion-2-1")
    return HubWorld("sd21", source, steps=50, guidance=7.5, side=768)


def open_sd3() -> HubWorld:
    """Return the world; its weights are looked for when they are first needed."""
    source = Source(
        "Stable Diffusion 3 medium (flow matching)", "stabilityai/stable-diffusion-3-medium-diffusers"
    )
    return HubWorld("sd3", source, steps=28, guidance=7.0, side=1024)


def open_sdxl() -> HubWorld:
    """Return the world; its weights are looked for when they are first needed."""
    source = Source("Stable Diffusion XL", "stabilityai/stable-diffusion-xl-base-1.0")
    return HubWorld("sdxl", source, steps=50, guidance=5.0, side=1024)


def open_unlearncanvas() -> HubWorld:
    """Return the world; the model has no known hub id, so the user names its folder."""
    source = Source(
        "Stable Diffusion fine-tuned on UnlearnCanvas (its diffusers folder)",
        "unlearncanvas-model",
        how="name its folder with --model FOLDER",
    )
    return HubWorld("unlearncanvas", source, steps=100, guidance=9.0, side=512, scheduler="ddim")
