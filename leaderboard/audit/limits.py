"""The limits of a report's evidence, derived from its records."""

import tomllib
from collections.abc import Iterator
from importlib.resources import files
from typing import Any

from ...bench import worlds
from ...bench.labels.labels import Labels
from ...bench.metrics.collapse import is_collapsed
from ...bench.records.load import find_withdrawal
from ...bench.records.statements import Attacked, Rerun, Retracted, Superseded
from ...bench.stats.intervals import wilson
from ...bench.types import Value
from ..ranking.columns import write_interval, write_value
from .audit import Audit

Limit = tuple[str, str]
"""Topic and text of a limit."""
VERDICTS = {
    "agrees": "the numbers agree",
    "differs": "the numbers differ",
    "unclear": "these images do not show whether the numbers agree",
}


def list_limits(audit: Audit) -> list[Limit]:
    """Return the limits of what a report shows."""
    return [
        *_said(audit),
        *_scope(audit),
        *_prompts(audit),
        *_judge(audit),
        *_point(audit),
        *_origin(audit),
    ]


def _said(audit: Audit) -> Iterator[Limit]:
    """Yield the statements about the records; no page of a record hides one."""
    gone, before = audit.withdrawal, find_withdrawal(audit.base_said)
    if gone is not None:
        yield "Withdrawn", f"{_withdrawn(gone)} Boards leave it out; its numbers are not to be relied on."
    if before is not None:
        yield "Before", f"Of the record of the model before: {_withdrawn(before)}"
    points = {point.index: point for point in audit.subject.loaded.record.points}
    for said in audit.said:
        if isinstance(said, Attacked):
            point, ua = points[said.point], said.ua
            own = point.values.get("UA")
            fell = "missing" if own is None else _read(own)
            where = "" if point == audit.subject.point else f", on another point of the run ({point.label})"
            yield (
                "Stronger attack",
                f"{said.attack}, run by {said.by} ({said.date}){where}: the share without the target is "
                f"{fell} in this record, and {_read(ua)} of {ua.n} images under it. {said.link}".strip(),
            )
        elif isinstance(said, Rerun):
            equal = sum(number.state == "equal" for number in said.numbers)
            yield (
                "Repeated",
                f"By {said.by} ({said.date}), with {'the same' if said.same_versions else 'other'} versions: "
                f"{VERDICTS[said.verdict]}; {equal} of {len(said.numbers)} headline numbers are equal.",
            )


def _withdrawn(said: Retracted | Superseded) -> str:
    follows = f" It is superseded by the record {said.successor}." if isinstance(said, Superseded) else ""
    return f"{said.by} withdrew this record ({said.date}): {said.reason.rstrip('.')}.{follows}"


def _scope(audit: Audit) -> Iterator[Limit]:
    record = audit.subject.loaded.record
    yield (
        "One model",
        "It is about one model, whose digest is given above, with these sampling settings. "
        f"Its intervals are 95 % and cover {record.interval_text}: another training run with the same "
        "settings can differ by more than their width.",
    )


def _prompts(audit: Audit) -> Iterator[Limit]:
    items = audit.subject.loaded.items
    assert items is not None
    own = items[items["point"] == audit.subject.point.index]
    parts = []
    for split, words in (
        ("forget", "that ask for the target"),
        ("indirect", "that imply it without naming it"),
        ("retain", "for other concepts"),
    ):
        some = own[own["split"] == split]
        prompts, noises = some["prompt_id"].nunique(), some.groupby("prompt_id").size()
        each = f", {noises.min()} images each" if len(noises) and noises.min() == noises.max() > 1 else ""
        parts.append(f"{prompts} prompts {words} ({len(some)} images{each})" if prompts else f"none {words}")
    yield "Prompts", "; ".join(parts).capitalize() + ". Other wordings were not tried."
    names = ", ".join(sorted(audit.subject.loaded.record.metrics))
    yield (
        "Measures",
        f"Only these were computed: {names}. What they do not measure is unknown. Unless an attack is among "
        "them, neither adversarial prompts nor further training to restore the target were tried.",
    )


def _judge(audit: Audit) -> Iterator[Limit]:
    task = audit.subject.loaded.record.task
    text = f"A program, {task.judge}, decides what an image shows, and it makes errors."
    text += _published(task.world, task.judge, _kind(audit))
    if audit.base is not None:
        found = audit.base.point.values.get("UA")
        if found is not None and found.value is not None:
            text += (
                f" In images of the model before, drawn for the same prompts, it did not find the target in "
                f"a share of {_read(found)} of {found.n}: its misses and the failures of that model."
            )
    yield "Judge", text
    if not audit.labels:
        yield (
            "Judge, on these images",
            "missing: no person has labelled this record's images (unlearnbench label), so the "
            "judge's error on the images of an unlearned model is unknown.",
        )
    for labels in audit.labels:
        yield from _people(audit, labels)


def _kind(audit: Audit) -> str:
    items = audit.subject.loaded.items
    assert items is not None
    return str(items["target_kind"].iloc[0])


def _published(world: str, judge: str, kind: str) -> str:
    """Return a sentence with the judge's measured errors on images of known truth."""
    for entry in read_judge_errors():
        if (entry["world"], entry["judge"]) == (world, judge) and kind in entry["missed"]:
            (missed, of), (named, negatives) = entry["missed"][kind], entry["named"]
            return (
                f" On images of known truth it missed the {kind} in {_share(missed, of)}, and of images that "
                f"show nothing, of the worst kind, it named something in {_share(named, negatives)}."
            )
    return " Its errors on images of known truth: missing, none are published with this world."


def read_judge_errors() -> list[dict[str, Any]]:
    """Return the errors of the worlds' judges on images of known truth."""
    text = files(worlds).joinpath("judge-errors.toml").read_text(encoding="utf-8")
    return list(tomllib.loads(text)["judges"])


def _share(k: int, n: int) -> str:
    low, high = wilson(k, n)
    return f"{k} of {n} (95 % interval {100 * low:.2g} to {100 * high:.2g} %)"


def _people(audit: Audit, labels: Labels) -> Iterator[Limit]:
    cell = audit.subject.loaded.record.cell
    for found in labels.methods:
        if cell not in found.cells or found.point != audit.subject.point.label:
            continue
        parts = [
            f"{labels.who} answered for {found.answered} images blind ({found.unsure} unsure).",
            f"Agreement with the judge: {_read(found.agreement)}; Cohen's kappa {_read(found.kappa)}.",
            f"Share without the target according to this person: {_read(found.UA_person)}.",
            f"The judge's share, corrected for its errors (counted on {found.errors_of}): "
            f"{_read(found.UA_corrected)}.",
        ]
        yield "Judge, on these images", " ".join(parts)


def _read(value: Value) -> str:
    if value.value is None:
        return f"missing ({value.missing})"
    interval = write_interval(value, "share")
    return write_value(value, "share") + (f" ({interval})" if interval else "")


def _point(audit: Audit) -> Iterator[Limit]:
    count = len(audit.subject.loaded.record.points)
    name = audit.subject.name
    texts = {
        "shown": f"Of {count} points of the run this one, {name}, was chosen beforehand, on other concepts.",
        "last": f"Of {count} points of the run this is the last, {name}; the others are not reported here.",
        "named": f"Of {count} points of the run this one, {name}, was picked by whoever made the report. A "
        "point that is picked after its numbers are seen looks better than it is.",
    }
    if audit.subject.how in texts and count > 1:
        yield "Choice of the model", texts[audit.subject.how]
    point = audit.subject.point
    varied = point.values.get("collapse")
    if varied is not None and is_collapsed(varied):
        yield "Collapse", "The collapse check flags this model: its images are blank, copies, or all alike."
    if point.unscored:
        yield "Not scored", point.unscored
    if point.note:
        yield "Note of the run", point.note


def _origin(audit: Audit) -> Iterator[Limit]:
    record = audit.subject.loaded.record
    if record.source != "measured":
        yield "Source", f"These numbers are {record.source}: nobody measured them again with this program."
    if record.commit is None or record.commit.endswith("+"):
        yield (
            "Code",
            "It was measured by code that no commit names: "
            + (record.commit or "no commit is recorded")
            + ".",
        )
    if audit.unlearning is not None:
        yield (
            "Making of the model",
            "Method, data and digests of the weights come from the program that made the model; "
            "this report did not check them against the model.",
        )
    if audit.base is None:
        yield "Before", "missing: there is no record of the model before, so this report shows no change."
