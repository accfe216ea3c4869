"""Statements about an unchanged record: a re-run, a retraction, a successor, a stronger attack.

`results/` is append-only. A statement is a small JSON file in `statements/` beside the records, named after
the record and its own kind; it names the record's digest, so that it can never slip to another one.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from ..config import STRICT, build
from ..errors import UserError
from ..files import write_file
from ..names import find_problems_in_name
from ..store import content_key
from ..types import Value
from .packed.record_table import list_packed
from .record import Record
from .untrusted import read_untrusted_json

LABELS = ".labels.json"
"""Suffix of files of people's labels, which are in the same folder but are no records."""
FOLDER = "statements"
ATTACKED = "attacked"
"""Folder of attacked records, next to the records: no board ranks them."""
MANIFEST = "submission.json"
"""List of a submission's files, which an unpacked one leaves next to the records."""
CLAIMED = "claimed"
"""Folder of claims, next to the records: records whose source is `reported`."""
HEADLINE = ("UA", "UA_indirect", "VA", "in_prompt", "IRA", "CRA", "AS")
"""Values that a re-run compares."""
Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class _Statement(BaseModel):
    """about: digest of the record. cell: its name. by: author. date: ISO 8601, a day."""

    model_config = STRICT
    schema_version: Literal[1] = 1
    about: Digest
    cell: str = Field(max_length=200)
    by: str = Field(min_length=1, max_length=200)
    date: str = Field(pattern=r"^\d{4}-\d{2}-\d{2}$")


class Retracted(_Statement):
    """The record is withdrawn; boards leave it out and give the reason."""

    kind: Literal["retracted"] = "retracted"
    reason: str = Field(min_length=1, max_length=2000)


class Superseded(_Statement):
    """Another record replaces this one."""

    kind: Literal["superseded"] = "superseded"
    reason: str = Field(min_length=1, max_length=2000)
    successor: Digest


class Attacked(_Statement):
    """A stronger attack found the target again. ua: UA under the attack, which can only lower a score."""

    kind: Literal["external"] = "external"
    attack: str = Field(min_length=1, max_length=200)
    point: int  # index of the attacked point
    ua: Value
    link: str = Field(default="", pattern=r"^(https?://\S+)?$", max_length=500)


class Compared(BaseModel):
    """One headline number, of the record and of its re-run. low, high: paired interval of the difference."""

    model_config = STRICT
    point: str
    metric: str
    claimed: float | None
    rerun: float | None
    low: float | None = None
    high: float | None = None
    state: Literal["equal", "agrees", "differs", "unclear"]


class Rerun(_Statement):
    """The record was repeated. rerun: digest of the new record. margin: largest agreeing difference."""

    kind: Literal["rerun"] = "rerun"
    rerun: Digest
    verdict: Literal["agrees", "differs", "unclear"]
    margin: float = Field(ge=0)
    same_versions: bool
    numbers: list[Compared]


def write_statement(statement: Any, folder: Path) -> Path:
    """Write a statement into a folder of records and return its path. An existing statement stays unchanged.

    Its name is `CELL.DIGEST.KIND.json`, DIGEST of its content: several may be about one record.
    """
    content = statement.model_dump(mode="json")
    path = folder / FOLDER / f"{statement.cell}.{content_key(content)[:8]}.{statement.kind}.json"
    if not path.exists():
        write_file(path, json.dumps(content, indent=1, sort_keys=True) + "\n")
    return path


KINDS: dict[str, Any] = {
    "retracted": Retracted,
    "superseded": Superseded,
    "external": Attacked,
    "rerun": Rerun,
}


def make_statement(kind: str, values: dict[str, Any], source: str) -> Any:
    """Return a validated statement; raises UserError naming `source` and the field."""
    if kind not in KINDS:
        raise UserError(f"{source}: kind: {ascii(kind)[:40]} is none of {', '.join(KINDS)}")
    statement = build(KINDS[kind], values, source)
    names = {"cell": statement.cell, "by": statement.by}
    names |= {"attack": statement.attack} if isinstance(statement, Attacked) else {}
    for field, name in names.items():
        if complaint := find_problems_in_name(name):
            raise UserError(f"{source}: {field}: {complaint}")
    return statement


def read_statement(path: Path) -> Any:
    """Return a validated statement; raises UserError naming file and field."""
    content = read_untrusted_json(path)
    statement = make_statement(str(content.get("kind")), content, str(path))
    if not path.name.endswith(f".{statement.kind}.json"):
        raise UserError(f"{path}: kind: is {statement.kind!r}, so its file is named *.{statement.kind}.json")
    return statement


def list_records(folder: Path) -> list[Path]:
    """Return the paths of a folder's records, sorted; label files and a submission's list are none.

    A record in the folder's table has the path that its own file would have. Raises UserError for a table
    that cannot be read.
    """
    found = {path for path in folder.glob("*.json") if path.name != MANIFEST}
    return sorted(path for path in found.union(list_packed(folder)) if not path.name.endswith(LABELS))


def read_statements(folder: Path) -> list[Any]:
    """Return the statements of a folder of records, in the order of their file names.

    Raises UserError where records supersede each other: none of them would be left.
    """
    found = [read_statement(path) for path in sorted((folder / FOLDER).glob("*.json"))]
    _refuse_circles([statement for statement in found if isinstance(statement, Superseded)])
    return found


def _refuse_circles(statements: list[Superseded]) -> None:
    after: dict[str, set[str]] = {}
    for statement in statements:
        after.setdefault(statement.about, set()).add(statement.successor)
    for statement in statements:
        reached, left = set[str](), [statement.successor]
        while left:
            digest = left.pop()
            if digest not in reached:
                reached.add(digest)
                left += after.get(digest, set())
        if statement.about in reached:
            raise UserError(
                f"{statement.cell}: superseded: successor: is in the end superseded by this record"
            )


def refuse_second(about: str, folder: Path) -> None:
    """Raise UserError where a record, by its digest, was withdrawn already. folder: of the records."""
    for statement in read_statements(folder):
        if statement.about == about and isinstance(statement, Retracted | Superseded):
            raise UserError(f"{statement.cell}: is {statement.kind} already, by {statement.by}")


def check_statement(statement: Any, records: Mapping[str, Record]) -> None:
    """Raise UserError where a statement is about none of the records, or contradicts them.

    records: by their digest.
    """
    if statement.about not in records:
        raise UserError(
            f"{statement.cell}: {statement.kind}: about: no record here has the digest {statement.about[:12]}"
        )
    record = records[statement.about]
    if isinstance(statement, Superseded):
        if statement.successor not in records or statement.successor == statement.about:
            raise UserError(f"{statement.cell}: superseded: successor: no other record here has that digest")
        check_successor(record, records[statement.successor])
    if isinstance(statement, Rerun):
        check_rerun(statement, record)
    if isinstance(statement, Attacked):
        check_attack(statement, record)


def check_successor(record: Record, successor: Record) -> None:
    """Raise UserError unless a successor is of the same cell; its configuration may differ."""
    for field, own, other in (
        ("task", record.task.id, successor.task.id),
        ("method", record.method.name, successor.method.name),
        ("seed", record.seed, successor.seed),
        ("source", record.source, successor.source),
    ):
        if own != other:
            raise UserError(
                f"{record.cell}: superseded: successor: is of {field} {other}, the record of {own}"
            )


def judge(numbers: Sequence[Compared]) -> Literal["agrees", "differs", "unclear"]:
    """Return the verdict that follows from compared numbers."""
    states = {number.state for number in numbers}
    if "differs" in states:
        return "differs"
    return "unclear" if "unclear" in states or not numbers else "agrees"


def check_rerun(statement: Rerun, record: Record) -> None:
    """Raise UserError where a re-run's numbers are not all of the record's, or not what its verdict says."""
    start = f"{statement.cell}: rerun"
    stated = {
        (point.label, name): value.value
        for point in record.points
        for name, value in point.values.items()
        if name in HEADLINE and value.value is not None
    }
    compared = {(number.point, number.metric): number for number in statement.numbers}
    lacking = sorted(stated.keys() - compared.keys())
    if lacking or not compared or len(compared) < len(statement.numbers):
        raise UserError(f"{start}: numbers: must hold each headline number of the record once: {lacking[:1]}")
    for (point, metric), number in compared.items():
        claimed = stated.get((point, metric))
        if (number.claimed is None) != (claimed is None) or number.claimed != claimed:
            raise UserError(f"{start}: numbers: {metric} of point {point}: the record states {claimed}")
        if number.state not in _states(number, statement.margin):
            raise UserError(f"{start}: numbers: {metric} of point {point}: is not {number.state}")
    if statement.verdict != judge(statement.numbers):
        raise UserError(
            f"{start}: verdict: {statement.verdict}, but its numbers say {judge(statement.numbers)}"
        )


def _states(number: Compared, margin: float) -> tuple[str, ...]:
    """Return the possible states of a compared number; `differs` too where its own rows do not give it."""
    if number.claimed is None or number.rerun is None:
        return ("unclear",)
    if number.low is None or number.high is None:
        same = abs(number.claimed - number.rerun) <= 1e-9 + 5e-7 * abs(number.rerun)
        return ("equal", "differs") if same else ("unclear", "differs")
    return ("agrees",) if number.low <= margin and number.high >= -margin else ("differs",)


def check_attack(statement: Attacked, record: Record) -> None:
    """Raise UserError where an attack's UA is no share, of no point, or above the record's own UA."""
    points = {point.index: point for point in record.points}
    if statement.point not in points:
        raise UserError(f"{statement.cell}: external: point: the record has no point {statement.point}")
    own, ua = points[statement.point].values.get("UA"), statement.ua
    if ua.value is None or not 0 <= ua.value <= 1 or ua.n < 1:
        raise UserError(f"{statement.cell}: external: ua: must be a share of some images")
    if own is not None and own.value is not None and ua.value > own.value:
        raise UserError(
            f"{statement.cell}: external: ua: {ua.value:.3f} is above the record's {own.value:.3f}; "
            "an attack only ever lowers a score"
        )
