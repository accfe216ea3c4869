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

CELL, EDGE = 13, 12
LETTER = 6.2
"""Mean width of a letter of a label, in SVG units."""
SLOPE = (0.5, 0.87)
"""Cosine and sine of the angle of 60° by which the columns' labels are turned."""


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
    """Return the map. Cells without a loss, and cells that are not asked, are one element each."""
    labels, subjects = [str(task).split("@")[0] for task in table.index], [str(s) for s in table.columns]
    longest = LETTER * max(map(len, subjects))
    left, top = LETTER * max(map(len, labels)) + EDGE, longest * SLOPE[1] + EDGE
    width = left + CELL * len(subjects) + longest * SLOPE[0] + EDGE
    parts = []
    for c, subject in enumerate(subjects):
        x, y = left + CELL * c + CELL / 2 + 3, top - 5
        parts.append(tag("text", subject, x=x, y=y, class_="tick", transform=f"rotate(-60 {x:.1f} {y:.1f})"))
    for r, label in enumerate(labels):
        parts.append(tag("text", label, x=left - 6, y=top + CELL * r + 10, class_="tick", text_anchor="end"))
    kept, unasked = [], []
    for r, label in enumerate(labels):
        for c, share in enumerate(table.iloc[r]):
            x, y = left + CELL * c, top + CELL * r
            if pd.isna(share):
                unasked.append(f"M{x + 3:.1f} {y + CELL / 2:.1f}h{CELL - 7}")
            elif share >= 1:
                kept.append(f"M{x:.1f} {y:.1f}h{CELL - 1}v{CELL - 1}h{1 - CELL}z")
            else:
                parts.append(_cell(label, x, y, subjects[c], float(share)))
    whole = [
        tag("path", d="".join(kept), class_="asked kept"),
        tag("path", d="".join(unasked), class_="unasked"),
    ]
    text = f"{name}: share of retained subjects still drawn, by erased concept"
    return canvas(round(width), round(top + CELL * len(labels) + 4), text, [*whole, *parts], class_="heat")


def _cell(task: str, x: float, y: float, subject: str, share: float) -> Markup:
    title = tag("title", f"{task} erased: {subject} drawn in {share:.0%}")
    side = CELL - 1
    return tag(
        "rect", title, class_="asked", style=f"--lost: {1 - share:.3f}", x=x, y=y, width=side, height=side
    )
