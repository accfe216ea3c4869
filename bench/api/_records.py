"""Reading records: values, item rows, images and frontiers, and methods compared."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ._results import Images, MeasuredRecord, Plot, Records, check_point, describe_origin, frame_values
from .bench.errors import UserError

if TYPE_CHECKING:
    import pandas as pd

RecordSource = Records | MeasuredRecord | Path | str
"""Source of records: a result of `run` or `evaluate`, a folder of records, or a record's file."""
FAILING = ("forget", "indirect", "retain")


def load_entries(records: RecordSource | Iterable[RecordSource]) -> list[Any]:
    """Return loaded records, each once; retracted ones in folders are left out."""
    from .bench.records.load import load_one, load_together

    if isinstance(records, Records | MeasuredRecord | str | Path):
        records = [records]
    sources = [part for source in records for part in (source if isinstance(source, Records) else [source])]
    places = [source.path if isinstance(source, MeasuredRecord) else Path(source) for source in sources]
    if not places:
        raise UserError("load: no records given")
    folders = [place for place in places if place.is_dir()]
    found = load_together(list(dict.fromkeys(folders))) if folders else []
    return found + [load_one(place) for place in dict.fromkeys(places) if not place.is_dir()]


def load(records: RecordSource | Iterable[RecordSource], *, items: bool = False) -> "pd.DataFrame":
    """Return records as a table.

    records: results of `run` or `evaluate`, folders of records, or their files. Without `items`: one row for
    each record, point and metric, with `value` and its 95 % interval (`low`, `high`) from `n` images, or NaN
    and the reason as `missing`; a failed run is one row with its error as `missing`. With `items`: one row
    for each image, with the attributes asked for and the judge's answers. Raises UserError naming file and
    field of a broken record.

    >>> table = unlearnbench.load("runs/demo")
    >>> table.pivot_table(index=["row", "step"], columns="metric", values="value")[["UA", "VA"]]
    """
    import pandas as pd

    entries = load_entries(records)
    if not items:
        return frame_values([(entry.record, entry.row) for entry in entries])
    frames = [
        entry.items.assign(**describe_origin(entry.record, entry.row))
        for entry in entries
        if entry.items is not None
    ]
    if not frames:
        raise UserError("load: none of these records has item rows: every run failed")
    table = pd.concat(frames, ignore_index=True)
    first = list(describe_origin(entries[0].record, ""))
    return table[[*first, *[name for name in table.columns if name not in first]]]


def compare(
    records: RecordSource | Iterable[RecordSource], *, rival: str = "gradient_sum"
) -> "tuple[pd.DataFrame, pd.DataFrame]":
    """Return a comparison of methods over concepts: a table of AVA, and one of paired differences to a rival.

    AVA: area under each method's frontier of UA and VA, averaged over concepts, with t intervals over them;
    the column `lacking` names missing concepts. Differences are paired by concept (sign-flip test, Holm's
    correction); the second table is empty where no method shares two concepts with the rival. Raises
    UserError where the records are of two worlds, or the rival has none.

    >>> board, differences = unlearnbench.compare("results/emoji")
    """
    import pandas as pd

    lines, comparisons = compare_entries(load_entries(records), rival)
    board = pd.DataFrame([vars(line) for line in lines])
    pairs = [
        vars(pair.comparison)
        | {
            "first": pair.first,
            "second": pair.second,
            "primary": pair.primary,
            "adjusted": pair.adjusted,
            "detectable": pair.detectable,
        }
        for pair in comparisons
    ]
    return board, pd.DataFrame(pairs)


def compare_entries(loaded: Sequence[Any], rival: str) -> tuple[list[Any], list[Any]]:
    """Return the board's lines and the paired comparisons with a rival, of loaded records."""
    from .leaderboard.ranking.board import collect, compare_with_rival, find_row, list_worlds, summarise

    worlds = list_worlds(loaded)
    if len(worlds) > 1:
        said = f"compare: records of {' and '.join(worlds)}"
        raise UserError(f"{said}: no AVA is of two worlds or base models; compare each")
    results = collect(loaded)
    methods = sorted({row.method for row in results})
    if find_row(methods, rival) not in methods:
        raise UserError(f"--rival {rival}: no records of it; methods: {', '.join(methods) or 'none'}")
    return summarise(results), compare_with_rival(results, rival)


def failing_images(
    record: MeasuredRecord,
    *,
    split: str = "forget",
    point: str | None = None,
    limit: int = 16,
    store: Path | str | None = None,
) -> Images:
    """Return the images of a record that failed, with their item rows; a notebook shows them.

    split: `forget` or `indirect`: the target is still there; `retain`: an attribute that was asked for is
    not. point: label of the point; None: the last. limit: most images to return. store: the cache that the
    run used. Images that are no longer in the store are left out; running the same `run` again draws them.

    >>> unlearnbench.failing_images(records[-1], split="retain", limit=8)
    """
    from PIL import Image

    from .bench.measuring.items import read_guidance
    from .bench.measuring.stored import Origin
    from .bench.models.sampling import decode_png
    from .bench.store import Store, default_folder

    if split not in FAILING:
        raise UserError(f"split {split!r}: choose one of {', '.join(FAILING)}")
    chosen, items = check_point(record, point), record.items
    assert items is not None  # a record with points has them
    rows = items[(items["point"] == chosen.index) & (items["split"] == split)]
    rows = rows[fails(rows, split)]
    origin, cache = Origin(record, chosen), Store(Path(store or default_folder()), lambda line: None)
    found: list[tuple[Any, Any]] = []
    for index, row in rows.iterrows():
        png = origin.find_image(cache, str(row["prompt"]), int(row["seed"]), read_guidance(row.to_dict()))
        image = None if png is None else decode_png(png)
        if image is not None and len(found) < limit:
            found.append((index, Image.fromarray(image)))
    kept = rows.loc[[index for index, _ in found]].reset_index(drop=True)
    return Images(tuple(image for _, image in found), kept)


def fails(rows: "pd.DataFrame", split: str) -> "pd.Series[bool]":
    """Return which images failed; an image that the judge failed on is missing, not failed."""
    if split != "retain":
        return rows["target_found"].eq(True)
    wrong = rows["prompt"].isna()  # none yet
    for kind in ("subject", "style", "background"):
        asked, seen = rows[f"asked_{kind}"], rows[f"found_{kind}"]
        wrong = wrong | (asked.ne("") & seen.notna() & asked.ne(seen))
    return wrong


def frontier(records: RecordSource | Iterable[RecordSource], *, task: str | None = None) -> Plot:
    """Return the plot of forgetting (UA) against alignment (VA): one line for each method, points by step.

    task: its id, where the records are of several tasks. A notebook shows the plot; `plot.svg` is its text.

    >>> unlearnbench.frontier(records)
    """
    from .leaderboard.plots.scatter import assign_styles, make_series, scatter
    from .leaderboard.ranking.task_rows import rows

    entries = load_entries(records)
    tasks = sorted({entry.record.task.id for entry in entries})
    wanted = tasks[0] if task is None and len(tasks) == 1 else task
    if wanted not in tasks:
        said = "name one" if task is None else f"no records of {task}"
        raise UserError(f"task: {said}; these records are of {', '.join(tasks)}")
    found = rows([entry for entry in entries if entry.record.task.id == wanted])
    styles = assign_styles(found)
    series = [make_series(row, styles[row.method]) for row in found if row.point]
    return Plot(str(scatter(series, "VA", "VA: alignment", 640, 420, "")))
