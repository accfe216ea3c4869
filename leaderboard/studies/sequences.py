"""Runs of a sequence: what every step left of the targets so far and of the retained set, and its cost."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from ...bench.errors import UserError
from ...bench.metrics.paired import paired_interval, score
from ...bench.records.load import Loaded, load_one
from ...bench.records.record import PointInfo, Record, name_entry, read_record
from ...bench.records.statements import list_records
from ...bench.types import Value, missing

UNEQUAL = "the images of the two steps are not of the same prompts and noise"


@dataclass(frozen=True)
class Step:
    """One step of a run. number: requests done. request: the task that was asked for, "" at the base.

    values: UA of all targets so far, VA, VA_given and in_prompt. targets: UA by target, of those so far.
    own: the step's own targets. error: why the step failed, "" where it did not.
    """

    number: int
    request: str
    values: Mapping[str, Value]
    targets: Mapping[str, Value]
    own: tuple[str, ...]
    seconds: float | None
    distance: float | None
    error: str
    source: Loaded


@dataclass(frozen=True)
class Change:
    """A paired difference between two steps: of a target's UA (last - own step), or of VA (last - base)."""

    name: str
    first: int
    last: int
    value: Value


@dataclass(frozen=True)
class SequenceRun:
    """All steps of one method, configuration and seed, the base first where it was measured."""

    name: str
    seed: int
    steps: tuple[Step, ...]
    changes: tuple[Change, ...]

    @property
    def targets(self) -> list[str]:
        """The targets in the order in which they were asked for."""
        return [target for step in self.steps if step.number for target in step.own]


@dataclass(frozen=True)
class RequestSequence:
    """One sequence. requests: tasks in order. references: rows of models that the world supplies."""

    world: str
    requests: tuple[str, ...]
    references: tuple[Step, ...]
    runs: tuple[SequenceRun, ...]


def holds_sequences(folder: Path) -> bool:
    """Return whether the first record of a folder is a step of a sequence."""
    paths = list_records(folder) if folder.is_dir() else []
    return bool(paths) and read_record(paths[0]).sequence is not None


def load_sequences(folder: Path) -> list[Loaded]:
    """Return a folder's steps of sequences; raises UserError where one is broken, or a record is no step."""
    loaded = [load_one(path) for path in list_records(folder)]
    for entry in loaded:
        if entry.record.sequence is None:
            raise UserError(
                f"{folder / entry.name}: sequence: none; a folder holds sequences or single tasks, not both"
            )
    return loaded


def shown_point(record: Record) -> PointInfo:
    """Return the point that the next step started from: the one chosen beforehand, else the last."""
    return next((point for point in record.points if point.shown), record.points[-1])


def collect_sequences(loaded: Sequence[Loaded]) -> list[RequestSequence]:
    """Return the sequences of some records, in order of their requests."""
    groups: dict[tuple[str, ...], list[Loaded]] = {}
    for entry in loaded:
        if entry.record.sequence is not None:
            key = (entry.record.task.world, *entry.record.sequence.tasks)
            groups.setdefault(key, []).append(entry)
    return [_collect(key[0], key[1:], groups[key]) for key in sorted(groups)]


def _collect(world: str, requests: tuple[str, ...], entries: list[Loaded]) -> RequestSequence:
    references = [_read_step(entry, ()) for entry in entries if entry.record.method.reference]
    base = next((step for step in references if step.source.record.method.name == "none"), None)
    runs: dict[tuple[str, str, int], list[Loaded]] = {}
    for entry in entries:
        if not entry.record.method.reference:
            runs.setdefault(_run_key(entry.record), []).append(entry)
    names = [key[0] for key in runs]
    found, seen = [], dict.fromkeys(names, 0)
    configs: dict[tuple[str, str], str] = {}
    for name, config, seed in sorted(runs):
        if (name, config) not in configs:
            seen[name] += 1
            configs[name, config] = name if seen[name] == 1 else f"{name} ({seen[name]})"
        found.append(_make_run(configs[name, config], seed, runs[name, config, seed], base))
    return RequestSequence(world, requests, tuple(references), tuple(found))


def _run_key(record: Record) -> tuple[str, str, int]:
    return name_entry(record), json.dumps(record.method.config, sort_keys=True), record.seed


def _make_run(name: str, seed: int, entries: list[Loaded], base: Step | None) -> SequenceRun:
    steps: list[Step] = []
    done: tuple[str, ...] = ()
    for entry in sorted(entries, key=_number):
        steps.append(_read_step(entry, done))
        done = tuple(entry.record.task.targets)
    every = ([base] if base is not None else []) + steps
    return SequenceRun(name, seed, tuple(every), tuple(_changes(steps, base)))


def _number(entry: Loaded) -> int:
    assert entry.record.sequence is not None
    return entry.record.sequence.step


def _read_step(entry: Loaded, done: Sequence[str]) -> Step:
    """Return a record's step. done: targets of the steps before it."""
    record, number = entry.record, _number(entry)
    assert record.sequence is not None
    request = record.sequence.tasks[number - 1] if number else ""
    own = tuple(target for target in record.task.targets if target not in done)
    if record.status != "ok" or entry.items is None:
        error = record.error or "failed"
        return Step(number, request, {}, {}, own, None, None, error, entry)
    point = shown_point(record)
    rows = (entry.items["point"] == point.index).to_numpy(dtype=bool)
    version = record.interval_version
    values = entry.scored.values(rows, version)
    targets = {
        target: entry.scored.values(rows & asks(entry.items, target), version)["UA"]
        for target in record.task.targets
    }
    cost = point.cost
    return Step(number, request, values, targets, own, cost.seconds, cost.distance, "", entry)


def asks(items: pd.DataFrame, target: str) -> np.ndarray:
    """Return (rows,) bool: whether a forget prompt asks for a target."""
    asked = np.zeros(len(items), dtype=bool)
    for kind in set(items["target_kind"]):
        asked |= ((items["target_kind"] == kind) & (items[f"asked_{kind}"] == target)).to_numpy(dtype=bool)
    return asked & (items["split"] == "forget").to_numpy(dtype=bool)


def _changes(steps: Sequence[Step], base: Step | None) -> Iterator[Change]:
    """Yield each earlier target's change of UA since its own step, then VA's change since the base."""
    whole = [step for step in steps if not step.error]
    if not whole:
        return
    last = whole[-1]
    for step in whole[:-1]:
        for target in step.own:
            change = _compare("UA", step, last, target)
            yield Change(target, step.number, last.number, change)
    if base is not None and not base.error:
        yield Change("VA", 0, last.number, _compare("VA", base, last, None))


def _compare(metric: str, first: Step, last: Step, target: str | None) -> Value:
    """Return the mean paired difference of a metric over prompts, with its interval."""
    found = [_scores(metric, step, target) for step in (first, last)]
    if not found[0].index.equals(found[1].index):
        return missing(UNEQUAL)
    differences = found[1] - found[0]
    if differences.isna().any() or differences.empty:
        return missing("an image failed, or there is none", len(differences))
    by_prompt = differences.groupby(level=0).mean().to_numpy(dtype=float)
    low, high = paired_interval(by_prompt)
    mean = float(by_prompt.mean())
    return Value(value=mean, low=min(low, mean), high=max(high, mean), n=len(differences))


def _scores(metric: str, step: Step, target: str | None) -> pd.Series:
    """Return a step's scores, by prompt and sample, of the rows that count."""
    items = step.source.items
    assert items is not None
    items = items[items["point"] == shown_point(step.source.record).index]
    if target is not None:
        return score(metric, items[asks(items, target)])
    return score(metric, items[(items["split"] == "retain") & ~items["given"].astype(bool)])
