"""Rows of a task's table: one for each record. Half A of the prompts chooses its point, half B scores it."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from ...bench.metrics.collapse import is_collapsed
from ...bench.records.load import Loaded
from ...bench.records.record import PointInfo, Record, name_row
from ...bench.types import Value, missing
from ..templating import find_varied, flatten
from .columns import COSTS, HALVED

THRESHOLD = 0.95
"""UA that a point must reach on half A to be shown for its alignment."""
CAUTION = (
    "One task and one training run show how these models behave on these prompts. They do not show how a "
    "method behaves on another concept or after another training run. Another run can move a row by more "
    "than the width of its intervals, so two rows whose intervals do not overlap may change places. "
    "Therefore rows are not ranked, and nothing is averaged across tasks."
)
"""What a task's table can and cannot say, for the page and the Markdown."""
LONGEST_LABEL = 60
"""Characters of the settings in a row's label; a sweep over longer ones is labelled by digests."""
Role = Literal["reference", "noise floor", "method"]
_ORDER: tuple[Role, ...] = ("reference", "noise floor", "method")


@dataclass(frozen=True)
class ShownPoint:
    """The point that a row shows. position: in `record.points`. reached: None where nothing was to reach."""

    position: int
    reached: bool | None
    reason: str
    halved: bool  # whether UA, VA and in-prompt alignment are measured on half B only


@dataclass(frozen=True)
class TaskRow:
    """One row of a task's table. values: what the row shows, by metric and cost name."""

    task: str
    method: str
    label: str  # the method's name, with seed and digest where the task has several rows of it
    role: Role
    seed: int
    siblings: int  # rows of this method on this task, this one included
    failed: bool
    error: str | None
    choice: ShownPoint | None  # None where the record has no point
    values: Mapping[str, Value]
    source: Loaded

    @property
    def point(self) -> PointInfo | None:
        """The point shown, or None where the record has none."""
        return self.source.record.points[self.choice.position] if self.choice else None

    @property
    def collapsed(self) -> bool:
        """Whether the collapse check flags the point shown; a check that is missing flags nothing."""
        return bool(is_collapsed(self.value("collapse")))

    def value(self, name: str) -> Value:
        """Return the value shown under a name; what the record lacks is missing, with that reason."""
        lacking = f"the run failed: {self.error}" if self.failed else "not measured in this record"
        return self.values.get(name) or missing(lacking)


def rows(loaded: Sequence[Loaded]) -> list[TaskRow]:
    """Return a row for every record: by task, then reference, noise floor, methods by name, failures last.

    The order is no ranking. No number of a row depends on another row.
    """
    labels = _label(loaded)
    counts = Counter((entry.record.task.id, _method(entry.record)) for entry in loaded)
    made = [_make_row(entry, labels, counts) for entry in loaded]
    return sorted(made, key=_order)


def _method(record: Record) -> str:
    """Return the method's name, with the label that gives its configuration a row of its own."""
    return name_row(record.method.name, "diverse", 0, False, record.method.label)


def _order(row: TaskRow) -> tuple[str, bool, int, str, int, int, str]:
    noise = _noise(row.source.record)
    return (row.task, row.failed, _ORDER.index(row.role), row.method, row.seed, noise, row.source.name)


def _make_row(entry: Loaded, labels: Mapping[str, str], counts: Mapping[tuple[str, str], int]) -> TaskRow:
    record = entry.record
    choice = choose(entry) if record.points else None
    return TaskRow(
        task=record.task.id,
        method=_method(record),
        label=labels[entry.name],
        role=find_role(record),
        seed=record.seed,
        siblings=counts[record.task.id, _method(record)],
        failed=record.status == "failed",
        error=(record.error or "no reason recorded") if record.status == "failed" else None,
        choice=choice,
        values=_values(entry, choice) if choice else {},
        source=entry,
    )


def find_role(record: Record) -> Role:
    """Return what a record's row is: a reference, the noise floor, or a method."""
    if record.method.reference:
        return "reference"
    return "noise floor" if record.method.name == "placebo" else "method"


def _noise(record: Record) -> int:
    """Return the seed of the evaluation noise; a task may have a reference drawn from two noises."""
    noise = record.sampling.get("noise", 0)
    return noise if isinstance(noise, int) else 0


def _label(loaded: Sequence[Loaded]) -> dict[str, str]:
    """Return labels by file name: the method, the settings in which its records of a task differ, and the
    shortest suffix that makes the label unique in its task."""
    alike: dict[tuple[str, str], list[Loaded]] = {}
    for entry in loaded:
        alike.setdefault((entry.record.task.id, _method(entry.record)), []).append(entry)
    tries = {name: texts for group in alike.values() for name, texts in _name_group(group).items()}
    tasks = {entry.name: entry.record.task.id for entry in loaded}
    counts = Counter((tasks[name], text) for name, texts in tries.items() for text in texts)
    unique = {name: [t for t in texts if counts[tasks[name], t] == 1] for name, texts in tries.items()}
    return {name: found[0] if found else name.removesuffix(".json") for name, found in unique.items()}


def _name_group(group: Sequence[Loaded]) -> dict[str, list[str]]:
    """Return the labels to try, by file name, of a method's records of one task; the shortest come first."""
    configs = [dict(flatten(entry.record.method.config)) for entry in group]
    varied = [] if group[0].record.method.reference else _name_varied(configs)
    return {
        entry.name: _names(entry, ", ".join(f"{key} {config[key]}" for key in varied if key in config))
        for entry, config in zip(group, configs, strict=True)
    }


def _name_varied(configs: Sequence[Mapping[str, str]]) -> list[str]:
    """Return the settings in which configurations differ; [] where one of these is too long for a label."""
    varied = find_varied(configs)
    lengths = [sum(len(key) + len(config.get(key, "")) for key in varied) for config in configs]
    return varied if max(lengths) <= LONGEST_LABEL else []


def _names(entry: Loaded, settings: str) -> list[str]:
    mark = "claimed" if entry.record.source == "reported" else entry.record.mark
    claimed = f" ({mark})" if mark else ""
    method, seed = _method(entry.record) + claimed, f"seed {entry.record.seed}"
    noise, digest = f"noise {_noise(entry.record)}", entry.digest[:6]
    first = [method, settings] if settings else [method]
    return [" · ".join([*first, *rest]) for rest in ([], [seed], [noise], [seed, noise], [seed, digest])]


def choose(entry: Loaded) -> ShownPoint:
    """Return which point of a record is shown: on half A, the highest VA among UA >= .95.

    Where no point reaches it, the highest UA; ties go to fewer steps. A point that was chosen beforehand on
    tuning concepts is shown instead.
    """
    record = entry.record
    for position, point in enumerate(record.points):
        if point.shown:
            reached = _number(point.values.get("UA")) >= THRESHOLD - 1e-9
            return ShownPoint(position, reached, "Chosen beforehand, on the tuning concepts.", halved=False)
    means = None if entry.means is None else entry.means[:, :, 0]
    scored = [] if means is None else [p for p in range(len(means)) if not np.isnan(means[p, 0])]
    if means is None or not scored:
        reason = "The last point: the record has no scored image on half A, so its own values are shown."
        return ShownPoint(len(record.points) - 1, None, reason, halved=False)
    reaching = [p for p in scored if means[p, 0] >= THRESHOLD - 1e-9]
    compared = np.nan_to_num(means[:, 1 if reaching else 0], nan=-1.0)

    def preference(p: int) -> tuple[float, int, int]:
        return (-float(compared[p]), record.points[p].step, p)

    best = min(reaching or scored, key=preference)
    if record.method.reference:
        return ShownPoint(best, None, "A reference: there is nothing to reach.", halved=True)
    text = "highest VA among the points with UA ≥ .95" if reaching else "highest UA, for no point reached .95"
    return ShownPoint(best, bool(reaching), f"Chosen on half A of the prompts: {text}.", halved=True)


def _number(value: Value | None) -> float:
    return -1.0 if value is None or value.value is None else value.value


def _values(entry: Loaded, choice: ShownPoint) -> dict[str, Value]:
    """Return a point's values; UA, VA and in-prompt alignment on half B where half A chose the point."""
    record, items = entry.record, entry.items
    point = record.points[choice.position]
    values = {name: _with_reason(value) for name, value in point.values.items()}
    if items is not None and choice.halved:
        rows = ((items["point"] == point.index) & (items["half"] == "B")).to_numpy(dtype=bool)
        scored = entry.scored.values(rows, record.interval_version)
        values.update({name: scored[name] for name in HALVED if name in scored})
    for name in COSTS:
        number = point.cost.read(name)
        values[name] = missing("not recorded") if number is None else Value(value=float(number))
    return values


def _with_reason(value: Value) -> Value:
    return missing("no reason recorded", value.n) if value.value is None and not value.missing else value


def by_task(all_rows: Iterable[TaskRow]) -> dict[str, list[TaskRow]]:
    """Return rows by task, in the order of the rows."""
    grouped: dict[str, list[TaskRow]] = {}
    for row in all_rows:
        grouped.setdefault(row.task, []).append(row)
    return grouped


def differences(task_rows: Sequence[TaskRow]) -> list[str]:
    """Return the conditions in which the rows of one task differ, so that they cannot be compared."""
    conditions = {
        "evaluation prompts": lambda r: r.prompts_sha256[:12],
        "task version": lambda r: str(r.task.version),
        "judge": lambda r: r.task.judge,
        "world": lambda r: r.task.world,
        "sampling": lambda r: ", ".join(f"{k} {v}" for k, v in sorted(r.sampling.items())),
        "training data": lambda r: r.data,
        "metric versions": lambda r: ", ".join(f"{k} {v}" for k, v in sorted(r.metrics.items())),
        "source": lambda r: r.source,
    }
    # The base model drawn from other noise shows how much noise by itself moves a row.
    again = {row.source.name for row in [row for row in task_rows if row.role == "reference"][1:]}
    compared = [r.source.record for r in task_rows if not r.failed and r.source.name not in again]
    found = []
    for name, read in conditions.items():
        seen = sorted({read(record) for record in compared})
        if len(seen) > 1:
            found.append(f"{name} ({'; '.join(seen)})")
    return found
