"""The world `unlearncanvas`: Stable Diffusion fine-tuned on UnlearnCanvas, drawn as its answer sets are."""

from ..hub import Source
from .hub import HubWorld

REGISTER = {
    "name": "unlearncanvas",
    "summary": "Stable Diffusion fine-tuned on UnlearnCanvas' styles and objects, from a user's folder",
    "version": 1,
    "function": "open_world",
}


def open_world() -> HubWorld:
    """Return the world; no hub id is known of the model, so that its folder is always named."""
    source = Source(
        "Stable Diffusion fine-tuned on UnlearnCanvas (its diffusers folder)",
        "unlearncanvas-model",
        how="name its folder with --model FOLDER",
    )
    return HubWorld("unlearncanvas", source, steps=100, guidance=9.0, side=512, scheduler="ddim")
