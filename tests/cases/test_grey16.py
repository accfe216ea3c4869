"""Picture files of every mode against arrays of known values, read by one reader everywhere."""

import io
import struct
import warnings
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from unlearnbench.bench.errors import UserError
from unlearnbench.bench.judges.face import read_references
from unlearnbench.bench.pictures import read_picture
from unlearnbench.bench.worlds.hub.reference import embed_files
from unlearnbench.bench.worlds.images.data import read_images

GREYS = np.array([[0, 1, 127, 128], [200, 254, 255, 64]], np.uint8)
COLOURS = np.stack([GREYS, GREYS[::-1], GREYS[:, ::-1]], axis=2)


def _rgb(grey: np.ndarray) -> np.ndarray:
    return np.repeat(grey[..., None], 3, axis=2)


def _png(folder: Path, rows: np.ndarray, colour_type: int, depth: int, *chunks: tuple[bytes, bytes]) -> Path:
    """Write a PNG by hand: Pillow itself writes neither RGB of 16 bits nor a key of 16 bits."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    height, width = rows.shape[:2]
    data = b"".join(b"\0" + row.astype(">u2" if depth == 16 else ">u1").tobytes() for row in rows)
    head = struct.pack(">IIBBBBB", width, height, depth, colour_type, 0, 0, 0)
    path = folder / "picture.png"
    parts = [(b"IHDR", head), *chunks, (b"IDAT", zlib.compress(data)), (b"IEND", b"")]
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in parts))
    return path


def _save(folder: Path, image: Image.Image, suffix: str = ".png", **options: Any) -> Path:
    path = folder / f"picture{suffix}"
    image.save(path, **options)
    return path


def test_greys_of_16_bits_are_scaled_by_257(tmp_path: Path) -> None:
    assert np.array_equal(read_picture(_png(tmp_path, GREYS.astype(np.uint16) * 257, 0, 16)), _rgb(GREYS))
    fine = np.array([[0, 128, 129, 32767, 65535]], np.uint16)
    assert read_picture(_png(tmp_path, fine, 0, 16))[0, :, 0].tolist() == [0, 0, 1, 127, 255]


@pytest.mark.parametrize("order", ["<u2", ">u2"])
def test_a_tiff_of_16_bits(order: str, tmp_path: Path) -> None:
    values = GREYS.astype(np.uint16) * 257
    image = Image.fromarray(values.astype(order))
    assert np.array_equal(read_picture(_save(tmp_path, image, ".tif")), _rgb(GREYS))


def test_colours_of_16_bits(tmp_path: Path) -> None:
    path = _png(tmp_path, COLOURS.astype(np.uint16) * 257, 2, 16)
    assert np.array_equal(read_picture(path), COLOURS)


def test_grey_and_alpha_of_16_bits_lie_on_white(tmp_path: Path) -> None:
    values = np.stack([GREYS, np.where(GREYS > 100, 255, 0)], axis=2).astype(np.uint16) * 257
    expected = np.where(GREYS > 100, GREYS, 255)
    assert np.array_equal(read_picture(_png(tmp_path, values, 4, 16)), _rgb(expected))


def test_a_key_of_16_bits_is_white(tmp_path: Path) -> None:
    path = _png(tmp_path, GREYS.astype(np.uint16) * 257, 0, 16, (b"tRNS", struct.pack(">H", 128 * 257)))
    assert np.array_equal(read_picture(path), _rgb(np.where(GREYS == 128, 255, GREYS)))
    path = _png(tmp_path, COLOURS.astype(np.uint16) * 257, 2, 16,
                (b"tRNS", struct.pack(">HHH", *(int(v) * 257 for v in COLOURS[0, 1]))))  # fmt: skip
    expected = COLOURS.copy()
    expected[(COLOURS[0, 1] == COLOURS).all(axis=2)] = 255
    assert np.array_equal(read_picture(path), expected)


@pytest.mark.parametrize("alpha", [0, 51, 255])
@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_alpha_lies_on_white(alpha: int, mode: str, tmp_path: Path) -> None:
    values = COLOURS if mode == "RGBA" else GREYS[..., None]
    image = Image.fromarray(np.concatenate([values, np.full((2, 4, 1), alpha, np.uint8)], axis=2), mode)
    expected = values.astype(float) * alpha / 255 + 255 * (1 - alpha / 255)
    found = read_picture(_save(tmp_path, image)).astype(float)
    assert np.abs(found - np.broadcast_to(expected, (2, 4, 3))).max() <= 1


def test_keys_of_palettes_greys_and_colours_are_white(tmp_path: Path) -> None:
    palette = Image.fromarray(np.array([[0, 1], [2, 1]], np.uint8), "P")
    palette.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255])
    expected = np.array([[[255, 0, 0], [255] * 3], [[0, 0, 255], [255] * 3]], np.uint8)
    assert np.array_equal(read_picture(_save(tmp_path, palette, transparency=1)), expected)
    assert np.array_equal(read_picture(_save(tmp_path, palette, ".gif", transparency=1)), expected)
    grey = Image.fromarray(GREYS)
    assert np.array_equal(
        read_picture(_save(tmp_path, grey, transparency=0)), _rgb(np.where(GREYS == 0, 255, GREYS))
    )
    found = read_picture(
        _save(tmp_path, Image.fromarray(COLOURS), transparency=tuple(map(int, COLOURS[0, 0])))
    )
    assert found[0, 0].tolist() == [255] * 3


def test_a_palette_of_several_alphas(tmp_path: Path) -> None:
    palette = Image.fromarray(np.array([[0, 1]], np.uint8), "P")
    palette.putpalette([255, 0, 0, 0, 0, 0])
    assert read_picture(_save(tmp_path, palette, transparency=bytes([255, 51]))).tolist() == [
        [[255, 0, 0], [204, 204, 204]]
    ]


def test_one_bit(tmp_path: Path) -> None:
    bits = np.array([[0, 255], [255, 0]], np.uint8)
    image = Image.fromarray(bits).convert("1")
    for suffix in (".png", ".tif", ".bmp", ".gif"):
        assert np.array_equal(read_picture(_save(tmp_path, image, suffix)), _rgb(bits))


def test_cmyk(tmp_path: Path) -> None:
    ink = np.zeros((16, 16, 4), np.uint8)
    ink[..., 1], ink[..., 3] = 255, 51  # magenta and a fifth of black
    for suffix, options in ((".tif", {}), (".jpg", {"quality": 100, "subsampling": 0})):
        found = read_picture(_save(tmp_path, Image.fromarray(ink, "CMYK"), suffix, **options))
        assert np.abs(found.astype(int) - [204, 0, 204]).max() <= 3, suffix


@pytest.mark.parametrize("turn", range(1, 9))
def test_the_picture_is_turned_as_its_exif_says(turn: int, tmp_path: Path) -> None:
    undo = {1: lambda a: a, 2: np.fliplr, 3: lambda a: np.rot90(a, 2), 4: np.flipud,
            5: lambda a: a.transpose(1, 0, 2), 6: lambda a: np.rot90(a, 1),
            7: lambda a: np.rot90(a, 2).transpose(1, 0, 2), 8: lambda a: np.rot90(a, -1)}[turn]  # fmt: skip
    exif = Image.Exif()
    exif[0x0112] = turn
    image = Image.fromarray(np.ascontiguousarray(undo(COLOURS)))
    assert np.array_equal(read_picture(_save(tmp_path, image, ".png", exif=exif)), COLOURS)
    grey = Image.fromarray(np.ascontiguousarray(undo(_rgb(GREYS))[..., 0].astype(np.uint16) * 257))
    assert np.array_equal(read_picture(_save(tmp_path, grey, ".png", exif=exif)), _rgb(GREYS))


def test_floats(tmp_path: Path) -> None:
    image = Image.fromarray(GREYS.astype(np.float32) / 255)
    assert np.array_equal(read_picture(_save(tmp_path, image, ".tif")), _rgb(GREYS))
    for bad in (float("nan"), 2.0, -0.5, float("inf")):
        values = np.full((2, 2), 0.5, np.float32)
        values[0, 0] = bad
        path = _save(tmp_path, Image.fromarray(values), ".tif")
        with pytest.raises(UserError, match=r"picture\.tif: .*floats do not lie in"):
            read_picture(path)


def test_whole_numbers_of_no_known_range_are_refused(tmp_path: Path) -> None:
    path = _save(tmp_path, Image.fromarray(GREYS.astype(np.int32)), ".tif")
    with pytest.raises(UserError, match=r"picture\.tif: .*no known range"):
        read_picture(path)


def test_the_first_frame_of_an_animation(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "blue")]
    for suffix in (".gif", ".webp", ".png", ".tif"):
        options = {"lossless": True} if suffix == ".webp" else {}
        path = _save(tmp_path, frames[0], suffix, save_all=True, append_images=frames[1:], **options)
        assert np.array_equal(read_picture(path)[0, 0], [255, 0, 0]), suffix


def _damaged(folder: Path, name: str) -> Path:
    path = folder / "picture.png"
    whole = io.BytesIO()
    Image.effect_noise((64, 64), 50).save(whole, "PNG")
    content = {
        "empty": b"",
        "truncated": whole.getvalue()[:-200],
        "text": b"not a picture",
        "postscript": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 1 1\n",
        "flipped": whole.getvalue()[:60] + b"\xff" * 20 + whole.getvalue()[80:],
    }.get(name)
    if content is not None:
        path.write_bytes(content)
    elif name == "bomb":
        _png(folder, np.zeros((1, 1), np.uint8), 0, 8)
        data = bytearray(path.read_bytes())
        data[16:24] = struct.pack(">II", 60000, 60000)
        data[29:33] = struct.pack(">I", zlib.crc32(bytes(data[12:29])))
        path.write_bytes(bytes(data))
    return path


@pytest.mark.parametrize("name", ["empty", "truncated", "text", "postscript", "flipped", "bomb", "missing"])
def test_damaged_files_are_refused_by_name(name: str, tmp_path: Path) -> None:
    path = _damaged(tmp_path, name)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(UserError) as caught:
            read_picture(path)
    assert str(caught.value).startswith(f"{path}: not an image that opens (")
    assert "\n" not in str(caught.value)


class _Seen:
    """An extractor and a face embedder that keep what they are given."""

    def __init__(self) -> None:
        self.images: list[np.ndarray] = []

    def embed_images(self, images: Any) -> np.ndarray:
        self.images += list(images)
        return np.zeros((len(images), 2))

    def embed(self, image: np.ndarray) -> np.ndarray:
        self.images.append(image)
        return np.zeros((1, 128))


def test_every_reader_of_pictures_is_this_one(tmp_path: Path) -> None:
    values = np.kron(GREYS[:1, :2].astype(np.uint16) * 257, np.ones((4, 2), np.uint16))  # 4 x 4 px
    for name in ("dark", "bright"):
        (tmp_path / "data" / name).mkdir(parents=True)
        for i in range(2):
            level = values if name == "dark" else 65535 - values
            Image.fromarray(level).save(tmp_path / "data" / name / f"{i}.png")
    files = sorted((tmp_path / "data").rglob("*.png"))
    expected = [read_picture(path) for path in files]
    assert expected[0].max() == 255
    assert expected[2].max() <= 1
    data = read_images(tmp_path / "data", 4)
    assert data.train.images[0, :, 0, 0].tolist() == [255] * 3
    assert data.train.images[1].max() <= 1
    seen = _Seen()
    embed_files(files, seen)
    read_references(tmp_path / "data", ["bright", "dark"], seen)
    for found, known in zip(seen.images, expected * 2, strict=True):
        assert np.array_equal(found, known)


def test_no_other_module_opens_a_users_picture() -> None:
    """What else opens pictures reads what this project wrote itself, or the art that ships."""
    top = Path(__file__).parents[2]
    own = {"bench/pictures.py", "bench/models/sampling.py", "bench/worlds/emoji/recipe/art.py",
           "bench/worlds/emoji/compose.py", "bench/records/sheets.py",
           "leaderboard/audit/page.py", "bench/labels/images.py", "bench/checking/validate.py",
           "leaderboard/plots/comparison.py", "leaderboard/plots/thumbnails.py",
           "bench/records/load.py"}  # fmt: skip
    found = {
        path.relative_to(top).as_posix()
        for folder in ("bench", "leaderboard", "methods")
        for path in (top / folder).rglob("*.py")
        if "Image.open(" in path.read_text(encoding="utf-8")
    }
    assert found <= own
