"""The world `sd3`: Stable Diffusion 3 medium (flow matching)."""

from ..hub import Source
from .hub import HubWorld

REGISTER = {
    "name": "sd3",
    "summary": "Stable Diffusion 3 medium (flow matching), from a folder or the hub's cache",
    "version": 1,
    "function": "open_world",
}


def open_world() -> HubWorld:
    """Return the world; its weights are looked for when they are needed."""
    source = Source(
        "Stable Diffusion 3 medium (flow matching)", "stabilityai/stable-diffusion-3-medium-diffusers"
    )
    return HubWorld("sd3", source, steps=28, guidance=7.0, side=1024)
