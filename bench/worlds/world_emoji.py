"""The embedded world `emoji`."""

from .emoji.world import EmojiWorld
from .emoji.world import open_world as open_emoji

REGISTER = {
    "name": "emoji",
    "summary": "80 subjects x 7 drawing styles x 8 backgrounds at 64 px: a latent diffusion model of its own",
    "version": 1,
    "function": "open_world",
}


def open_world() -> EmojiWorld:
    """Open the world that ships with the package."""
    return open_emoji("emoji")
