"""Labelled images of three kinds are read alike; what is wrong with them is one line that names the file."""

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from unlearnbench.bench.errors import UserError
from unlearnbench.bench.worlds.images.data import FASHION_MNIST, KNOWN_CLASSES, read_images
from unlearnbench.bench.worlds.images.idx import PAIRS, read_idx

DEBIAN = Path("/usr/share/datasets/fashion-mnist")


def _idx(*shape: int, data: bytes, magic: bytes = b"\0\0\x08") -> bytes:
    return magic + bytes([len(shape)]) + struct.pack(f">{len(shape)}I", *shape) + data


def _write_pair(folder: Path, split: str, images: bytes, labels: bytes) -> Path:
    for name, content in zip(PAIRS[split], (images, labels), strict=True):
        (folder / f"{name}.gz").write_bytes(gzip.compress(content))
    return folder


def _two_classes(folder: Path, n: int = 4) -> Path:
    for value, name in ((40, "dark_thing"), (200, "light")):
        (folder / name).mkdir(parents=True)
        for i in range(n):
            Image.new("RGB", (20, 24), (value + i, 0, 0)).save(folder / name / f"{i}.png")
    return folder


def test_an_idx_file_written_by_hand_is_read_number_by_number(tmp_path: Path) -> None:
    path = tmp_path / "a.gz"
    path.write_bytes(
        gzip.compress(b"\0\0\x08\x03" + b"\0\0\0\x02" + b"\0\0\0\x01" + b"\0\0\0\x03" + bytes(range(6)))
    )
    assert read_idx(path).tolist() == [[[0, 1, 2]], [[3, 4, 5]]]
    plain = tmp_path / "a"
    plain.write_bytes(_idx(2, data=b"\x07\xff"))
    assert read_idx(plain).tolist() == [7, 255]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (gzip.compress(_idx(1, data=b"x", magic=b"\0\0\x0d")), "unknown magic 0x00000d01"),
        (gzip.compress(b"P5 1 1"), "unknown magic 0x50352031"),
        (gzip.compress(b""), "unknown magic"),
        (gzip.compress(b"\0\0\x08\x03\0\0"), "ends within its header"),
        (gzip.compress(_idx(5, data=b"1234")), "holds 4 bytes of data, its header says 5"),
        (gzip.compress(bytes(range(256)) * 9)[:-20], "not a whole gzip file"),
        (b"no gzip", "not a whole gzip file"),
    ],
    # gzip notes the time: the bytes themselves would be another name in each of several processes
    ids=["type", "no idx", "empty", "cut header", "cut data", "cut gzip", "no gzip"],
)
def test_a_bad_idx_file_is_one_clear_line(tmp_path: Path, content: bytes, words: str) -> None:
    path = tmp_path / "train-images-idx3-ubyte.gz"
    path.write_bytes(content)
    with pytest.raises(UserError, match=words) as caught:
        read_idx(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_idx_images_are_padded_with_their_ground_and_keep_their_labels(tmp_path: Path) -> None:
    pixels = np.zeros((3, 2, 2), dtype=np.uint8)
    pixels[:, 0, 1] = (50, 100, 150)
    for split in PAIRS:
        _write_pair(tmp_path, split, _idx(3, 2, 2, data=pixels.tobytes()), _idx(3, data=b"\x01\0\x01"))
    data = read_images(tmp_path, 16, ["zero", "one"])
    assert (data.kind, data.classes, len(data.train), len(data.test)) == ("idx", ["zero", "one"], 3, 3)
    assert data.train.labels.tolist() == [1, 0, 1]
    assert data.train.images.shape == (3, 3, 16, 16)
    assert data.train.images[:, :, 7, 8].tolist() == [[50] * 3, [100] * 3, [150] * 3]
    assert int(data.train.images.sum()) == 3 * (50 + 100 + 150)
    assert data.is_grey


def test_faults_between_idx_files_are_named(tmp_path: Path) -> None:
    image = _idx(2, 2, 2, data=bytes(8))
    _write_pair(tmp_path, "train", image, _idx(3, data=b"\0\x01\x01"))
    with pytest.raises(UserError, match=r"2 images, but 3 labels in train-labels-idx1-ubyte\.gz"):
        read_images(tmp_path, 16, ["a", "b"])
    _write_pair(tmp_path, "train", image, _idx(2, data=b"\0\x01"))
    with pytest.raises(UserError, match="have no names; give them with --classes"):
        read_images(tmp_path, 16)
    with pytest.raises(UserError, match="no image of the class 'c'"):
        read_images(tmp_path, 16, ["a", "b", "c"])
    _write_pair(tmp_path, "train", image, _idx(2, data=b"\0\x09"))
    with pytest.raises(UserError, match="a label is 9, but there are 2 classes"):
        read_images(tmp_path, 16, ["a", "b"])
    (tmp_path / f"{PAIRS['train'][1]}.gz").unlink()
    with pytest.raises(UserError, match=r"train-labels-idx1-ubyte\.gz: not there; its other half is"):
        read_images(tmp_path, 16, ["a", "b"])


def test_a_folder_a_class_holds_out_a_tenth_for_testing(tmp_path: Path) -> None:
    data = read_images(_two_classes(tmp_path / "all", 20), 16)
    assert (data.kind, data.classes) == ("folders", ["dark thing", "light"])
    assert (len(data.train), len(data.test)) == (36, 4)
    assert sorted(data.test.labels.tolist()) == [0, 0, 1, 1]
    reds = lambda part: set(part.images[:, 0, 0, 0].tolist())  # noqa: E731
    assert not reds(data.train) & reds(data.test)
    assert reds(data.train) | reds(data.test) == {*range(40, 60), *range(200, 220)}
    assert not data.is_grey
    assert data.digest == read_images(tmp_path / "all", 16).digest != read_images(tmp_path / "all", 32).digest


def test_a_part_of_its_own_is_the_test_part(tmp_path: Path) -> None:
    _two_classes(tmp_path / "train", 3)
    _two_classes(tmp_path / "val", 2)
    data = read_images(tmp_path, 16)
    assert (len(data.train), len(data.test)) == (6, 4)


def test_bad_folders_are_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such folder"):
        read_images(tmp_path / "absent", 16)
    with pytest.raises(UserError, match="no classes; needed: a subfolder of images for each class"):
        read_images(tmp_path, 16)
    folder = _two_classes(tmp_path / "two")
    with pytest.raises(UserError, match="3 names given"):
        read_images(folder, 16, ["a", "b", "c"])
    whole = (folder / "light" / "1.png").read_bytes()
    (folder / "light" / "1.png").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError, match=r"light/1\.png: not an image that opens") as caught:
        read_images(folder, 16)
    assert "\n" not in str(caught.value)
    for path in (folder / "light").iterdir():
        path.unlink()
    with pytest.raises(UserError, match="no image of the class 'light'"):
        read_images(folder, 16)


def test_a_datasets_folder_is_read_as_its_images_are(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    features = datasets.Features(picture=datasets.Image(), kind=datasets.ClassLabel(names=["red", "blue"]))
    rows = {
        "picture": [Image.new("RGB", (16, 16), (200 * (1 - k), 0, 200 * k)) for k in (0, 1, 1)],
        "kind": [0, 1, 1],
    }
    part = datasets.Dataset.from_dict(rows, features=features)
    datasets.DatasetDict(train=part, test=part).save_to_disk(str(tmp_path / "whole"))
    data = read_images(tmp_path / "whole", 16)
    assert (data.kind, data.classes, data.test.labels.tolist()) == ("datasets", ["red", "blue"], [0, 1, 1])
    assert data.train.images[:, :, 3, 3].tolist() == [[200, 0, 0], [0, 0, 200], [0, 0, 200]]
    datasets.Dataset.from_dict({"x": [1]}).save_to_disk(str(tmp_path / "other"))
    with pytest.raises(UserError, match="no column is of type Image; columns: x"):
        read_images(tmp_path / "other", 16)


def _save_datasets(folder: Path, **parts: tuple[list[str], list[int | None]]) -> Path:
    """Save parts of red images, each with its names and its labels."""
    datasets = pytest.importorskip("datasets")
    made = {}
    for name, (names, labels) in parts.items():
        features = datasets.Features(picture=datasets.Image(), kind=datasets.ClassLabel(names=names))
        pictures = [Image.new("RGB", (16, 16), "red") for _ in labels]
        made[name] = datasets.Dataset.from_dict({"picture": pictures, "kind": labels}, features=features)
    datasets.DatasetDict(made).save_to_disk(str(folder))
    return folder


@pytest.mark.parametrize("names", [["blue", "red"], ["red", "green"]])
def test_a_test_part_of_other_names_is_refused(tmp_path: Path, names: list[str]) -> None:
    folder = _save_datasets(tmp_path / "d", train=(["red", "blue"], [0, 1]), test=(names, [0, 1]))
    with pytest.raises(UserError, match=f"d: test part: its classes are {', '.join(names)}; .* red, blue; "):
        read_images(folder, 16)


def test_labels_that_are_kept_back_are_named_by_part_and_row(tmp_path: Path) -> None:
    names = ["red", "blue"]
    hidden = _save_datasets(tmp_path / "a", train=(names, [0, 1]), test=(names, [0, 1, -1]))
    with pytest.raises(UserError, match="a: test part: row 2: its label is -1, which is no class; leave"):
        read_images(hidden, 16)
    empty = _save_datasets(tmp_path / "b", train=(names, [0, None, 1]))
    with pytest.raises(UserError, match="b: train part: row 1: kind: empty; leave that row out"):
        read_images(empty, 16)


def test_large_idx_images_are_cut_to_their_middle_and_not_stretched(tmp_path: Path) -> None:
    """A square of 20 x 20 in the middle of 80 x 40 is one of 8 x 8 in 16 x 16."""
    image = np.zeros((2, 80, 40), dtype=np.uint8)
    image[:, 30:50, 10:30] = 255
    for split in PAIRS:
        _write_pair(tmp_path, split, _idx(2, 80, 40, data=image.tobytes()), _idx(2, data=b"\0\x01"))
    drawn = read_images(tmp_path, 16, ["a", "b"]).train.images[0, 0] > 127
    assert drawn.any(0).nonzero()[:, 0].tolist() == drawn.any(1).nonzero()[:, 0].tolist() == [*range(4, 12)]
    # larger one way alone: what is left of it is padded
    narrow = np.full((2, 40, 8), 9, dtype=np.uint8)
    for split in PAIRS:
        _write_pair(tmp_path, split, _idx(2, 40, 8, data=narrow.tobytes()), _idx(2, data=b"\0\x01"))
    assert int((read_images(tmp_path, 16, ["a", "b"]).train.images[0, 0] == 9).sum()) == 8 * 8


def test_what_an_image_lets_through_shows_white(tmp_path: Path) -> None:
    for name, colour in (("a", (0, 0, 0, 0)), ("b", (0, 0, 0, 255))):
        (tmp_path / "all" / name).mkdir(parents=True)
        for i in range(2):
            Image.new("RGBA", (16, 16), colour).save(tmp_path / "all" / name / f"{i}.png")
    data = read_images(tmp_path / "all", 16)
    assert data.train.labels.tolist() == [0, 1]
    assert [set(image.flatten().tolist()) for image in data.train.images] == [{255}, {0}]
    half = Image.new("RGBA", (16, 16), (0, 0, 0, 51))
    half.convert("LA").save(tmp_path / "all" / "b" / "0.png")
    half.convert("LA").save(tmp_path / "all" / "b" / "1.png")
    assert set(read_images(tmp_path / "all", 16).train.images[1].flatten().tolist()) == {204}


@pytest.mark.slow
@pytest.mark.skipif(not DEBIAN.is_dir(), reason="Debian's dataset-fashion-mnist is not installed")
def test_fashion_mnist_is_known_by_its_labels() -> None:
    data = read_images(DEBIAN, 32)
    assert (len(data.train), len(data.test), data.classes) == (60_000, 10_000, FASHION_MNIST)
    assert torch.bincount(data.train.labels).tolist() == [6_000] * 10
    assert len(KNOWN_CLASSES) == 1
