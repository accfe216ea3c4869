"""The world `sd15`: Stable Diffusion 1.5."""

from ..hub import Source
from .hub import HubWorld

REGISTER = {
    "name": "sd15",
    "summary": "Stable Diffusion 1.5, from a folder or the hub's cache",
    "version": 1,
    "function": "open_world",
}


def open_world() -> HubWorld:
    """Return the world; its weights are looked for when they are needed."""
    source = Source("Stable Diffusion 1.5", "stable-diffusion-v1-5/stable-diffusion-v1-5")
    return HubWorld("sd15", source, steps=50, guidance=7.5, side=512)
