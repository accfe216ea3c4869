"""ResNet-50 by torchvision's second recipe (IMAGENET1K_V2), the judge of the published Imagenette figures.

The papers' scripts (ESD, SalUn) take torchvision's `ResNet50_Weights.DEFAULT`, which is IMAGENET1K_V2, and
ask for the likeliest of all 1,000 classes, not of ten; this judge does the same. torchvision publishes the
weights as a pickle, which is not opened here. timm's `resnet50.tv2_in1k` names torchvision's file as its
origin and is on the hub as safetensors.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from ..errors import UserError
from .imagenet import ImagenetteJudge, TimmExtractor, number_names
from .packages import RESNET50_FILE, TIMM

REGISTER = {
    "name": "resnet50",
    "summary": "the likeliest of 1,000 ImageNet classes by torchvision's ResNet-50, where a task names it",
    "paper": "https://arxiv.org/abs/1512.03385",
    "version": 1,
    "function": "ResNet50Judge",
}
NETWORK = "resnet50.tv2_in1k"


def open_network(folder: Path) -> Any:
    """Return the network with the weights of a folder (`model.safetensors`), for evaluation.

    Raises UserError where the file is not there, or holds no ResNet-50 of 1,000 classes.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    path = folder / RESNET50_FILE
    if not path.is_file():
        raise UserError(f"{path}: not there; it is the weights file of the hub's timm/{NETWORK}")
    if TIMM.folder is None:
        raise UserError(f"{TIMM.where}: not installed; {TIMM.remedy}")
    import timm

    network = timm.create_model("resnet50", pretrained=False)
    try:
        network.load_state_dict(load_file(path))
    except (OSError, SafetensorError, RuntimeError) as error:
        first = str(error).splitlines()[0]
        raise UserError(f"{path}: not the weights of a ResNet-50 of 1,000 classes: {first}") from None
    return network.eval().requires_grad_(False)


def make_prepare() -> Callable[[np.ndarray], torch.Tensor]:
    """Return a function from (H, W, 3) uint8 to (3, 224, 224) float32: timm's test transform for the weights.

    It resizes the shorter side to 232 pixels (bilinear, antialiased) and crops the central 224.
    """
    import timm
    from timm.data import create_transform, resolve_data_config

    described = timm.get_pretrained_cfg(NETWORK)
    assert described is not None
    settings = resolve_data_config(pretrained_cfg=described.to_dict(), use_test_size=True)
    transform = create_transform(**settings, is_training=False)
    return lambda image: transform(Image.fromarray(image))


class ResNet50Judge(ImagenetteJudge):
    """Judges by ResNet-50. folder: of its weights."""

    def __init__(self, names: Sequence[str], folder: Path, device: str = "cpu") -> None:
        known = number_names("resnet50", names)
        super().__init__(known, TimmExtractor(open_network(folder), make_prepare(), device))
