"""The world `cifar10`: CIFAR-10's ten classes, as `pretrain images` makes it of a folder of yours."""

from .images.world import ImagesWorld, open_made

REGISTER = {
    "name": "cifar10",
    "summary": "CIFAR-10's classes at 32 px: a class-captioned model that `pretrain images` trains here",
    "version": 1,
    "function": "open_world",
}


def open_world() -> ImagesWorld:
    """Return the world; its folder is looked for when it is needed."""
    return open_made("cifar10")
