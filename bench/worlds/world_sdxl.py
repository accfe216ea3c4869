"""The world `sdxl`: Stable Diffusion XL."""

from ..hub import Source
from .hub import HubWorld

REGISTER = {
    "name": "sdxl",
    "summary": "Stable Diffusion XL, from a folder or the hub's cache",
    "version": 1,
    "function": "open_world",
}


def open_world() -> HubWorld:
    """Return the world; its weights are looked for when they are needed."""
    source = Source("Stable Diffusion XL", "stabilityai/stable-diffusion-xl-base-1.0")
    return HubWorld("sdxl", source, steps=50, guidance=5.0, side=1024)
