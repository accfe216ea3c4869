"""`rate`: preference scores of records' images, and LPIPS to the base model's, by weights of the user's."""

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...errors import UserError
from ...files import create_file
from ..common import add_machine, open_console, read_place

if TYPE_CHECKING:
    from ...measuring.ratings import Raters

FILES = {
    "--hpsv2": "HPS_v2.1_compressed.pt of the hub's xswu/HPSv2",
    "--lpips": "torchvision's alexnet-owt-7be5be79.pth",
}
"""Option -> the file of weights that it names."""


def rate_records(options: argparse.Namespace) -> int:
    """Rate the images of records; print the values, and write them as a CSV."""
    import pandas as pd

    from ...._records import load_entries

    if options.out.exists():
        raise UserError(f"--out {options.out}: is there already; name another file")
    entries = load_entries(options.records)
    for entry in entries:
        if entry.record.source != "measured":
            raise UserError(f"{entry.name}: source: its images were not drawn here, so no store holds them")
    raters, weights = _open_raters(options)
    rows: list[dict[str, Any]] = []
    for number, entry in enumerate(entries, 1):
        rows += _rate(entry, entries, raters, weights, options.point, f"[{number}/{len(entries)}] ")
    table = pd.DataFrame(rows)
    create_file(options.out, table.to_csv(index=False).encode())
    _print(rows)
    print(f"{len(rows)} values of {len(entries)} records: {options.out}; they are reported, never ranked")
    return 0


def _open_raters(options: argparse.Namespace) -> "tuple[Raters, dict[str, str]]":
    """Return the models, and the digest of each one's weights; UserError before anything is opened."""
    from ...models.hub import find

    places: dict[str, Path] = {}
    if options.pickscore:
        places["PickScore"] = find(options.pickscore)
    for option, name in (("--hpsv2", "HPSv2"), ("--lpips", "LPIPS")):
        path = getattr(options, option.removeprefix("--"))
        if path is not None and not path.is_file():
            raise UserError(f"{option} {path}: no such file; it is {FILES[option]}")
        if path is not None:
            places[name] = path
    if not places:
        raise UserError("rate: no model: give --pickscore, --hpsv2 or --lpips with weights of yours")
    from ...judges.lpips import open_lpips
    from ...judges.preference import open_hpsv2, open_pickscore
    from ...measuring.ratings import Raters
    from ...models.digests import known_digest
    from ...running.session import choose_device, set_threads
    from ...running.sharing.remote import open_any_store

    set_threads(options.threads)
    device, store = choose_device(options.device), open_any_store(options.store, lambda line: None)
    makers: dict[str, Any] = {"PickScore": open_pickscore, "HPSv2": open_hpsv2}
    scorers = {name: make(places[name], device) for name, make in makers.items() if name in places}
    lpips = open_lpips(places["LPIPS"], device) if "LPIPS" in places else None
    digests = {name: known_digest(str(place)) for name, place in places.items()}
    return Raters(store, scorers, lpips), digests


def _rate(
    entry: Any, entries: Sequence[Any], raters: "Raters", weights: dict[str, str], point: str | None, at: str
) -> Iterator[dict[str, Any]]:
    """Yield a row of the table for each value of a record."""
    from ...measuring.ratings import find_base
    from ...progress import show_progress
    from ...records.chosen import choose_point

    record = entry.record
    about = {"task": record.task.id, "row": entry.row, "seed": record.seed, "record": entry.name}
    if record.status != "ok" or entry.items is None:
        yield about | {"metric": "", "missing": "the run failed"}
        return
    chosen = choose_point(entry, point)
    with show_progress(f"{at}{record.task.id} {entry.row}", len(entry.items)) as advance:
        values = raters.rate(chosen, find_base(entry, entries), lambda done: advance(done, ""))
    about |= {"point": chosen.point.label, "step": chosen.point.step, "digest": entry.digest}
    for name, value in values.items():
        numbers = value.model_dump()
        yield about | {"metric": name, **numbers, "weights": weights[name.partition("_")[0]]}


def _print(rows: Sequence[dict[str, Any]]) -> None:
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for name in ("task", "row", "metric"):
        table.add_column(name, no_wrap=True)
    for name in ("value", "95 %", "images"):
        table.add_column(name, justify="right")
    table.add_column("why it is missing", overflow="fold")
    for row in rows:
        value, low, high = (row.get(name) for name in ("value", "low", "high"))
        shown = "missing" if value is None else f"{value:.3f}"
        between = "" if low is None else f"{low:.3f} to {high:.3f}"
        texts = (row["task"], row["row"], row["metric"], shown, between, str(row.get("n", "")))
        table.add_row(*texts, escape(row["missing"] or ""))
    open_console().print(table)


def add_rate(commands: Any) -> None:
    """Add `rate` to the command line."""
    parser = commands.add_parser("rate", help="preference scores and LPIPS of records' images, reported only")
    parser.add_argument("records", type=Path, nargs="+", help="records (CELL.json) or folders of them")
    parser.add_argument("--pickscore", metavar="FOLDER", help="folder or hub id: yuvalkirstain/PickScore_v1")
    parser.add_argument("--hpsv2", type=Path, metavar="FILE", help=FILES["--hpsv2"])
    parser.add_argument("--lpips", type=Path, metavar="FILE", help=f"{FILES['--lpips']} (extra: lpips)")
    parser.add_argument("--point", help="label of the point (default: the shown one, else the last)")
    parser.add_argument("--out", type=Path, default=Path("ratings.csv"), help="(default: ratings.csv)")
    parser.add_argument(
        "--store", type=read_place, help="folder or address of the cache that holds the images"
    )
    add_machine(parser)
    parser.set_defaults(run=rate_records)
