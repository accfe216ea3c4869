"""The content of an audit report about one point of a record. It comes from records, never from the clock."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from ...bench.errors import UserError
from ...bench.gate.check import Finding, Side, State, check, make_side
from ...bench.gate.policy import LIMITS, Policy
from ...bench.labels.labels import Labels, read_labels
from ...bench.records.chosen import Chosen, choose_point
from ...bench.records.load import Loaded, find_withdrawal, load_one, statements_about
from ...bench.records.record import read_record
from ...bench.records.statements import LABELS, Retracted, Superseded, list_records
from ...bench.types import Value, missing
from ..ranking.columns import COLUMNS, COSTS, Column, columns_for

WORDS: dict[State, str] = {"passed": "met", "regressed": "missed", "unclear": "not shown", "waived": "waived"}
NO_BASELINE = "no record of the model before, so there is no difference"


class Unlearning(BaseModel):
    """The fields of the file that `unlearnbench unlearn` writes next to a model, as a report shows them."""

    model_config = ConfigDict(frozen=True)
    concept: str
    anchor: str | None
    base_model: str
    method: str
    config: dict[str, object]
    data: dict[str, object]
    seed: int
    weights_before: str
    weights_after: str


@dataclass(frozen=True)
class Measure:
    """A value after unlearning, and before it where that was measured too."""

    column: Column
    before: Value
    after: Value


@dataclass(frozen=True)
class Audit:
    """Everything that a report shows. base: the model before. day: date on which waivers are judged."""

    subject: Chosen
    base: Chosen | None
    why: str
    day: date
    policy: Policy | None
    findings: tuple[Finding, ...]
    labels: tuple[Labels, ...]
    unlearning: Unlearning | None = None
    said: tuple[Any, ...] = ()  # statements about the record, from the folder that it lies in
    base_said: tuple[Any, ...] = ()  # about the record of the model before

    @property
    def withdrawal(self) -> Retracted | Superseded | None:
        """The statement that withdraws the record, if there is one."""
        return find_withdrawal(self.said)

    @property
    def measures(self) -> list[Measure]:
        """Every value that was measured or tried on either model, in the order of the board, without cost."""
        after = self.subject.point.values
        before = self.base.point.values if self.base else {}
        lacking = "not measured in this record"
        return [
            Measure(
                column,
                before.get(column.name) or missing(lacking if self.base else NO_BASELINE),
                after.get(column.name) or missing(lacking),
            )
            for column in _columns(before, after)
        ]

    @property
    def counted(self) -> dict[str, int]:
        """Number of thresholds by verdict, in the order of WORDS; verdicts without one are left out."""
        counts = Counter(finding.state for finding in self.findings)
        return {WORDS[state]: counts[state] for state in WORDS if counts[state]}


def _columns(before: Mapping[str, Value], after: Mapping[str, Value]) -> list[Column]:
    """Return the columns of everything that was measured or tried. A report hides no failure."""
    tried = {**before, **after}
    known = [c for c in COLUMNS if c.name not in COSTS and (c.name in tried or not c.optional)]
    names = {column.name for column in COLUMNS}
    return known + [column for column in columns_for([tried]) if column.name not in names]


def find_base(path: Path, loaded: Loaded) -> Path | None:
    """Return the record of `none` in the same folder on the same prompts that nobody withdrew."""
    own = loaded.record
    for other in list_records(path.parent):
        if other == path or "none" not in other.name:
            continue
        record = read_record(other)
        same = (record.task.id, record.prompts_sha256) == (own.task.id, own.prompts_sha256)
        is_base = record.method.is_base and record.status == "ok"
        found = is_base and same and not record.sampling.get("noise", 0)
        if found and find_withdrawal(statements_about(other, load_one(other))) is None:
            return other
    return None


def find_labels(folder: Path, digest: str) -> tuple[Labels, ...]:
    """Return people's labels of a record's images from files next to it; answers of scripts do not count."""
    found = [read_labels(path) for path in sorted(folder.glob(f"*{LABELS}"))]
    return tuple(
        label for label in found if label.source == "person" and digest in {r.digest for r in label.records}
    )


def judge_policy(policy: Policy, subject: Chosen, base: Chosen | None, day: date) -> tuple[Finding, ...]:
    """Return the gate's findings. Without a base, rules about a difference are not shown to be kept."""
    after = _side(subject)
    if base is not None:
        return tuple(check(policy, _side(base), after, day))
    absolute = [rule for rule in policy.rules if rule.limit[0] in LIMITS[:2]]
    texts = [rule.text for rule in absolute]
    waivers = [waiver for waiver in policy.waivers if waiver.rule in texts]
    without_base = policy.model_copy(update={"rules": absolute, "waivers": waivers})
    found = iter(check(without_base, after, after, day))
    return tuple(
        next(found) if rule in absolute else Finding(rule.text, rule.metric, "unclear", reason=NO_BASELINE)
        for rule in policy.rules
    )


def _side(chosen: Chosen) -> Side:
    items = chosen.loaded.items
    assert items is not None
    rows = items[items["point"] == chosen.point.index].reset_index(drop=True)
    return make_side(chosen.loaded.record.method.name, chosen.point.values, rows)


def make_audit(
    path: Path,
    why: str,
    policy: Policy | None = None,
    point: str | None = None,
    baseline: Path | None = None,
    labels: Sequence[Path] = (),
    day: date | None = None,
    unlearning: Unlearning | None = None,
) -> Audit:
    """Return the report of a record. baseline: of the model before, found next to the record unless given.

    labels: files of people's answers, in place of those next to the record. day: the record's own unless
    given. Raises UserError where a file is broken or of another task.
    """
    loaded = load_one(path)
    subject = choose_point(loaded, point)
    before = baseline or find_base(path, loaded)
    base = choose_point(load_one(before)) if before else None
    if base is not None and base.loaded.record.task.id != loaded.record.task.id:
        task = base.loaded.record.task.id
        raise UserError(f"--baseline {baseline}: is of {task}, the record of {loaded.record.task.id}")
    day = day or _day_of(loaded)
    findings = judge_policy(policy, subject, base, day) if policy else ()
    people = _named(labels, loaded) if labels else find_labels(path.parent, loaded.digest)
    said = statements_about(path, loaded)
    base_said = statements_about(before, base.loaded) if before and base else ()
    return Audit(subject, base, why, day, policy, findings, people, unlearning, said, base_said)


def _named(paths: Sequence[Path], loaded: Loaded) -> tuple[Labels, ...]:
    found = []
    for path in paths:
        label = read_labels(path)
        if label.source != "person":
            raise UserError(f"{path}: source: these answers were given by a script; they are never published")
        if loaded.digest not in {record.digest for record in label.records}:
            raise UserError(f"{path}: records: names other records than {loaded.name}; leave it out")
        found.append(label)
    return tuple(found)


def _day_of(loaded: Loaded) -> date:
    try:
        return date.fromisoformat(loaded.record.created[:10])
    except ValueError:
        created = loaded.record.created
        raise UserError(f"{loaded.name}: created: {created!r:.40} is no date; give --date") from None
