"""Find values and item rows that no measurement gives: impossible numbers, contradictions, false gaps."""

import re
from collections.abc import Iterator

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ..measuring.needed import reason_unscored
from ..metrics.rows import in_split, is_failed, texts
from ..names import find_problems_in_name
from ..records.record import PointInfo, Record
from ..stats.frontier import LEVELS
from ..types import Headline, Value
from .ranges import COSTS, Range, is_within, range_of, write_range

KINDS = ("subject", "style", "background")
OF_SETS = ("KID", "FD", "FID", "CMMD", "KD_efficientnet_lite0", "collapse", "collapse_images",
           "collapse_variance")  # fmt: skip
"""Values of sets of images, which cannot be recomputed from item rows."""
IMAGE = re.compile(r"[0-9a-f]{32,64}")


def find_problems_in_numbers(point: PointInfo, rows: int) -> Iterator[str]:
    """Yield what is impossible about a point's stated values and costs."""
    for name, value in point.values.items():
        complaint = find_problems_in_value(
            value, range_of(name, value.n), range_of(name, value.n, is_end=True)
        )
        if complaint:
            yield f"{name}: {complaint}"
        if not 0 <= value.n <= rows:
            yield f"{name}: n = {value.n}, of {rows} images"
    cost = point.cost
    for name, ends in COSTS.items():
        number = getattr(cost, name)
        if number is not None and not is_within(number, ends):
            yield f"cost.{name}: {number:g}: nothing costs that; it lies {write_range(ends)}"


def find_problems_in_value(value: Value, own: Range, end: Range) -> str | None:
    """Return what is impossible about a value, None where nothing is. own: its range; end: of its interval's
    ends."""
    if (value.value is None) == (value.missing is None):
        return "has neither or both of a value and a reason why it is missing"
    for number, ends in ((value.value, own), (value.low, end), (value.high, end)):
        if number is not None and not is_within(number, ends):
            return f"{number:.7g} is not {write_range(ends)}"
    if (value.low is None) != (value.high is None):
        return "has one end of an interval alone"
    if value.low is not None and value.high is not None and value.low > value.high:
        return f"its interval runs from {value.low:.7g} down to {value.high:.7g}"
    return None


def find_problems_in_rows(items: pd.DataFrame, record: Record) -> Iterator[str]:
    """Yield what is impossible about item rows: verdicts, cosines, digests of images.

    Callers stop at the first problem, because a point without rows or an unknown kind breaks later checks.
    """
    held = set(items["point"].tolist())
    for label in [p.label for p in record.points if p.index not in held]:
        yield f"point {label}: has no item rows"
    for kind in sorted(set(items["target_kind"]) - set(KINDS)):
        yield f"items: target_kind: {ascii(kind)[:40]} is none of {', '.join(KINDS)}"
    kinds, targets, aimed = texts(items, "target_kind"), set(record.task.targets), ~in_split(items, "retain")
    told = items["target_found"].notna().to_numpy()
    found = np.where(told, texts(items, "target_found"), False).astype(bool)
    for kind in set(kinds):
        named = items[f"found_{kind}"].notna().to_numpy()
        truth = np.array([name in targets for name in texts(items, f"found_{kind}")], dtype=bool)
        wrong = (told != named) | (told & named & (found != truth))
        rows = np.flatnonzero(wrong & aimed & np.asarray(kinds == kind, dtype=bool))
        if len(rows):
            prompt = items["prompt_id"].iloc[rows[0]]
            yield f"items: prompt {prompt}: target_found contradicts found_{kind}"
    if (told & ~aimed).any():
        yield "items: target_found: is set on a retain prompt, which asks for no target"
    yield from _find_problems_in_columns(items)
    yield from _find_problems_in_failed(items, record)
    if "target_score" in items:
        yield from _find_problems_in_scores(items["target_score"].to_numpy(dtype=float), found, told)


def _find_problems_in_failed(items: pd.DataFrame, record: Record) -> Iterator[str]:
    """Yield where the row of a failed image, which has no digest, holds an answer or a score."""
    failed, index = is_failed(items), items["point"].to_numpy()
    for column in ("found_subject", "found_style", "found_background", "target_found", "alignment",
                   "alignment_shuffled", "flatness", "target_score"):  # fmt: skip
        if failed.any() and column in items and items[column].notna().to_numpy()[failed].any():
            yield f"items: {column}: says something of an image without a digest, which failed"
    if items["flatness"].isna().to_numpy()[~failed].any():
        yield "items: flatness: is missing of an image with a digest"
    for point in record.points:
        own = failed[index == point.index]
        if int(own.sum()) != point.failed_images:
            yield f"point {point.label}: failed_images: {point.failed_images}, but {own.sum()} have no digest"
        yield from _find_problems_in_sets(point, items, failed)


def _find_problems_in_sets(point: PointInfo, items: pd.DataFrame, failed: NDArray[np.bool_]) -> Iterator[str]:
    """Yield values of sets of images that contain a failed image."""
    lost = failed & (items["point"].to_numpy() == point.index)
    if not lost.any():
        return
    retain = bool((lost & in_split(items, "retain")).any())
    for name, value in point.values.items():
        touched = retain or name.startswith("collapse")
        if touched and value.value is not None and name.removesuffix("_base") in OF_SETS:
            yield f"point {point.label}: {name}: has a value, though an image of its set failed"


def _find_problems_in_scores(
    scores: NDArray[np.float64], found: NDArray[np.bool_], told: NDArray[np.bool_]
) -> Iterator[str]:
    """Yield where scores are not finite, are missing, or give the judge's answers at no threshold.

    Arrays are (rows,). found: the answers; told: where there is one.
    """
    if np.isinf(scores).any():
        yield "items: target_score: holds a number that is not finite"
    if (np.isnan(scores) & told).any():
        yield "items: target_score: is missing where target_found has an answer"
    yes, no = scores[told & found], scores[told & ~found]
    if len(yes) and len(no) and np.nanmin(yes) <= np.nanmax(no):
        yield "items: target_score: contradicts target_found: no threshold sets them apart"


def _find_problems_in_columns(items: pd.DataFrame) -> Iterator[str]:
    for column, (least, most) in {
        "alignment": (-1, 1),
        "alignment_shuffled": (-1, 1),
        "flatness": (0, 1),
    }.items():
        numbers = items[column].to_numpy(dtype=float)
        if (
            np.isinf(numbers).any()
            or (np.abs(numbers - (least + most) / 2) > (most - least) / 2 + 1e-6).any()
        ):
            yield f"items: {column}: holds a number that is not between {least} and {most}"
    for digest in items["image_sha256"].unique():
        if not isinstance(digest, str) or (digest and not IMAGE.fullmatch(digest)):
            yield f"items: image_sha256: {ascii(digest)[:60]} is no digest"
    for column in ("found_subject", "found_style", "found_background"):
        for name in items[column].dropna().unique():
            complaint = find_problems_in_name(name) if name else None
            if complaint:
                yield f"items: {column}: {complaint}"


def find_problems_in_unscored(
    point: PointInfo, items: pd.DataFrame, is_last: bool, headline: Headline
) -> Iterator[str]:
    """Yield where a point was not scored on retain prompts although its alignment would count.

    headline: of the record. H may read any point, AVA those whose UA reaches its lowest level.
    """
    if point.unscored is None:
        return
    if headline == "H":
        yield "unscored: H may read any point, so every point has its retain images"
    elif is_last:
        yield "unscored: the last point is always scored"
    elif reason_unscored(items, LEVELS[0]) is None:
        yield f"unscored: its UA reaches {LEVELS[0]} on a half of the prompts, so its alignment counts"
