"""Declared points of methods: one step of one configuration on one concept, averaged over training seeds."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from ...bench.errors import UserError
from ...bench.records.load import Loaded
from ...bench.records.record import Record
from ...bench.stats.frontier import LEVELS, ROUNDING
from ...bench.store import content_key
from ...bench.types import Headline

Means = Mapping[str, NDArray[np.float64]]


@dataclass(frozen=True)
class DeclaredPoint:
    """One point. values: (3, 3): UA, VA, in-prompt alignment by half A, half B, all; NaN = missing.

    config: digest of the configuration. A point that no level of UA lets AVA read may lack retain images:
    its VA is then 0 here, and never looked at.
    """

    config: str
    step: int
    values: NDArray[np.float64]
    shown: bool
    places: tuple[tuple[Loaded, int], ...] = field(default=(), repr=False, compare=False)
    """The records that were averaged, with the position of the point in each."""

    @property
    def halves(self) -> NDArray[np.float64]:
        """(3, 2): the values on the two halves."""
        return self.values[:, :2]


@dataclass(frozen=True)
class MethodPoints:
    """All points of a method on a concept, cheapest first. missing: the reason why there are none."""

    method: str
    task: str
    seeds: tuple[int, ...]
    points: tuple[DeclaredPoint, ...]
    missing: str | None = None
    is_home: bool = True  # whether it comes from the board's own source
    is_control: bool = False


CONTROLS = ("finetune", "placebo")
"""Controls: methods that forget nothing. Their AVA is 0 by construction, and no test includes them."""


def read_method_points(
    loaded: Iterable[Loaded], role: str = "evaluated", source: str = "measured", references: bool = False
) -> list[MethodPoints]:
    """Return every method's points on every concept of a role, by method and task.

    Records with a `mark` (inline, limited) are returned but not ranked, and they add no concept.
    Left out are references (or, with `references`, everything else), concepts of another role than `role`
    and records of another source than `source`. Raises UserError where
    two measured records have the same method, task, configuration and seed. Two such claims make the concept
    missing instead: a claim must not stop a board.
    """
    counted = [e for e in loaded if _counts(e.record, role, source, references)]
    counted.sort(key=_key)
    return [_read_marked(*key, list(entries)) for key, entries in groupby(counted, _key)]


def _read_marked(method: str, task: str, entries: list[Loaded]) -> MethodPoints:
    record = entries[0].record
    group = _read_group(method, task, entries)
    is_home = entries[0].is_home and not record.mark
    is_control = record.method.name in CONTROLS or bool(record.mark) or record.method.reference
    return replace(group, is_home=is_home, is_control=is_control)


def _counts(record: Record, role: str, source: str, references: bool) -> bool:
    is_wanted = record.source == source and record.task.role == role
    return is_wanted and record.method.reference == references


def _key(entry: Loaded) -> tuple[str, str]:
    return entry.row, entry.record.task.id


def _read_group(method: str, task: str, entries: list[Loaded]) -> MethodPoints:
    seeds = tuple(sorted({entry.record.seed for entry in entries}))
    if twice := _find_twice(entries):
        return MethodPoints(method, task, seeds, (), twice)
    runs: dict[tuple[int, str], dict[int, tuple[Loaded, int]]] = {}
    means: dict[str, NDArray[np.float64]] = {}
    for entry in entries:
        if entry.record.status == "failed" or entry.means is None:
            reason = f"seed {entry.record.seed} failed: {entry.record.error or 'no item rows'}"
            return MethodPoints(method, task, seeds, (), reason)
        means[entry.name] = entry.means
        for position, point in enumerate(entry.record.points):
            place = runs.setdefault((point.step, write_config(entry.record)), {})
            place[entry.record.seed] = (entry, position)
    uneven = [step for (step, _), found in runs.items() if tuple(sorted(found)) != seeds]
    if uneven:
        return MethodPoints(
            method, task, seeds, (), f"step {uneven[0]} lacks a seed of {', '.join(map(str, seeds))}"
        )
    # cheapest first: ties go to fewer steps, then to the configuration whose text comes first
    points = [_average(step, list(found.values()), means) for (step, _), found in sorted(runs.items())]
    return MethodPoints(method, task, seeds, tuple(points))


def _find_twice(entries: Sequence[Loaded]) -> str | None:
    """Return which record or step occurs twice, or None; raises UserError for measured records."""
    first: dict[tuple[str, int], Loaded] = {}
    for entry in entries:
        record = entry.record
        steps = [point.step for point in record.points]
        if len(set(steps)) < len(steps):
            return f"{entry.name}: points: two of them have one step in {steps}"
        other = first.setdefault((write_config(record), record.seed), entry)
        if other is not entry:
            text = f"seed {record.seed}: {other.name} has the same method, task, configuration and seed"
            if record.source != "measured":
                return f"{entry.name}: {text}"
            raise UserError(f"{entry.name}: {text}; leave one out or `retract` it")
    return None


def write_config(record: Record) -> str:
    """Return a record's configuration as one line of JSON, its keys in order."""
    return json.dumps(record.method.config, sort_keys=True)


def _average(step: int, places: Sequence[tuple[Loaded, int]], means: Means) -> DeclaredPoint:
    values = np.mean([means[entry.name][position] for entry, position in places], axis=0)
    infos = [entry.record.points[position] for entry, position in places]
    if any(info.unscored for info in infos) and (values[0, :2] < LEVELS[0] - ROUNDING).all():
        values[1] = np.nan_to_num(values[1], nan=0.0)
    config = content_key(places[0][0].record.method.config)
    return DeclaredPoint(config, step, values, any(info.shown for info in infos), tuple(places))


def find_headline(loaded: Sequence[Loaded]) -> Headline:
    """Return the headline of a board: that of its own measured records, whatever added or claimed ones name.

    Raises UserError where its own name two: no order is of both.
    """
    measured = [entry for entry in loaded if entry.record.source == "measured"]
    own = [entry for entry in measured if entry.is_home and not entry.record.inline] or measured
    named: dict[Headline, str] = {}
    for entry in own:
        named.setdefault(entry.record.headline, entry.name)
    if len(named) > 1:
        said = " and ".join(f"{headline} in {name}" for headline, name in sorted(named.items()))
        raise UserError(f"headline: the board's records name {said}; keep them in folders apart")
    return next(iter(named), "AVA")
