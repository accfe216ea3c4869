"""Fetch the openly licensed emoji art with npm and render it into the committed sprite file."""

import io
import json
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from PIL import Image

from ....errors import UserError
from ....files import replace_file
from ..spec import WorldSpec

PACKAGES = {
    "noto": "emoji-datasource-google@16.0.0",
    "twemoji": "@twemoji/svg@15.0.0",
    "openmoji": "openmoji@17.0.0",
    "fluent": "fluentui-emoji@1.3.0",
    "fluent-3d": "@lobehub/fluent-emoji-3d@1.1.0",
    "names": "unicode-emoji-json@0.9.0",
}
SPRITE_PIXELS = 64


def fetch_art(folder: Path) -> dict[str, Path]:
    """Download and unpack each package once; raises UserError when npm is missing or refuses."""
    if shutil.which("npm") is None:
        raise UserError(
            "npm is not installed: rebuilding the sprites fetches the art with it (training does not)"
        )
    folder.mkdir(parents=True, exist_ok=True)
    return {key: _fetch_package(package, folder) for key, package in PACKAGES.items()}


def _fetch_package(package: str, folder: Path) -> Path:
    target = folder / package.strip("@").replace("/", "-")
    if target.is_dir():
        return target
    done = subprocess.run(
        ["npm", "pack", "--silent", package], cwd=folder, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise UserError(f"npm could not fetch {package}: {done.stderr.strip().splitlines()[-1:]}")
    archive = folder / done.stdout.strip().splitlines()[-1]
    with tempfile.TemporaryDirectory(dir=folder, prefix=".unpacked-") as scratch:
        with tarfile.open(archive) as tar:
            tar.extractall(scratch, filter="data")
        (Path(scratch) / "package").rename(target)
    archive.unlink()
    return target


def _codes(emoji: str, width: int) -> list[str]:
    full = [f"{ord(c):0{width}x}" for c in emoji]
    bare = [c for c in full if c.lstrip("0") != "fe0f"]
    return ["-".join(full), "-".join(bare), "-".join([*full, "fe0f"])]


def _slugs(name: str) -> list[str]:
    slug = name.lower().translate(str.maketrans(" ", "-", "’':.,"))
    return [slug, f"{slug}-default"]


def _candidates(art: dict[str, Path]) -> dict[str, Callable[[str, str], list[Path]]]:
    """Return art set -> a function from an emoji (character, Unicode name) to the files that may hold it."""

    def fluent(kind: str) -> Callable[[str, str], list[Path]]:
        return lambda emoji, name: [art["fluent"] / "icons" / kind / f"{s}.svg" for s in _slugs(name)]

    def openmoji(kind: str) -> Callable[[str, str], list[Path]]:
        return lambda emoji, name: [
            art["openmoji"] / kind / "svg" / f"{c.upper()}.svg" for c in _codes(emoji, 1)
        ]

    return {
        "noto": lambda e, n: [art["noto"] / "img/google/64" / f"{c}.png" for c in _codes(e, 4)],
        "twemoji": lambda e, n: [art["twemoji"] / f"{c}.svg" for c in _codes(e, 1)],
        "openmoji": openmoji("color"),
        "openmoji-line": openmoji("black"),
        "fluent-flat": fluent("flat"),
        "fluent-stencil": fluent("high-contrast"),
        "fluent-3d": lambda e, n: [art["fluent-3d"] / "assets" / f"{c}.webp" for c in _codes(e, 1)],
    }


def _render(path: Path) -> Image.Image:
    """Render one drawing, cropped to its content so that every art set fills the sprite alike."""
    if path.suffix == ".svg":
        import resvg_py  # only the rebuilding of sprites needs it (extra `art`)

        side = 4 * SPRITE_PIXELS
        data = resvg_py.svg_to_bytes(svg_path=str(path), width=side, height=side)
        image = Image.open(io.BytesIO(bytes(data))).convert("RGBA")
    else:
        image = Image.open(path).convert("RGBA")
    drawn = image.getchannel("A").point(lambda a: 255 * (a > 8)).getbbox()
    if drawn is None:
        raise UserError(f"{path}: an empty drawing")
    left, top, right, bottom = drawn
    side = max(right - left, bottom - top)
    square = Image.new("RGBA", (side, side))
    square.paste(
        image.crop((left, top, right, bottom)), ((side - right + left) // 2, (side - bottom + top) // 2)
    )
    premultiplied = square.convert("RGBa").resize((SPRITE_PIXELS, SPRITE_PIXELS), Image.Resampling.LANCZOS)
    return premultiplied.convert("RGBA")


def render_sprites(spec: WorldSpec, art_folder: Path, target: Path) -> int:
    """Render every (subject, style) of a world to 64 px RGBA PNG in one parquet file; return their number."""
    try:
        import resvg_py  # noqa: F401
    except ImportError:
        raise UserError("resvg-py is not installed: pip install 'unlearnbench[art]'") from None
    art = fetch_art(art_folder)
    names = json.loads((art["names"] / "data-by-emoji.json").read_text(encoding="utf-8"))
    by_name = {entry["name"]: emoji for emoji, entry in names.items()}
    candidates = _candidates(art)
    rows: list[dict[str, Any]] = []
    for subject in spec.subject_names:
        name = spec.art_names.get(subject, subject)
        if name not in by_name:
            raise UserError(
                f"{spec.name}: subject {subject!r}: no emoji is named {name!r} in unicode-emoji-json"
            )
        for style, art_set in spec.styles.items():
            found = [p for p in candidates[art_set](by_name[name], name) if p.exists()]
            if not found:
                raise UserError(f"{spec.name}: subject {subject!r} is not drawn in the art set {art_set!r}")
            buffer = io.BytesIO()
            _render(found[0]).save(buffer, "PNG", optimize=True)
            image = {"bytes": buffer.getvalue(), "path": None}
            rows.append({"subject": subject, "style": style, "emoji": by_name[name], "image": image})
    _write(rows, target)
    return len(rows)


def _write(rows: list[dict[str, Any]], target: Path) -> None:
    import datasets

    features = datasets.Features(
        subject=datasets.Value("string"),
        style=datasets.Value("string"),
        emoji=datasets.Value("string"),
        image=datasets.Image(),
    )
    replace_file(target, datasets.Dataset.from_list(rows, features=features).to_parquet)
