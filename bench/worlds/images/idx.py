"""IDX files, gzipped or plain: the format of MNIST and Fashion-MNIST."""

import gzip
import struct
import zlib
from pathlib import Path

import numpy as np

from ...errors import UserError

UNSIGNED_BYTES = 0x08
PAIRS = {
    "train": ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
    "test": ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
}
"""Names of the files of images and of labels, with or without `.gz`."""


def find_idx(folder: Path, name: str) -> Path | None:
    """Return a folder's file of this name, gzipped or plain, or None."""
    choices = (folder / f"{name}.gz", folder / name)
    return next((path for path in choices if path.is_file()), None)


def read_idx(path: Path) -> np.ndarray:
    """Return the array in an IDX file of unsigned bytes; raises UserError naming file and fault.

    Format: two zero bytes, the type of the numbers, the number of dimensions; each dimension as a big-endian
    32-bit number; then the numbers, the last dimension fastest.
    """
    try:
        content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (OSError, EOFError, zlib.error) as error:
        raise UserError(f"{path}: not a whole gzip file ({error}); fetch it again") from None
    magic = content[:4]
    if len(magic) < 4 or magic[:2] != b"\0\0" or magic[2] != UNSIGNED_BYTES or not 1 <= magic[3] <= 4:
        raise UserError(
            f"{path}: unknown magic 0x{magic.hex()}; needed: an IDX file of unsigned bytes (0x000008..)"
        )
    start = 4 + 4 * magic[3]
    if len(content) < start:
        raise UserError(f"{path}: ends within its header; fetch it again")
    shape = struct.unpack(f">{magic[3]}I", content[4:start])
    expected = int(np.prod(shape, dtype=np.int64))
    if len(content) - start != expected:
        raise UserError(
            f"{path}: holds {len(content) - start} bytes of data, its header says {expected}; fetch it again"
        )
    return np.frombuffer(content, dtype=np.uint8, offset=start).reshape(shape)


def read_pair(folder: Path, split: str) -> tuple[np.ndarray, np.ndarray] | None:
    """Return images (n, H, W) or (n, H, W, 3) and labels (n,) of a split; None where it is not there."""
    images_path, labels_path = (find_idx(folder, name) for name in PAIRS[split])
    if images_path is None and labels_path is None:
        return None
    if images_path is None or labels_path is None:
        absent = PAIRS[split][0 if images_path is None else 1]
        raise UserError(f"{folder}: {absent}.gz: not there; its other half is")
    images, labels = read_idx(images_path), read_idx(labels_path)
    if labels.ndim != 1 or not (images.ndim == 3 or (images.ndim == 4 and images.shape[-1] == 3)):
        raise UserError(
            f"{images_path}: images of shape {images.shape} and labels of shape {labels.shape}; "
            "needed: (n, height, width) and (n,)"
        )
    if len(images) != len(labels):
        raise UserError(
            f"{images_path}: {len(images)} images, but {len(labels)} labels in {labels_path.name}"
        )
    return images, labels
