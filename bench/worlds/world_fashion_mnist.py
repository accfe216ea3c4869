"""The world `fashion-mnist`: Fashion-MNIST's ten classes, as `pretrain images` makes it."""

from .images.world import ImagesWorld, open_made

REGISTER = {
    "name": "fashion-mnist",
    "summary": "10 classes of clothing at 32 px: a class-captioned model that `pretrain images` trains here",
    "version": 1,
    "function": "open_world",
}


def open_world() -> ImagesWorld:
    """Return the world; its folder is looked for when it is needed."""
    command = "unlearnbench pretrain images --data FOLDER (Debian: /usr/share/datasets/fashion-mnist)"
    return open_made("fashion-mnist", command)
