"""The world `sd14`: Stable Diffusion 1.4."""

from ..hub import Source
from .hub import HubWorld

REGISTER = {
    "name": "sd14",
    "summary": "Stable Diffusion 1.4, from a folder or the hub's cache",
    "version": 1,
    "function": "open_world",
}


def open_world() -> HubWorld:
    """Return the world; its weights are looked for when they are needed."""
    source = Source("Stable Diffusion 1.4", "CompVis/stable-diffusion-v1-4", "CreativeML OpenRAIL-M")
    return HubWorld("sd14", source, steps=50, guidance=7.5, side=512)
