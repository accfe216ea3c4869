"""`show` and `watch`: look at a record in the terminal, and at a folder while its records appear."""

import argparse
import sys
import time
import webbrowser
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...errors import UserError
from ...files import replace_file
from ..common import FAILED, open_console

if TYPE_CHECKING:
    import pandas as pd
    from rich.table import Table

    from ...records.record import PointInfo, Record

PROMPTS, IMAGES, COLUMNS = 10, 24, 6
"""Prompts listed, images on a sheet, and images in a row of it."""
CAPTION = 14
"""Height in pixels of the line of text under an image of a sheet."""


def show_record(options: argparse.Namespace) -> int:
    """Print a record's values and its failing prompts; return 1 where its run failed."""
    from ...records.chosen import choose_point
    from ...records.load import load_one

    loaded = load_one(options.record)
    record = loaded.record
    print(f"{record.task.id}  {record.method.name}  seed {record.seed}  ({record.suite}, {record.created})")
    for line in _notes(record):
        print(line)
    if record.status != "ok" or loaded.items is None:
        print(f"failed: {record.error}")
        return FAILED
    chosen = choose_point(loaded, options.point)
    console = open_console()
    if len(record.points) > 1:
        console.print(_point_table(record, chosen.point))
    console.print(make_value_table(record, chosen.point))
    rows = find_failing(loaded.items, chosen.point.index)
    _print_failing(rows)
    if options.sheet:
        write_sheet(options.record, chosen.point.label, options.sheet, options.store)
    if options.open:
        open_page(options.record)
    return 0


def _notes(record: "Record") -> Iterator[str]:
    if record.mark:
        yield f"{record.mark}: shown, never ranked or published"
    if record.tags:
        yield "tags: " + ", ".join(f"{name}={value}" for name, value in record.tags.items())
    if record.command:
        yield f"made by: {record.command}"


def make_value_table(record: "Record", point: "PointInfo") -> "Table":
    """Return a table of a point's values with their intervals; the reason stands where one is missing."""
    from rich.markup import escape
    from rich.table import Table

    from ...records.record import name_point

    table = Table(title=name_point(point.label, point.step), title_justify="left", box=None, pad_edge=False)
    table.add_column("metric", no_wrap=True)
    table.add_column("value", justify="right")
    table.add_column("95 %", no_wrap=True)
    table.add_column("images", justify="right")
    table.add_column("why it is missing", overflow="fold")
    for name, value in point.values.items():
        between = "" if value.low is None else f"{value.low:.3f} to {value.high:.3f}"
        shown = "missing" if value.value is None else f"{value.value:.3f}"
        table.add_row(name, shown, between, str(value.n), escape(value.missing or ""))
    return table


def _point_table(record: "Record", chosen: "PointInfo") -> "Table":
    from rich.table import Table

    table = Table(title="points", title_justify="left", box=None, pad_edge=False)
    for name in ("step", "UA", "VA", "in_prompt", ""):
        table.add_column(name, justify="left" if name == "" else "right")
    for point in record.points:
        values = [point.values.get(name) for name in ("UA", "VA", "in_prompt")]
        texts = ["-" if v is None or v.value is None else f"{v.value:.3f}" for v in values]
        table.add_row(point.label, *texts, "shown below" if point is chosen else "")
    return table


def find_failing(items: "pd.DataFrame", point: int) -> "pd.DataFrame":
    """Return the item rows of a point's failing images: target still there, or an attribute is not drawn."""
    from ...._records import FAILING, fails

    rows = items[items["point"] == point]
    kept = [part[fails(part, split)] for split in FAILING if len(part := rows[rows["split"] == split])]
    import pandas as pd

    return pd.concat(kept) if kept else rows.iloc[:0]


def _print_failing(rows: "pd.DataFrame") -> None:
    for split, what in (
        ("forget", "the target is still there"),
        ("indirect", "the target is there, unasked by name"),
        ("retain", "an attribute that was asked for is not there"),
    ):
        own = rows[rows["split"] == split]
        if own.empty:
            continue
        print(f"{split}: {len(own)} images fail: {what}")
        for prompt, count in list(own["prompt"].value_counts().items())[:PROMPTS]:
            print(f"  {count} x {prompt}")


def write_sheet(path: Path, point: str, target: Path, store: Path | None) -> None:
    """Write the failing images of a record as a PNG: forget, then indirect, then retain, with prompts."""
    from ...._records import FAILING, failing_images
    from ...._results import read_measured

    record, tiles = read_measured(path), list[tuple[Any, str]]()
    for split in FAILING:
        found = failing_images(record, split=split, point=point, limit=IMAGES - len(tiles), store=store)
        tiles += [
            (image, f"{split}: {prompt}") for image, prompt in zip(found, found.rows["prompt"], strict=True)
        ]
    if not tiles:
        print(f"{target}: not written: no failing image, or none in the store any more", file=sys.stderr)
        return
    picture = _paste(tiles)
    replace_file(target, lambda scratch: picture.save(scratch, "PNG"))
    print(f"sheet of {len(tiles)} failing images: {target}")


def _paste(tiles: list[tuple[Any, str]]) -> Any:
    from PIL import Image, ImageDraw

    scale = max(1, 128 // tiles[0][0].width)
    width, height = tiles[0][0].width * scale, tiles[0][0].height * scale
    lines = -(-len(tiles) // COLUMNS)
    sheet = Image.new("RGB", (min(len(tiles), COLUMNS) * width, lines * (height + CAPTION)), "white")
    draw = ImageDraw.Draw(sheet)
    for number, (image, text) in enumerate(tiles):
        left, top = number % COLUMNS * width, number // COLUMNS * (height + CAPTION)
        sheet.paste(image.resize((width, height), Image.Resampling.NEAREST), (left, top))
        draw.text((left + 2, top + height + 1), text[: width // 6], fill="black")
    return sheet


def open_page(path: Path) -> None:
    """Make the page of the record's folder, and open it in the browser."""
    from ..boards import build_page

    page = build_page([path.parent], None)
    print(f"page: {page}")
    if not webbrowser.open(page.resolve().as_uri()):
        print("no browser opens here; open the page by hand", file=sys.stderr)


def watch_folder(options: argparse.Namespace) -> int:
    """Print one line for each record of a folder, and for each new one, until --records are there."""
    from ...records.record import read_record
    from ...records.statements import list_records
    from ...running.assemble import brief

    seen: dict[Path, int] = {}
    if options.every <= 0:
        raise UserError(f"--every {options.every:g}: must be above 0 seconds")
    if not options.folder.is_dir():
        if options.once:
            raise UserError(f"{options.folder}: no such folder of records")
        print(f"{options.folder}: not there yet; waiting for its first record", file=sys.stderr, flush=True)
    while True:
        for path in list_records(options.folder):
            written = path.stat().st_mtime_ns if path.exists() else seen.get(path, 0)  # packed meanwhile
            if seen.get(path) == written:
                continue
            seen[path] = written
            try:
                print(brief(read_record(path)), flush=True)
            except UserError as error:  # another kind of JSON file lies there
                print(f"{path.name}: {error}", file=sys.stderr, flush=True)
        if options.once or (options.records is not None and len(seen) >= options.records):
            return 0
        time.sleep(options.every)


def add_show(commands: Any) -> None:
    """Add `show` and `watch` to the command line."""
    show = commands.add_parser("show", help="a record in the terminal: values, and what failed")
    show.add_argument("record", type=Path, help="the record (CELL.json)")
    show.add_argument("--point", help="label of the point (default: the shown one, else the last)")
    show.add_argument("--sheet", type=Path, metavar="PNG", help="write the failing images as one picture")
    show.add_argument("--store", type=Path, help="folder of the cache that holds the images")
    show.add_argument("--open", action="store_true", help="make the page of its folder, and open it")
    show.set_defaults(run=show_record)
    watch = commands.add_parser("watch", help="print a line for each record while a run writes them")
    watch.add_argument("folder", type=Path, help="folder of records, such as runs/demo")
    watch.add_argument("--every", type=float, default=2.0, metavar="SECONDS", help="how often (default 2)")
    watch.add_argument("--records", type=int, metavar="N", help="end once N records are there")
    watch.add_argument("--once", action="store_true", help="print those that are there, and end")
    watch.set_defaults(run=watch_folder)
