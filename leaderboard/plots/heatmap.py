"""Heat maps of what a method erased with the target.

A row is an erased concept, a column a retained subject, and a cell the share of images that still show it.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from markupsafe import Markup

from ...bench.metrics.rows import in_split, is_given, texts
from ...bench.metrics.shares import answers, is_asked
from ...bench.records.load import Loaded
from ..ranking.board_rows import shown_points
from .svg import canvas, tag

CELL, LEFT, TOP = 13, 150, 96


@dataclass(frozen=True)
class HeatMap:
    """A method's map. lost: mean share of retained subjects no longer drawn."""

    name: str
    chart: Markup
    lost: float


def heat_maps(loaded: Sequence[Loaded], names: Sequence[str]) -> list[HeatMap]:
    """Return the maps of these rows of the board with equal columns; rows without images have none."""
    by_row: dict[str, list[Loaded]] = {name: [] for name in names}
    for entry in loaded:
        by_row.get(entry.row, []).append(entry)
    tables = {name: erased_by_retained(by_row[name]) for name in names}
    tables = {name: table for name, table in tables.items() if not table.empty}
    subjects = sorted({subject for table in tables.values() for subject in table.columns})
    return [
        HeatMap(
            name,
            _draw(name, table.reindex(columns=subjects)),
            1 - float(np.nanmean(table.to_numpy(dtype=float))),
        )
        for name, table in tables.items()
    ]


def erased_by_retained(entries: Sequence[Loaded]) -> pd.DataFrame:
    """Return (tasks, subjects) shares of retain images that show the asked subject, at the shown points.

    Over seeds and prompts of concepts not given to the method; NaN where a task never asks for a subject, or
    the judge failed on one of its images.
    """
    answered: dict[str, dict[str, list[float]]] = {}
    for entry, point in shown_points(entries):
        items = entry.items
        if items is None:
            continue
        rows = (items["point"].to_numpy() == point.index) & in_split(items, "retain")
        rows &= ~is_given(items) & is_asked(items, "subject")
        own = answered.setdefault(entry.record.task.id, {})
        right = answers(items, "subject")[rows].tolist()
        for subject, hit in zip(texts(items, "asked_subject")[rows].tolist(), right, strict=True):
            own.setdefault(subject, []).append(hit)
    shares = {
        task: {subject: sum(hits) / len(hits) for subject, hits in own.items() if not math.isnan(sum(hits))}
        for task, own in answered.items()
    }
    tasks = sorted(task for task, own in shares.items() if own)
    subjects = sorted({subject for own in shares.values() for subject in own})
    return pd.DataFrame([[shares[t].get(s, math.nan) for s in subjects] for t in tasks], tasks, subjects)


def _draw(name: str, table: pd.DataFrame) -> Markup:
    width, height = LEFT + CELL * len(table.columns) + 60, TOP + CELL * len(table.index) + 4
    parts = []
    for c, subject in enumerate(table.columns):
        x, y = LEFT + CELL * c + CELL / 2 + 3, TOP - 5
        parts.append(tag("text", str(subject), x=x, y=y, class_="tick", transform=f"rotate(-60 {x:g} {y})"))
    for r, task in enumerate(table.index):
        y = TOP + CELL * r
        label = str(task).split("@")[0]
        parts.append(tag("text", label, x=LEFT - 6, y=y + 10, class_="tick", text_anchor="end"))
        shares = zip(table.columns, table.loc[task], strict=True)
        parts += [_cell(label, c, y, str(subject), share) for c, (subject, share) in enumerate(shares)]
    text = f"{name}: share of retained subjects still drawn, by erased concept"
    return canvas(width, height, text, parts, class_="heat")


def _cell(task: str, column: int, y: int, subject: str, share: float) -> Markup:
    place = {"x": LEFT + CELL * column, "y": y, "width": CELL - 1, "height": CELL - 1}
    if pd.isna(share):
        return tag("rect", class_="unasked", **place)
    title = tag("title", f"{task} erased: {subject} drawn in {share:.0%}")
    return tag("rect", title, class_="asked", style=f"--lost: {1 - share:.3f}", **place)
