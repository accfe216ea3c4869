"""The world `flux`: FLUX.1 dev (flow matching, guidance-distilled)."""

from ..hub import Source
from .hub import HubWorld

REGISTER = {
    "name": "flux",
    "summary": "FLUX.1 dev (flow matching, guidance-distilled), from a folder or the hub's cache",
    "version": 1,
    "function": "open_world",
}


def open_world() -> HubWorld:
    """Return the world; its weights are looked for when they are needed."""
    source = Source("FLUX.1 dev (flow matching, guidance-distilled)", "black-forest-labs/FLUX.1-dev")
    return HubWorld("flux", source, steps=28, guidance=3.5, side=1024)
