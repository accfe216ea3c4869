"""Compare a repeated record with the original, point by point, paired by prompt and noise."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from ..errors import UserError
from ..metrics.differences import bounds_of
from ..metrics.paired import KEYS, pair, paired_interval, score
from ..records.load import Loaded
from ..records.record import PointInfo, Record
from ..records.statements import HEADLINE, Compared, judge
from ..types import Value
from .recomputed import differ, recompute

VERDICTS = {"agrees": 0, "differs": 1, "unclear": 2}
"""Verdict -> exit status."""


@dataclass(frozen=True)
class Agreement:
    """The result of a re-run. same_versions: whether all digits should be equal.

    same_images: share of images that are the same, pixel by pixel.
    """

    verdict: str
    numbers: tuple[Compared, ...]
    same_versions: bool
    same_images: float


def compare_records(first: Loaded, second: Loaded, margin: float) -> Agreement:
    """Compare a record with its re-run on every headline number of every point.

    Equal numbers agree. Others agree where the 95 % interval of the paired difference, over prompts, reaches
    into [-margin, margin]. One that its own item rows do not give differs. A number that one of the two
    lacks, or a point, is unclear. Raises UserError where the two were not asked for the same images.
    """
    if first.record.task.id != second.record.task.id:
        raise UserError(f"{second.name}: is of {second.record.task.id}, not of {first.record.task.id}")
    if first.items is None or second.items is None:
        raise UserError(f"{first.name}: status: a run that failed has no numbers to compare")
    numbers = tuple(_compare_points(first, second, margin))
    same = _same_versions(first.record, second.record)
    return Agreement(judge(numbers), numbers, same, _same_images(first, second))


def _compare_points(first: Loaded, second: Loaded, margin: float) -> Iterator[Compared]:
    version = first.record.interval_version
    others = {point.step: point for point in second.record.points}
    for point in first.record.points:
        other = others.get(point.step)
        rows = _rows(first, point)
        given = recompute(rows, None, version) if len(rows) else {}
        for metric in HEADLINE:
            own = _value(point, metric)
            if other is None:
                yield Compared(point=point.label, metric=metric, claimed=own, rerun=None, state="unclear")
            elif own is not None and (metric not in given or differ(own, given[metric].value)):
                theirs = _value(other, metric)
                yield Compared(point=point.label, metric=metric, claimed=own, rerun=theirs,
                               state="unclear" if theirs is None else "differs")  # fmt: skip
            elif own is not None or _value(other, metric) is not None:
                yield _compare(metric, (point, rows), (other, _rows(second, other)), margin, version)


def _value(point: PointInfo, metric: str) -> float | None:
    return point.values.get(metric, Value(value=None, missing="not measured")).value


def _rows(entry: Loaded, point: PointInfo) -> pd.DataFrame:
    assert entry.items is not None
    return entry.items[entry.items["point"] == point.index].reset_index(drop=True)


def _compare(
    metric: str,
    first: tuple[PointInfo, pd.DataFrame],
    second: tuple[PointInfo, pd.DataFrame],
    margin: float,
    version: int,
) -> Compared:
    own, other = _value(first[0], metric), _value(second[0], metric)
    known: dict[str, Any] = {"point": first[0].label, "metric": metric, "claimed": own, "rerun": other}
    if not differ(own, other):
        return Compared(**known, state="equal")
    if own is None or other is None:
        return Compared(**known, state="unclear")
    pair(first[1], second[1])
    before = score(metric, first[1])
    gaps = (score(metric, second[1]) - before).dropna()
    if gaps.empty:
        return Compared(**known, state="unclear")
    differences = gaps.groupby(level=0).mean().to_numpy(dtype=float)
    bounds = bounds_of(metric, before[gaps.index].to_numpy(), gaps.to_numpy())
    low, high = paired_interval(differences, bounds=bounds, version=version)
    agrees = low <= margin and high >= -margin
    return Compared(**known, low=low, high=high, state="agrees" if agrees else "differs")


def _same_versions(first: Record, second: Record) -> bool:
    def read(record: Record) -> tuple[Any, ...]:
        environment = record.environment
        kept = [
            environment.get(name) for name in ("unlearnbench", "packages", "device", "device_name", "threads")
        ]
        return (kept, record.metrics, record.task, record.method.version, record.commit)

    return read(first) == read(second)


def _same_images(first: Loaded, second: Loaded) -> float:
    keys = ["step", *KEYS]
    columns = [_digests(entry).set_index(keys)["image_sha256"] for entry in (first, second)]
    both = pd.concat(columns, axis=1, keys=["first", "second"], join="inner")
    return float(np.mean(both["first"] == both["second"])) if len(both) else 0.0


def _digests(entry: Loaded) -> pd.DataFrame:
    assert entry.items is not None
    steps = {point.index: point.step for point in entry.record.points}
    return entry.items.assign(step=entry.items["point"].map(steps))
