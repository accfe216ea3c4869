"""Checks of a record that need nothing but its JSON: gaps, names, digests, places; and what a check is."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from ..errors import UserError
from ..names import find_problems_in_name, find_problems_in_path
from ..places import find_problems_in_places
from ..records.record import Record
from ..records.sealed import SHEET
from ..records.untrusted import walk_texts
from .expected import noise_of

State = Literal["passed", "failed", "unchecked"]
HEX = re.compile(r"[0-9a-f]{64}")
TASK_ID = re.compile(r"[a-z0-9-]+/[a-z0-9][a-z0-9-]*@[a-z0-9-]+")
LINK = re.compile(r"^\s*(?!https?:)[a-z][a-z0-9+.-]*:(?!\s)", re.IGNORECASE)


@dataclass(frozen=True)
class Check:
    """Result of one check of one record. detail: one line that names the field, "" where it passed."""

    name: str
    state: State
    detail: str = ""


def conclude(name: str, complaints: Iterator[str]) -> Check:
    first = next(complaints, None)
    return Check(name, "passed") if first is None else Check(name, "failed", first)


def find_gaps(record: Record) -> Iterator[str]:
    """Yield where a record states values without the item rows or the metric that they come from."""
    if record.status == "ok" and record.items_sha256 is None:
        yield "items_sha256: none, though status is ok: its values come from no item rows"
    if record.status == "failed" and record.points:
        yield "points: there are some, though the run failed"


def find_bad_names(record: Record) -> Iterator[str]:
    """Yield what is wrong with names and digests."""
    task, method = record.task, record.method
    attack = record.attack
    names = {"cell": record.cell, "suite": record.suite, "task.family": task.family, "task.world": task.world,
             "task.concept": task.concept, "task.judge": task.judge, "method.name": method.name,
             "method.label": method.label or "none"}  # fmt: skip
    listed = {"task.targets": task.targets, "metrics": record.metrics, "log": record.log,
              "points.label": [p.label for p in record.points],
              "points.values": [name for p in record.points for name in p.values]}  # fmt: skip
    pairs = [*names.items(), *((f, n) for f, found in listed.items() for n in found)]
    if attack is not None:
        pairs += [("attack.name", attack.name), ("attack.budget", attack.budget)]
        pairs += [("attack.readings", name) for name in attack.readings]
    if task.anchor is not None:
        pairs.append(("task.anchor", task.anchor))
    for where, name in pairs:
        if complaint := find_problems_in_name(name):
            yield f"{where}: {complaint}"
    digests = {"key": record.key, "prompts_sha256": record.prompts_sha256, "choice": record.choice,
               "declaration": record.declaration or None, "items_sha256": record.items_sha256}  # fmt: skip
    if attack is not None:
        digests |= {"attack.fingerprint": attack.fingerprint, "attack.of": attack.of or None}
    digests |= {f"files.{name}": digest for name, digest in record.files.items()}
    if record.files.keys() - {SHEET}:
        yield f"files: {ascii(max(record.files.keys() - {SHEET}))[:60]}: a record lists its {SHEET} alone"
    try:
        noise_of(record)
    except UserError as error:
        yield str(error)
    digests |= {f"points.{i}.fingerprint": p.fingerprint for i, p in enumerate(record.points)}
    for where, digest in digests.items():
        if digest is not None and not HEX.fullmatch(digest):
            yield f"{where}: {ascii(digest)[:60]} is no sha256 (64 hex digits)"


def find_bad_places(record: Record) -> Iterator[str]:
    """Yield fields that could be a path out of the folder, or a link that runs a program."""
    task, method = record.task, record.method
    if not TASK_ID.fullmatch(task.id):
        yield f"task.id: {ascii(task.id)[:60]} is not of the form family/concept@world"
    for part, values in (("method.config", method.config), ("environment", record.environment),
                         ("sampling", record.sampling), ("sheet", record.sheet),
                         ("attack.config", record.attack.config if record.attack else {})):  # fmt: skip
        for where, text in walk_texts(values, part):
            if complaint := find_problems_in_path(text):
                yield f"{where}: {complaint}"
    for where, text in (("command", record.command), ("error", record.error or "")):
        if complaint := find_problems_in_places(text):
            yield f"{where}: {complaint}"
    papers = {"method.paper": method.paper, "attack.paper": record.attack.paper if record.attack else ""}
    for where, paper in papers.items():
        if LINK.match(paper):
            yield f"{where}: {ascii(paper)[:60]} is a link of another kind than https"
