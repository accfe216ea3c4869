"""Read a folder of images with their prompts: a CSV, a Hugging Face image folder, or file names."""

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...errors import UserError
from ...pictures import PICTURES
from ...planning.tasks import Task
from ...unlearning.texts import read_lines
from ...worlds.hub.protocols import ANSWER, read_protocol
from ...worlds.hub.tables import SEEDS, Table

KINDS = ("subject", "style", "background")
SPLITS = ("forget", "indirect", "retain")
LISTS = ("metadata.csv", "metadata.jsonl", "prompts.csv")
"""Files in a folder that list its images: the first two as the `imagefolder` of Hugging Face datasets."""
NAMED = re.compile(r"(?P<prompt>.+?)[_-]?seed[_-]?(?P<seed>\d{1,20})", re.IGNORECASE)
"""Stem of an image that is named by its prompt and seed: `a_photo_of_a_fox_seed3`."""


@dataclass(frozen=True)
class ReadyImage:
    """One image that exists already. where: file and row, for messages.

    prompt: as written, or of a file name, where underscores stand for spaces. split: "" = that of the task's
    prompt of these words. asked: attributes that its prompt asks for, by kind.
    """

    path: Path
    where: str
    prompt: str
    seed: int | None = None
    split: str = ""
    asked: tuple[tuple[str, str], ...] = ()
    is_named: bool = False
    """Whether the prompt was read from the file name, which keeps no punctuation."""


def read_ready(folder: Path, listing: Path | None, task: Task) -> list[ReadyImage]:
    """Return the images of a folder with their prompts, in the order of their list or of their names.

    listing: a CSV (file, prompt, and seed, split, subject, style, background where it has them) or JSON lines
    of these; None: one of LISTS in the folder, else those in its subfolders, each of which lists its own
    folder (`train/`, `test/` of an image folder), else the file names. Raises UserError naming file and row
    where an image is not there, is listed twice, or lacks its prompt, and where images are not listed.
    """
    if not folder.is_dir():
        raise UserError(f"--images {folder}: no such folder")
    files = sorted(folder.rglob("*"))
    lists = [(listing, folder)] if listing else [(path, path.parent) for path in _find_lists(folder, files)]
    pictures = [path for path in files if path.suffix.lower() in PICTURES]
    if not pictures:
        raise UserError(f"--images {folder}: no images in it ({', '.join(PICTURES)})")
    if not lists:
        return _read_names(folder, pictures, task)
    found: list[ReadyImage] = []
    for path, place in lists:
        read = _read_json_lines if path.suffix == ".jsonl" else _read_csv
        found += read(path, place)
    _check_files(found, pictures, lists[0][0] if len(lists) == 1 else folder)
    return found


def _find_lists(folder: Path, files: Sequence[Path]) -> list[Path]:
    """Return the first of LISTS in a folder, else in each folder below it. files: all that is below it."""
    found: dict[Path, Path] = {}
    for name in LISTS:
        for path in files:
            if path.name == name and path.is_file():
                found.setdefault(path.parent, path)
    return [found[folder]] if folder in found else [found[place] for place in sorted(found)]


def _check_files(found: Sequence[ReadyImage], pictures: Sequence[Path], listing: Path) -> None:
    seen: set[Path] = set()
    for image in found:
        if not image.path.is_file():
            raise UserError(f"{image.where}: file: no such image: {image.path}")
        if image.path in seen:
            raise UserError(f"{image.where}: file: {image.path.name} is listed twice")
        seen.add(image.path)
    if not found:
        raise UserError(f"{listing}: lists no image")
    left = [path for path in pictures if path not in seen]
    if left:
        raise UserError(
            f"{listing}: does not list {left[0].name}, one of {len(left)} images; a part of an answer set is "
            "no answer: list it or move it away"
        )


def _read_csv(path: Path, folder: Path) -> Iterator[ReadyImage]:
    table = Table(path, ())
    file = _column(path, table.heading, "file", "file_name", "filename", "path", "image")
    prompt = _column(path, table.heading, "prompt", "text", "caption")
    for cells in table:
        values = {name: value.strip() for name, value in cells.values.items()}
        yield _make(f"{path}: row {cells.line}", folder, cells.text(file), cells.text(prompt), values)


def _read_json_lines(path: Path, folder: Path) -> Iterator[ReadyImage]:
    for number, line in enumerate(read_lines(path), start=1):
        if not line.strip():
            continue
        where = f"{path}: row {number}"
        try:
            values = json.loads(line)
        except ValueError as error:
            raise UserError(f"{where}: not valid JSON: {error}") from None
        if not isinstance(values, dict):
            raise UserError(f"{where}: must be a table of fields")
        texts = {str(name): "" if value is None else str(value).strip() for name, value in values.items()}
        file = _column(path, list(texts), "file", "file_name", "image", row=number)
        prompt = _column(path, list(texts), "prompt", "text", "caption", row=number)
        if not texts[prompt]:
            raise UserError(f"{where}: {prompt}: is empty")
        yield _make(where, folder, texts[file], texts[prompt], texts)


def _column(path: Path, heading: Sequence[str], *names: str, row: int = 1) -> str:
    found = next((name for name in names if name in heading), None)
    if found is None:
        there = ", ".join(heading) or "none"
        raise UserError(f"{path}: row {row}: no column {names[0]!r}; its columns: {there}")
    return found


def _make(where: str, folder: Path, file: str, prompt: str, values: dict[str, Any]) -> ReadyImage:
    split = values.get("split", "")
    if split not in ("", *SPLITS):
        raise UserError(f"{where}: split: {split!r}: is one of {', '.join(SPLITS)}")
    path = (folder / file).resolve()
    if folder.resolve() not in path.parents:
        raise UserError(f"{where}: file: {file}: lies outside {folder}")
    asked = tuple((kind, values[kind]) for kind in KINDS if values.get(kind))
    text = values.get("seed", "") or values.get("evaluation_seed", "")
    return ReadyImage(folder / file, where, prompt, _seed(where, text), split, asked)


def _seed(where: str, text: str) -> int | None:
    if not text:
        return None
    if not text.isdecimal() or int(text) >= SEEDS:
        raise UserError(f"{where}: seed: {text!r:.40} is no whole number from 0 to 2^64 - 1")
    return int(text)


def _read_names(folder: Path, pictures: Sequence[Path], task: Task) -> list[ReadyImage]:
    """Return images by their names: of an UnlearnCanvas answer set, or PROMPT_seedN."""
    if task.file.crossed is not None and all(ANSWER.fullmatch(path.name) for path in pictures):
        if any(path.parent != folder for path in pictures):
            raise UserError(f"--images {folder}: has folders in it; give the folder of one answer set")
        rows = read_protocol("unlearncanvas", folder)
        return [ReadyImage(r.image or folder, str(r.image), r.prompt, r.seed) for r in rows]
    return [_read_name(path) for path in pictures]


def _read_name(path: Path) -> ReadyImage:
    match = NAMED.fullmatch(path.stem)
    if match is None:
        raise UserError(
            f"{path}: its prompt is unknown: name it PROMPT_seedN, or list the images in {LISTS[-1]} "
            "(columns file, prompt, seed)"
        )
    prompt = match["prompt"].replace("_", " ").strip()
    return ReadyImage(path, str(path), prompt, _seed(str(path), match["seed"]), is_named=True)


def plain(text: str) -> str:
    """Return a prompt as a file name keeps it: letters and digits with single spaces, in small letters."""
    return " ".join(re.findall(r"\w+", text.replace("_", " ").casefold()))
