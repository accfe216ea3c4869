"""The embedded worlds: `emoji`, and `tiny` for the tests."""

from .emoji.world import EmojiWorld, open_world

REGISTER = [
    {
        "name": "emoji",
        "summary": "80 subjects x 7 drawing styles x 8 backgrounds at 64 px: a latent "
        "diffusion model of its own",
        "version": 1,
        "function": "open_emoji",
    },
    {
        "name": "tiny",
        "summary": "8 subjects x 2 styles x 3 backgrounds at 32 px: the world of the tests",
        "version": 1,
        "function": "open_tiny",
    },
]


def open_emoji() -> EmojiWorld:
    """Open the world that ships with the package."""
    return open_world("emoji")


def open_tiny() -> EmojiWorld:
    """Open the world that ships with the package."""
    return open_world("tiny")
