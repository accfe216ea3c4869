"""Labelled images in three formats: a folder for each class, a `datasets` folder, gzipped IDX files."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from ...errors import UserError
from ...models.digests import list_files
from ...pictures import BROKEN, first_line, open_picture, to_rgb
from ..seeds import seeded
from .idx import PAIRS, find_idx, read_pair

HELD_OUT = 0.1
"""Share of each class that is held out for testing where the data has no test part."""
TEST_NAMES = ("test", "val", "validation", "valid")
FASHION_MNIST = [
    "t-shirt",
    "trouser",
    "pullover",
    "dress",
    "coat",
    "sandal",
    "shirt",
    "sneaker",
    "bag",
    "ankle boot",
]
KNOWN_CLASSES = {"657fbd221bfc9f4198cc14b5619cc33ec57c58dd0e47af4d99d6650759e869a7": FASHION_MNIST}
"""sha256 of a training part's labels (one byte each) -> names of its classes, in the order of the numbers."""


@dataclass(frozen=True)
class Part:
    """Images (n, 3, P, P) uint8 and their labels (n,) int64."""

    images: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def only(self, rows: Tensor) -> "Part":
        return Part(self.images[rows], self.labels[rows])


@dataclass(frozen=True)
class LabelledImages:
    """The data of a world of images. kind: of the folder that it was read from."""

    kind: str
    classes: list[str]
    train: Part
    test: Part

    @cached_property
    def digest(self) -> str:
        """sha256 over the classes and every image and label."""
        digest = hashlib.sha256("|".join(self.classes).encode())
        for part in (self.train, self.test):
            digest.update(part.labels.numpy().tobytes() + part.images.numpy().tobytes())
        return digest.hexdigest()

    @cached_property
    def is_grey(self) -> bool:
        """Whether all training images are grey."""
        images = self.train.images
        return all(torch.equal(images[:, 0], images[:, channel]) for channel in (1, 2))


def read_images(folder: Path, pixels: int, classes: Sequence[str] = ()) -> LabelledImages:
    """Read labelled images as squares of `pixels`; raises UserError naming the faulty file.

    classes: names in place of those in the data; IDX files have none.
    """
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder")
    kind, reader = "folders", _read_folders
    if (folder / "dataset_dict.json").is_file() or (folder / "state.json").is_file():
        kind, reader = "datasets", _read_datasets
    elif any(find_idx(folder, name) for pair in PAIRS.values() for name in pair):
        kind, reader = "idx", _read_idx
    names, train, test = reader(folder, pixels)
    if classes and names and len(classes) != len(names):
        raise UserError(f"--classes: {len(classes)} names given; {folder} has {len(names)} classes")
    names = list(classes) or names
    if not names:
        raise UserError(f"{folder}: its classes have no names; give them with --classes, in order")
    _check_labels(folder, "train", names, train)
    if test is None:
        train, test = _hold_out(train)
    else:
        _check_labels(folder, "test", names, test)
    return LabelledImages(kind, names, train, test)


def _check_labels(folder: Path, split: str, names: Sequence[str], part: Part) -> None:
    if len(names) < 2 or len({name.lower() for name in names}) < len(names):
        raise UserError(f"{folder}: needed: two or more classes of different names, got {', '.join(names)}")
    if (part.labels < 0).any():  # datasets write -1 where labels are kept back
        row = int((part.labels < 0).nonzero()[0, 0])
        raise UserError(
            f"{folder}: {split} part: row {row}: its label is {int(part.labels[row])}, which is no class; "
            "leave that row out, or the whole part if its labels are kept back"
        )
    counts = torch.bincount(part.labels, minlength=len(names)).tolist()
    if len(counts) > len(names):
        raise UserError(f"{folder}: a label is {len(counts) - 1}, but there are {len(names)} classes")
    if min(counts) == 0:
        raise UserError(f"{folder}: no image of the class {names[counts.index(0)]!r}")


def _hold_out(part: Part) -> tuple[Part, Part]:
    """Return a part in two: for training, and a held-out share of each class (at least one image)."""
    held = torch.zeros(len(part), dtype=torch.bool)
    for label in part.labels.unique():
        rows = (part.labels == label).nonzero()[:, 0]
        if len(rows) < 2:
            raise UserError("--data: a class has only one image; needed: two, one of them to test with")
        order = torch.randperm(len(rows), generator=seeded("held-out", int(label)))
        held[rows[order[: max(1, round(HELD_OUT * len(rows)))]]] = True
    return part.only(~held), part.only(held)


def _read_folders(folder: Path, pixels: int) -> tuple[list[str], Part, Part | None]:
    train, test = folder / "train", next((folder / n for n in TEST_NAMES if (folder / n).is_dir()), None)
    if not train.is_dir():
        train, test = folder, None
    places = sorted(p for p in train.iterdir() if p.is_dir() and not p.name.startswith("."))
    if len(places) < 2:
        raise UserError(
            f"{folder}: no classes; needed: a subfolder of images for each class, "
            "a `datasets` folder, or IDX files"
        )
    stems = [place.name for place in places]
    names = [stem.replace("_", " ") for stem in stems]
    apart = None if test is None else _read_classes(test, stems, pixels)
    return names, _read_classes(train, stems, pixels), apart


def _read_classes(folder: Path, stems: Sequence[str], pixels: int) -> Part:
    images, labels = [], []
    suffixes = Image.registered_extensions()
    for label, stem in enumerate(stems):
        for path in list_files(folder / stem) if (folder / stem).is_dir() else ():
            if path.suffix.lower() in suffixes:
                images.append(_fit(open_picture(path), pixels))
                labels.append(label)
    if not images:
        raise UserError(f"{folder}: no images in its classes' folders")
    return Part(torch.stack(images), torch.tensor(labels))


def _fit(image: Image.Image, pixels: int) -> Tensor:
    """Return (3, P, P) uint8: the largest centred square, scaled."""
    side = min(image.size)
    left, top = ((length - side) // 2 for length in image.size)
    square = image.crop((left, top, left + side, top + side))
    if side != pixels:
        square = square.resize((pixels, pixels), Image.Resampling.LANCZOS)
    return torch.from_numpy(np.array(square)).permute(2, 0, 1).contiguous()


def _read_datasets(folder: Path, pixels: int) -> tuple[list[str], Part, Part | None]:
    from datasets import DatasetDict, load_from_disk

    try:
        loaded = load_from_disk(str(folder))
    except (OSError, ValueError, KeyError) as error:
        raise UserError(f"{folder}: does not load as a datasets folder: {first_line(error)}") from None
    parts: dict[str, Any] = dict(loaded) if isinstance(loaded, DatasetDict) else {"train": loaded}
    if "train" not in parts:
        raise UserError(f"{folder}: has no part named train; its parts: {', '.join(parts)}")
    names, train = _read_dataset(folder, "train", parts["train"], pixels)
    split = next((name for name in TEST_NAMES if name in parts), None)
    if split is None:
        return names, train, None
    test_names, test = _read_dataset(folder, split, parts[split], pixels)
    if test_names != names:  # labels are numbers: in another order they would name other classes
        raise UserError(
            f"{folder}: {split} part: its classes are {', '.join(test_names)}; "
            f"those of the train part are {', '.join(names)}; needed: the same, in the same order"
        )
    return names, train, test


def _read_dataset(folder: Path, split: str, data: Any, pixels: int) -> tuple[list[str], Part]:
    kinds = {name: type(feature).__name__ for name, feature in data.features.items()}
    found = [next((n for n in kinds if kinds[n] == kind), None) for kind in ("Image", "ClassLabel")]
    if None in found:
        lacking = ("Image", "ClassLabel")[found.index(None)]
        raise UserError(f"{folder}: no column is of type {lacking}; columns: {', '.join(kinds)}")
    image, label = found
    labels = list(data[label])
    if None in labels:
        raise UserError(
            f"{folder}: {split} part: row {labels.index(None)}: {label}: empty; leave that row out"
        )
    images = []
    for i in range(len(data)):
        try:
            images.append(_fit(to_rgb(data[i][image]), pixels))
        except (*BROKEN, AttributeError) as error:
            raise UserError(
                f"{folder}: {split} part: row {i}: {image}: not an image that opens ({first_line(error)})"
            ) from None
    return [str(n) for n in data.features[label].names], Part(torch.stack(images), torch.tensor(labels))


def _read_idx(folder: Path, pixels: int) -> tuple[list[str], Part, Part | None]:
    train, test = read_pair(folder, "train"), read_pair(folder, "test")
    if train is None:
        raise UserError(f"{folder}: {PAIRS['train'][0]}.gz: not there")
    known = KNOWN_CLASSES.get(hashlib.sha256(train[1].tobytes()).hexdigest(), [])
    return list(known), _from_arrays(*train, pixels), None if test is None else _from_arrays(*test, pixels)


def _from_arrays(images: np.ndarray, labels: np.ndarray, pixels: int) -> Part:
    """Crop larger images to the centred square and scale it; pad smaller ones with 0."""
    x = torch.from_numpy(images.copy())
    x = x[:, None].expand(-1, 3, -1, -1) if x.ndim == 3 else x.permute(0, 3, 1, 2)
    height, width = x.shape[2:]
    if max(height, width) > pixels:
        side = min(height, width)
        top, left = (height - side) // 2, (width - side) // 2
        x, height, width = x[:, :, top : top + side, left : left + side], side, side
    if height > pixels:
        scaled = F.interpolate(x.float(), size=(pixels, pixels), mode="bilinear", antialias=True)
        x = scaled.round().clamp(0, 255).to(torch.uint8)
    else:
        left, top = (pixels - width) // 2, (pixels - height) // 2
        x = F.pad(x, (left, pixels - width - left, top, pixels - height - top))
    return Part(x.contiguous(), torch.from_numpy(labels.astype(np.int64)))
