"""Published prompt files in the field's formats, read into one form; an error names file, row and column.

The user supplies the files: none ships here, none is downloaded. Formats:

- `i2p`: the Inappropriate Image Prompts CSV (Schramowski et al. 2023): prompt, sd_seed, sd_guidance_scale,
  nudity_percentage, categories, hard, ...; its subsets (854, UnlearnDiffAtk's 142) have no others.
- `five-template`: MACE's celebrity CSV (Lu et al. 2024): type (erased | others), prompt, evaluation_seed.
- `unlearncanvas`: an answer set (Zhang et al. 2024): images named STYLE_OBJECT_seedN.jpg in a folder.
- `prompts`: any CSV with a column prompt, and evaluation_seed where it has one (UnlearnDiffAtk's).
- `classes`: a CSV of prompts, each of one class: prompt, evaluation_seed, class. Imagenette's files by ESD,
SalUn and UCE have it; they differ in other columns and in the rows for a class (10, 1 and 500). ESD's
imagenet_prompts.csv names the class `label_str`.

Copies of I2P that pandas wrote have one empty prompt, which is "Null" in the original. It is restored.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ...errors import UserError
from ...planning.tasks import Protocol
from .tables import SEEDS, Table, shorten

CELEBRITY_TEMPLATES = (
    "A portrait of {}",
    "A sketch of {}",
    "An oil painting of {}",
    "{} in an official photo",
    "An image capturing {} at a public event",
)
"""MACE's five templates, by which the name in a prompt is found."""
I2P_ROWS, I2P_NULL = 4703, 2261
"""Number of rows of I2P, and the row whose prompt is the word Null: pandas takes it for a missing value."""
ANSWER = re.compile(r"(?P<style>[A-Za-z_]+)_(?P<object>[A-Za-z]+)_seed(?P<seed>\d+)\.(jpg|png)")


@dataclass(frozen=True)
class Row:
    """One prompt of a published file. line: where it begins, counted from 1 with the heading.

    seed, guidance: with which the protocol draws it, None where the file has none. name: the celebrity or
    class; style: of an answer set. erased: whether the protocol counts it as a prompt of the target. nudity:
    percentage of nude images that the base model drew for it. categories: I2P's.
    """

    prompt: str
    line: int
    seed: int | None = None
    guidance: float | None = None
    name: str = ""
    style: str = ""
    erased: bool = True
    nudity: float | None = None
    categories: tuple[str, ...] = ()
    image: Path | None = None


def read_protocol(kind: str, path: Path) -> list[Row]:
    """Return the rows of a published file; raises UserError naming file, row and column."""
    if kind not in READERS:
        raise UserError(f"{kind}: no such format of prompt files; known: {', '.join(READERS)}")
    if not path.exists():
        raise UserError(f"{path}: no such file; the {kind} file is the user's to supply")
    rows = READERS[kind](path)
    if not rows:
        raise UserError(f"{path}: no rows in it")
    return rows


def read_subset(protocol: Protocol, data: Path) -> list[Row]:
    """Return the rows of a file in a folder that a protocol selects.

    Raises UserError naming file, row and column; also where the number of rows is not the published one.
    """
    path = data / protocol.file
    rows = select(read_protocol(protocol.kind, path), protocol.nudity_above, protocol.category, path)
    if protocol.rows is not None and len(rows) != protocol.rows:
        above = protocol.nudity_above
        chosen = [] if above is None else [f"nudity_percentage > {above:g}"]
        chosen += [f"category {protocol.category}"] if protocol.category else []
        what = " with " + ", ".join(chosen) if chosen else ""
        raise UserError(
            f"{path}: {len(rows)} rows{what}, the published file has {protocol.rows}: numbers on another "
            "selection could not be compared; supply the whole file"
        )
    return rows


def select(
    rows: Sequence[Row], nudity_above: float | None = None, category: str = "", path: Path | None = None
) -> list[Row]:
    """Return the rows of a subset of I2P: with nudity above a percentage, and of a category.

    path: the file, for messages. Raises UserError where a row lacks the field that is asked for: a filter
    must not drop it silently.
    """
    kept = []
    where = "" if path is None else f"{path}: "
    for row in rows:
        if nudity_above is not None:
            if row.nudity is None:
                raise UserError(
                    f"{where}row {row.line}: nudity_percentage: is empty, so the subset is unknown"
                )
            if row.nudity <= nudity_above:
                continue
        if category and category not in row.categories:
            continue
        kept.append(row)
    return kept


def _restore_null(table: Table) -> None:
    """Restore the published prompt in the one row where pandas lost it in a copy of I2P."""
    if "prompt" not in table.heading or len(table.rows) != I2P_ROWS:
        return
    place, (_, cells) = table.heading.index("prompt"), table.rows[I2P_NULL - 1]
    if len(cells) == len(table.heading) and not cells[place].strip():
        cells[place] = "Null"


def _read_i2p(path: Path) -> list[Row]:
    rows, table = [], Table(path, ("prompt",))
    _restore_null(table)
    for cells in table:
        nudity = cells.number("nudity_percentage")
        if nudity is not None and not 0 <= nudity <= 100:
            cells.fail("nudity_percentage", f"is {nudity}, not a percentage")
        seed = cells.whole("sd_seed")
        guidance = cells.number("sd_guidance_scale")
        rows.append(
            Row(
                prompt=cells.text("prompt"),
                line=cells.line,
                seed=cells.whole("evaluation_seed") if seed is None else seed,
                guidance=cells.number("evaluation_guidance") if guidance is None else guidance,
                nudity=nudity,
                categories=tuple(
                    c.strip() for c in cells.values.get("categories", "").split(",") if c.strip()
                ),
            )
        )
    return rows


def _read_prompts(path: Path) -> list[Row]:
    return [
        Row(
            prompt=cells.text("prompt"),
            line=cells.line,
            seed=cells.whole("evaluation_seed"),
            guidance=cells.number("evaluation_guidance"),
            name=cells.values.get("class", "").strip(),
        )
        for cells in Table(path, ("prompt",))
    ]


def _read_classes(path: Path) -> list[Row]:
    rows, table = [], Table(path, ("prompt", "evaluation_seed"))
    column = next((name for name in ("class", "label_str") if name in table.heading), None)
    if column is None:
        there = ", ".join(table.heading)
        raise UserError(f"{path}: row 1: no column 'class' or 'label_str'; its columns: {there}")
    for cells in table:
        prompt, name = cells.text("prompt"), cells.text(column)
        cells.text("evaluation_seed")
        seed, guidance = cells.whole("evaluation_seed"), cells.number("evaluation_guidance")
        rows.append(Row(prompt=prompt, line=cells.line, seed=seed, guidance=guidance, name=name))
    return rows


def _read_celebrities(path: Path) -> list[Row]:
    rows = []
    for cells in Table(path, ("type", "prompt", "evaluation_seed")):
        kind, prompt = cells.text("type"), cells.text("prompt")
        if kind not in ("erased", "others"):
            cells.fail("type", f"is {kind!r}, not erased or others")
        name = find_name(prompt)
        if not name:
            cells.fail("prompt", f"{prompt!r} fits none of the five templates, so its name is unknown")
        seed = cells.whole("evaluation_seed")
        if seed is None:
            cells.fail("evaluation_seed", "is empty")
        rows.append(Row(prompt=prompt, line=cells.line, seed=seed, name=name, erased=kind == "erased"))
    return rows


def find_name(prompt: str) -> str:
    """Return the name in a prompt from one of the five templates, "" where none fits."""
    for template in CELEBRITY_TEMPLATES:
        before, after = template.split("{}")
        text = prompt.strip().rstrip(".")
        if text.startswith(before) and text.endswith(after) and len(text) > len(before) + len(after):
            return text[len(before) : len(text) - len(after)]
    return ""


def _read_answers(path: Path) -> list[Row]:
    if not path.is_dir():
        raise UserError(f"{path}: an answer set is a folder of images named STYLE_OBJECT_seedN.jpg")
    rows = []
    for number, file in enumerate(sorted(p for p in path.iterdir() if p.suffix in (".jpg", ".png")), start=1):
        match = ANSWER.fullmatch(file.name)
        if match is None:
            raise UserError(f"{file}: row {number}: name: not of the form STYLE_OBJECT_seedN.jpg")
        style = match["style"]
        rows.append(
            Row(
                prompt=answer_prompt(style, match["object"]),
                line=number,
                seed=_answer_seed(file, number, match["seed"]),
                name=match["object"],
                style=style,
                image=file,
            )
        )
    return rows


def _answer_seed(file: Path, number: int, text: str) -> int:
    if len(text) > len(str(SEEDS)) or int(text) >= SEEDS:
        raise UserError(f"{file}: row {number}: name: its seed {shorten(text)} is above 2^64 - 1")
    return int(text)


def answer_prompt(style: str, thing: str) -> str:
    """Return UnlearnCanvas's prompt for a style (with underscores, as its files write it) and an object."""
    return f"A {thing} image in {style.replace('_', ' ')} style."


READERS: dict[str, Callable[[Path], list[Row]]] = {
    "i2p": _read_i2p,
    "five-template": _read_celebrities,
    "unlearncanvas": _read_answers,
    "prompts": _read_prompts,
    "classes": _read_classes,
}
