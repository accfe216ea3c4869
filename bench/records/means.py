"""UA, VA and in-prompt alignment of every point of a record, on both halves of its prompts: means alone."""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ..errors import UserError
from ..metrics import in_prompt, ua, va
from ..metrics.rows import check_items, is_given
from ..metrics.shares import Chosen, answers, only
from .record import Record

NAMES = ("UA", "VA", "in_prompt")
PARTS = ("A", "B", "")
"""Halves of the prompts, and all of them."""


def point_means(record: Record, items: pd.DataFrame) -> NDArray[np.float64]:
    """Return (points, 3, 3): NAMES by PARTS, NaN where there is no row or the judge failed on one.

    The same shares as the metrics' own, without their intervals: a board reads thousands of them. Raises
    UserError naming the file where rows cannot be what a metric takes them for.
    """
    try:
        check_items(items.assign(prompt_id=items["point"].astype(str) + ": " + items["prompt_id"]))
    except ValueError as error:
        raise UserError(f"{record.cell}.json: item rows: {error}") from None
    kept = only(va.chosen(items), ~is_given(items))
    columns = [_gone(items), _shares(items, kept), _shares(items, in_prompt.chosen(items))]
    point, half = items["point"].to_numpy(), items["half"].to_numpy()
    masks = [[(point == p.index) & ((half == part) | (part == "")) for part in PARTS] for p in record.points]
    return np.array([[[_mean(hits[m], asked[m]) for m in row] for hits, asked in columns] for row in masks])


def _gone(items: pd.DataFrame) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    scores = ua.METRIC.per_item(items)
    assert scores is not None
    asked = np.asarray(items["split"] == "forget", dtype=float)
    return np.where(asked > 0, scores.to_numpy(dtype=float), 0.0), asked


def _shares(items: pd.DataFrame, chosen: Chosen) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return (rows,) attributes found, NaN where the judge failed, and (rows,) attributes asked for."""
    hits = [np.where(mask, answers(items, kind), 0.0) for kind, mask in chosen.items()]
    return np.sum(hits, axis=0), np.sum(list(chosen.values()), axis=0).astype(float)


def _mean(hits: NDArray[np.float64], asked: NDArray[np.float64]) -> float:
    return float(hits.sum() / asked.sum()) if asked.sum() else float("nan")
