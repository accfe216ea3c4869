"""The only reader of picture files that a user supplies; it returns RGB of eight bits for all of them."""

import struct
import zlib
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from .errors import UserError

READING_VERSION = 2
"""Bump when a file gives other pixels: it is part of every key that depends on a user's pictures."""
PICTURES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff")
"""Suffixes of picture files in a folder."""
NOT_READ = {"EPS", "WMF", "FPX", "MIC", "BUFR", "GRIB", "HDF5", "MPEG"}
"""Formats that Pillow opens through another program, or cannot read as pixels."""
BROKEN = (OSError, SyntaxError, ValueError, TypeError, LookupError, EOFError, OverflowError, MemoryError,
          struct.error, zlib.error, Image.DecompressionBombError)  # fmt: skip
"""Exceptions that Pillow raises on damaged files."""


def read_picture(path: Path) -> np.ndarray:
    """Return the pixels (H, W, 3) uint8 of a picture file; raises UserError as `open_picture`."""
    return np.asarray(open_picture(path))


def open_picture(path: Path) -> Image.Image:
    """Return a picture file as RGB, rotated as its EXIF says, with transparent parts on white.

    Of an animation it is the first frame. 16-bit greys are scaled by 257; floats must be in [0, 1]. Colour
    profiles are not applied. Raises UserError naming the file where it is no picture, damaged or too large,
    or where its numbers have no known range.
    """
    Image.init()
    try:
        with Image.open(path, formats=[name for name in Image.OPEN if name not in NOT_READ]) as image:
            return to_rgb(image)
    except BROKEN as error:
        reason = first_line(error).removesuffix(f" {str(path)!r}")
        raise UserError(f"{path}: not an image that opens ({reason}); mend or remove it") from None


def to_rgb(image: Image.Image) -> Image.Image:
    """Return an opened picture as `open_picture` does; ValueError where its numbers have no known range."""
    image.load()
    turned = ImageOps.exif_transpose(image)
    grey = _scale_grey(image, turned)
    if grey is not None:
        return grey
    if not turned.has_transparency_data:
        return turned.convert("RGB")
    key = turned.info.get("transparency")
    if turned.mode == "RGB" and isinstance(key, tuple) and max(key) > 255:  # of 16 bits, as the pixels were
        turned.info["transparency"] = tuple(value >> 8 for value in key)
    ground = Image.new("RGBA", turned.size, "white")
    return Image.alpha_composite(ground, turned.convert("RGBA")).convert("RGB")


def _scale_grey(opened: Image.Image, turned: Image.Image) -> Image.Image | None:
    """Return a picture of one channel with more than eight bits as RGB; None where it has another mode."""
    if turned.mode != "F" and not turned.mode.startswith("I"):
        return None
    values = np.asarray(turned).astype(np.float64)
    if turned.mode == "F":
        if not (np.isfinite(values).all() and values.min() >= 0 and values.max() <= 1):
            raise ValueError("its floats do not lie in [0, 1]")
        most = 1.0
    else:
        most = float(_most(opened))
        if values.min() < 0 or values.max() > most:
            raise ValueError("its whole numbers have no known range")
    grey = (values / most * 255).round().astype(np.uint8)
    key = turned.info.get("transparency")
    if isinstance(key, int):
        grey[values == key] = 255
    return Image.fromarray(grey).convert("RGB")


def _most(image: Image.Image) -> int:
    """Return the number that means white in a picture of whole numbers; ValueError where it is unknown."""
    tags = getattr(image, "tag_v2", None)
    if tags is not None:
        bits, kind = tags.get(258, (1,))[0], tags.get(339, (1,))[0]
        if kind != 1 or bits > 16:
            raise ValueError(f"whole numbers of {bits} bits have no known range")
        return int(2**bits - 1)
    if image.mode.startswith("I;16") or image.format in ("PNG", "PPM"):
        return 2**16 - 1
    raise ValueError("its whole numbers have no known range")


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message, or its type where the message is empty."""
    return next(iter(str(error).splitlines()), type(error).__name__)
