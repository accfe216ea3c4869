"""Worlds of labelled images, as `pretrain images` makes them."""

from .images.world import ImagesWorld, open_made

REGISTER = [
    {
        "name": "cifar10",
        "summary": "CIFAR-10's classes at 32 px: a class-captioned model that `pretrain images` trains here",
        "version": 1,
        "function": "open_cifar10",
    },
    {
        "name": "fashion-mnist",
        "summary": "10 classes of clothing at 32 px: a class-captioned model that "
        "`pretrain images` trains here",
        "version": 1,
        "function": "open_fashion_mnist",
    },
]


def open_cifar10() -> ImagesWorld:
    """Return the world; its folder is opened when it is first needed."""
    return open_made("cifar10")


def open_fashion_mnist() -> ImagesWorld:
    """Return the world; its folder is opened when it is first needed."""
    command = "unlearnbench pretrain images --data FOLDER (Debian: /usr/share/datasets/fashion-mnist)"
    return open_made("fashion-mnist", command)
