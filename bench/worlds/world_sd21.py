"""The world `sd21`: Stable Diffusion 2.1 (v-prediction)."""

from ..hub import Source
from .hub import HubWorld

REGISTER = {
    "name": "sd21",
    "summary": "Stable Diffusion 2.1 (v-prediction), from a folder or the hub's cache",
    "version": 1,
    "function": "open_world",
}


def open_world() -> HubWorld:
    """Return the world; its weights are looked for when they are needed."""
    source = Source("Stable Diffusion 2.1 (v-prediction)", "stabilityai/stable-diffusion-2-1")
    return HubWorld("sd21", source, steps=50, guidance=7.5, side=768)
