"""The embedded world `tiny`."""

from .emoji.world import EmojiWorld
from .emoji.world import open_world as open_emoji

REGISTER = {
    "name": "tiny",
    "summary": "8 subjects x 2 styles x 3 backgrounds at 32 px: the world of the tests",
    "version": 1,
    "function": "open_world",
}


def open_world() -> EmojiWorld:
    """Open the world that ships with the package."""
    return open_emoji("tiny")
