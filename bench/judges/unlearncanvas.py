"""UnlearnCanvas' two classifiers: style and object of every image, from the user's own weights."""

import pickle
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from PIL import Image
from safetensors import SafetensorError
from safetensors.torch import load_file

from ..errors import UserError
from ..planning.tasks import TaskFile
from .packages import find_weights
from .types import NOTHING, JointEmbedder, Verdicts

REGISTER = {
    "name": "unlearncanvas",
    "summary": "style and object of an image by UnlearnCanvas' two ViT-L/16 classifiers, from a local folder",
    "paper": "https://arxiv.org/abs/2402.11846",
    "version": 1,
    "function": "open_judge",
}
STYLES = (
    "Abstractionism", "Artist_Sketch", "Blossom_Season", "Bricks", "Byzantine", "Cartoon", "Cold_Warm",
    "Color_Fantasy", "Comic_Etch", "Crayon", "Cubism", "Dadaism", "Dapple", "Defoliation", "Early_Autumn",
    "Expressionism", "Fauvism", "French", "Glowing_Sunset", "Gorgeous_Love", "Greenfield", "Impressionism",
    "Ink_Art", "Joy", "Liquid_Dreams", "Magic_Cube", "Meta_Physics", "Meteor_Shower", "Monet", "Mosaic",
    "Neon_Lines", "On_Fire", "Pastel", "Pencil_Drawing", "Picasso", "Pop_Art", "Red_Blue_Ink", "Rust",
    "Seed_Images", "Sketch", "Sponge_Dabbed", "Structuralism", "Superstring", "Surrealism", "Ukiyoe",
    "Van_Gogh", "Vibrant_Flow", "Warm_Love", "Warm_Smear", "Watercolor", "Winter",
)  # fmt: skip
"""The style classifier's outputs in their order: fifty styles, and the original photographs."""
OBJECTS = (
    "Architectures", "Bears", "Birds", "Butterfly", "Cats", "Dogs", "Fishes", "Flame", "Flowers", "Frogs",
    "Horses", "Human", "Jellyfish", "Rabbits", "Sandwiches", "Sea", "Statues", "Towers", "Trees",
    "Waterfalls",
)  # fmt: skip
"""The object classifier's outputs in their order."""
ARCHITECTURE = "vit_large_patch16_224.augreg_in21k"
"""timm's name of both networks; their heads are linear layers of 51 and 20 outputs."""
SIDE = 224
"""Pixels that the networks see: an image is squashed to a square, not cropped."""
HEAD = "head.weight"


class CanvasJudge:
    """Names the style and the object of every image; features come from `scorer` (a ClipScorer).

    Each network answers with its likeliest output, as the protocol has it: there is no `nothing known`.
    """

    def __init__(
        self, scorer: JointEmbedder, style: torch.nn.Module, subject: torch.nn.Module, device: str = "cpu"
    ) -> None:
        self.scorer, self.device = scorer, device
        self.networks = {
            "style": (style.eval().requires_grad_(False).to(device), STYLES),
            "subject": (subject.eval().requires_grad_(False).to(device), OBJECTS),
        }

    def knowing(self, file: TaskFile) -> "CanvasJudge":
        """Return the judge; raises UserError where a task names an attribute that the networks lack."""
        asked = {file.target_kind: file.names}
        if file.crossed is not None:
            asked[file.crossed.kind] = file.crossed.names
        for kind, names in asked.items():
            unknown = [name for name in names if name not in self.networks[kind][1]]
            if unknown:
                raise UserError(
                    f"{file.family}@{file.world}: names: no {kind} {unknown[0]!r} of UnlearnCanvas"
                )
        return self

    @torch.no_grad()
    def judge(self, images: np.ndarray, batch: int = 16) -> Verdicts:
        """Judge (n, H, W, 3) uint8 images; raises UserError where logits are not finite."""
        found: dict[str, list[str | None]] = {
            "subject": [],
            "style": [],
            "background": [NOTHING] * len(images),
        }
        for start in range(0, len(images), batch):
            x = torch.from_numpy(np.stack([prepare(image) for image in images[start : start + batch]]))
            for kind, (network, names) in self.networks.items():
                logits = network(x.permute(0, 3, 1, 2).to(self.device)).float().cpu()
                sound = logits.isfinite().all(dim=1).tolist()
                best = logits.argmax(dim=1).tolist()
                found[kind] += [names[i] if ok else None for i, ok in zip(best, sound, strict=True)]
        return Verdicts(pd.DataFrame(found), self.scorer.embed_images(images))


def prepare(image: np.ndarray) -> np.ndarray:
    """Return (SIDE, SIDE, 3) float32 in [-1, 1] of an image (H, W, 3) uint8: PIL's bilinear filter."""
    resized = Image.fromarray(image).resize((SIDE, SIDE), Image.Resampling.BILINEAR)
    return np.asarray(resized, dtype=np.float32) / 127.5 - 1


def open_judge(folder: Path, scorer: JointEmbedder, device: str = "cpu") -> CanvasJudge:
    """Open the classifiers of a folder: `style` and `object`, each as .safetensors or .pth.

    Raises UserError where a file is missing or holds another network.
    """
    style = open_network(find_weights(folder, "style"), STYLES)
    subject = open_network(find_weights(folder, "object"), OBJECTS)
    return CanvasJudge(scorer, style, subject, device)


def open_network(path: Path, names: Sequence[str], architecture: str | None = None) -> torch.nn.Module:
    """Return a classifier with the weights of a file; architecture: its name in timm, None = ARCHITECTURE.

    Raises UserError where tensors are missing from the file or have other shapes.
    """
    import timm

    weights = read_weights(path)
    head = weights.get(HEAD)
    if head is None or head.shape[:1] != (len(names),):
        there = "none" if head is None else str(tuple(head.shape))
        raise UserError(f"{path}: {HEAD}: shape {there}; this classifier tells {len(names)} names apart")
    network: torch.nn.Module = timm.create_model(
        architecture or ARCHITECTURE, pretrained=False, num_classes=len(names)
    )
    fill_network(network, weights, path, architecture or ARCHITECTURE)
    return network


def fill_network(
    network: torch.nn.Module, weights: Mapping[str, torch.Tensor], path: Path, what: str, assign: bool = False
) -> None:
    """Give a network all of a file's weights, in float32. assign: of a network without memory (`meta`).

    Raises UserError, naming the file and what the network is, where tensors lack, are left over or have other
    shapes.
    """
    try:
        network.load_state_dict({name: tensor.float() for name, tensor in weights.items()}, assign=assign)
    except RuntimeError as error:
        faults = [line.strip() for line in str(error).splitlines()[1:]]
        raise UserError(f"{path}: not the weights of {what}: {faults[0]:.200}") from None


def read_weights(path: Path, entry: str = "model_state_dict") -> dict[str, torch.Tensor]:
    """Return name -> tensor of a file, of its entry of this name where it has one; no code is run.

    A .pth is read by torch's `weights_only` reader. Raises UserError where the file holds more than tensors.
    """
    remedy = "save its tensors again with safetensors.torch.save_file, where you trust the file"
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        content = torch.load(path, map_location="cpu", weights_only=True)
    except SafetensorError as error:
        raise UserError(f"{path}: not a safetensors file: {error}") from None
    except pickle.UnpicklingError:
        raise UserError(f"{path}: holds more than tensors, or is no torch file; {remedy}") from None
    except (RuntimeError, EOFError, OSError, ValueError, KeyError) as error:
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise UserError(f"{path}: not a torch file of weights: {reason:.200}") from None
    if isinstance(content, Mapping) and entry in content:
        content = content[entry]
    if not isinstance(content, Mapping) or not all(isinstance(v, torch.Tensor) for v in content.values()):
        raise UserError(f"{path}: {entry}: not tensors by name; {remedy}")
    return {str(name): tensor for name, tensor in content.items()}
