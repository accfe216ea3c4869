"""The record of one cell (task, method, config, seed): schema, validation, reading and writing."""

import hashlib
import json
import shlex
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

import pandas as pd
from pydantic import Field, model_validator

from ..config import read_json
from ..errors import UserError
from ..files import replace_file, write_file
from ..planning.sequences import SequenceInfo
from ..types import ITEM_COLUMNS, LATER, AttackInfo, DataChoice, Headline, RecordPart, Value, not_scored
from .packed.record_table import read_bytes, refuse_packed
from .rows import find_file, read_rows, write_items
from .sealed import SEAL, SHEET, check_content, content_digest, items_digest, sha256
from .training_images import PrecisionCheck, TrainingImages

VOLATILE = ("key", "created", "seconds", "environment", "command", "commit", "files", "tags",
            "content_sha256")  # fmt: skip
"""Fields of a record that may differ between two runs of the same cell; `digest` leaves them out."""


class TaskInfo(RecordPart):
    id: str  # family/concept@world
    family: str
    concept: str
    anchor: str | None
    world: str  # name@version
    judge: str  # name@version
    role: Literal["evaluated", "tuning"]
    version: int
    targets: list[str]


class MethodInfo(RecordPart):
    name: str
    version: int
    summary: str
    paper: str
    config: dict[str, Any]
    reference: bool = False  # `none`, `retrain`: a model that the world supplies
    label: str = Field(default="", json_schema_extra=LATER)  # of configurations in a row of their own

    @property
    def is_base(self) -> bool:
        """Whether it is `none`: the base model itself, from which methods start."""
        return self.reference and self.name == "none"


class Cost(RecordPart):
    """seconds: training up to this point, without scoring. memory_bytes: peak resident memory (CPU) or
    allocated device memory; memory_of: `training`, how far it rose above what was in use at the start; in
    older records of the whole `process`, from its own start. parameters: trained. delta_bytes: size of the
    saved difference. distance: L2 norm of the update over that of the denoiser's weights."""

    seconds: float | None
    memory_bytes: int | None
    parameters: int
    delta_bytes: int | None
    distance: float | None = None
    memory_of: Literal["process", "training"] = Field(default="process", json_schema_extra=LATER)

    def read(self, name: str) -> float | None:
        """Return a cost of training, None where it is not recorded. A whole process's memory is no cost."""
        if name == "memory_bytes" and self.memory_of != "training":
            return None
        number: float | None = getattr(self, name)
        return number


class PointInfo(RecordPart):
    """One saved point. label: `120` steps, or what the method calls it. values: metric name -> Value.

    shown: chosen on the tuning concepts to represent its method. unscored: why no retain image was drawn of
    a point that forgets too little for its alignment to be read; that is neither a failure nor a zero.
    failed_images: how many images have pixels that are not finite; metrics of sets that hold one are missing.
    """

    index: int
    step: int
    label: str
    fingerprint: str  # of the generator that drew the images
    values: dict[str, Value]
    cost: Cost
    note: str | None = None
    shown: bool = False
    unscored: str | None = None
    failed_images: int = Field(default=0, ge=0, json_schema_extra=LATER)

    @model_validator(mode="before")
    @classmethod
    def _tell_each(cls, content: Any) -> Any:
        """Give each value named in `not_scored` its reason, which files hold once for each point."""
        if not isinstance(content, dict) or "not_scored" not in content:
            return content
        rest = {name: part for name, part in content.items() if name != "not_scored"}
        names, values = content["not_scored"], rest.get("values")
        if not isinstance(names, list) or not isinstance(values, dict) or not rest.get("unscored"):
            raise ValueError("not_scored: is a list of metrics of a point with `unscored` and `values`")
        if any(not isinstance(name, str) or name in values for name in names):
            raise ValueError("not_scored: names a metric that has a value, or is no name")
        told = dict.fromkeys(names, not_scored(str(rest["unscored"])).model_dump())
        return rest | {"values": dict(sorted((values | told).items()))}


class Record(RecordPart):
    """One cell, measured. Its item rows are in `<stem>.parquet` or, with those of the whole folder, in
    `items.parquet`; its contact sheet is in `<stem>.webp`. The record itself is in `<stem>.json` or a row of
    `records.parquet`."""

    schema_version: Literal[1] = 1
    key: str  # digest of everything that the cell depends on
    cell: str  # stem of the files: task, method, seed, short digest of the config
    suite: str
    source: Literal["measured", "reported", "external"]
    inline: bool = Field(default=False, json_schema_extra=LATER)  # of a function given in a process
    status: Literal["ok", "failed"]
    error: str | None
    task: TaskInfo
    method: MethodInfo
    seed: int
    data: DataChoice
    choice: str | None = None  # sha256 of the file of configurations chosen on tuning concepts
    headline: Headline = Field(default="AVA", json_schema_extra=LATER)  # what orders the suite's board
    declaration: str = Field(default="", json_schema_extra=LATER)  # sha256 of what the suite declared before
    sampling: dict[str, Any]  # steps, guidance, size, dtype, samples a prompt
    prompts_sha256: str
    metrics: dict[str, int]  # name -> version
    interval: str  # what the intervals cover: "prompts and noise, one training run"
    interval_version: Literal[1, 2] = Field(default=1, json_schema_extra=LATER)  # of the intervals of shares
    points: list[PointInfo]
    log: dict[str, list[float | None]]  # training curves: column -> one entry a step
    items_sha256: str | None  # of the canonical item rows
    training_images: TrainingImages | None = Field(default=None, json_schema_extra=LATER)
    precision: PrecisionCheck | None = Field(default=None, json_schema_extra=LATER)  # in half precision only
    sheet: list[str] = Field(default_factory=list)  # prompts on the contact sheet, column by column
    created: str
    seconds: float
    environment: dict[str, Any]  # versions, device, threads, platform
    command: str
    commit: str | None
    limit: int | None = Field(
        default=None, ge=1, json_schema_extra=LATER
    )  # most prompts of each set (--limit)
    tags: dict[str, str] = Field(default_factory=dict, json_schema_extra=LATER)  # the user's own words
    attack: AttackInfo | None = Field(default=None, json_schema_extra=LATER)  # of an attacked record only
    sequence: SequenceInfo | None = Field(default=None, json_schema_extra=LATER)  # of a step of a sequence
    files: dict[str, str] = Field(default_factory=dict, json_schema_extra=LATER)  # suffix -> sha256
    content_sha256: str = Field(default="", json_schema_extra=LATER)  # of all other fields, see `sealed.py`

    @property
    def mark(self) -> str:
        """Word after its row's name on a page, "" for a record that may be ranked."""
        if self.inline:
            return "inline"
        if self.source == "external":
            return "given images"
        return "" if self.limit is None else f"limit {self.limit}"

    @property
    def interval_text(self) -> str:
        """What the intervals cover, and the version of those of shares."""
        return f"{self.interval}; intervals of shares of version {self.interval_version}"


def name_row(method: str, data: str, noise: int, reference: bool, label: str = "") -> str:
    """Return the name of a cell's row on a board. Label, narrow data and noise make rows of their own."""
    narrow = "" if data == "diverse" else f" ({data} data)"
    return (
        method
        + (f" ({label})" if label else "")
        + narrow
        + (f", noise {noise}" if noise and reference else "")
    )


def record_digest(record: Record) -> str:
    """Return the sha256 of a record without its time-dependent fields: equal for equal runs."""
    content = record.model_dump(mode="json", exclude=set(VOLATILE))
    for point in content["points"]:
        point["cost"].pop("seconds")
        point["cost"].pop("memory_bytes")
        point["cost"].pop("memory_of", None)
    if "attack" in content:
        content["attack"]["cost"].pop("seconds")
    canonical = json.dumps(content, sort_keys=True, allow_nan=False)
    return hashlib.sha256(canonical.encode()).hexdigest()


def write_record(
    record: Record, items: pd.DataFrame | None, sheet: bytes | None, folder: Path, seal: bool = False
) -> Path:
    """Write the files of a record atomically, the JSON last; return its path.

    seal: the JSON carries the digests of the sheet and of itself; one that was sealed before always does.
    """
    seal = seal or bool(record.content_sha256)
    if seal and sheet is not None:
        record = record.model_copy(update={"files": {**record.files, SHEET: sha256(sheet)}})
    # first, so that a record that cannot be written replaces no file
    refuse_packed(folder / f"{record.cell}.json")
    content = _shorten(record.model_dump(mode="json"))
    if seal:
        content[SEAL] = content_digest(json.loads(_json_by_field(content)))
    text = _json_by_field(content)
    if items is not None:
        replace_file(folder / f"{record.cell}.parquet", lambda p: write_items(items, p))
    if sheet is not None:
        write_file(folder / f"{record.cell}.webp", sheet)
    return write_file(folder / f"{record.cell}.json", text)


def _shorten(content: dict[str, Any]) -> dict[str, Any]:
    """Return a record's content in short form: the reason of values that were not scored once for each point,
    and no empty intervals or reasons."""
    for point in content["points"]:
        values = point["values"]
        if point["unscored"]:
            alike = not_scored(point["unscored"]).model_dump()
            point["not_scored"] = sorted(name for name, value in values.items() if value == alike)
            point["values"] = {n: v for n, v in values.items() if n not in point["not_scored"]}
        for value in point["values"].values():
            for name in ("low", "high", "missing"):
                if value[name] is None:
                    del value[name]
    return content


def _json_by_field(content: dict[str, Any]) -> str:
    """Return JSON with one line for each field: compact, and a diff of two records stays readable."""
    write = json.JSONEncoder(allow_nan=False, sort_keys=True, separators=(",", ":")).encode
    lines = [f"{write(name)}: {write(content[name])}" for name in sorted(content)]
    return "{\n" + ",\n".join(lines) + "\n}\n"


def read_record(path: Path) -> Record:
    """Return a validated record; raises UserError naming file and field, also where the file was changed."""
    record = read_json(Record, path, "no such record", read_bytes)
    if record.content_sha256:
        check_content(path, json.loads(read_bytes(path)))
    return record


def read_items(path: Path, record: Record) -> pd.DataFrame | None:
    """Return the item rows of a record (columns `point` + ITEM_COLUMNS), or None where it has none.

    Raises UserError when they cannot be read or are not those that the record was made from.
    """
    if record.items_sha256 is None:
        return None
    file, items = find_file(path), read_rows(path, record.cell)
    if items is None:
        own = path.with_suffix(".parquet")
        beside = "" if file == own else f", and {file.name} has no rows of it"
        raise UserError(f"{own}: missing, though {path.name} was made from it{beside}")
    lacking = [c for c in ("point", *ITEM_COLUMNS) if c not in items.columns]
    if lacking:
        raise UserError(f"{file}: lacks the columns {', '.join(lacking)}")
    if items_digest(items) != record.items_sha256:
        raise UserError(f"{file}: its rows are not those that {path.name} was made from (digest differs)")
    return items


def split_command(record: Record) -> list[str]:
    """Return the words of a record's command, none where it is no command of this program."""
    try:
        words = shlex.split(record.command)
    except ValueError:  # an unmatched quotation mark
        return []
    return words if words[:1] == ["unlearnbench"] else []


def join_command(words: Iterable[str]) -> str:
    """Return words as one line for a shell; the home folder's sign stays outside the quotation marks."""
    return " ".join(f"~/{shlex.quote(w[2:])}" if w.startswith("~/") else shlex.quote(w) for w in words)


def safe_command(record: Record) -> str:
    """Return the command that measured a record, every word quoted; "" where it is not of this program."""
    return join_command(split_command(record))


def name_point(label: str, step: int) -> str:
    """Return a point's name for people: `120 steps`, or what its method calls it."""
    return f"{label} steps" if label == str(step) else label


def name_entry(record: Record) -> str:
    """Return the name of a record's row on the board."""
    noise = record.sampling.get("noise", 0)
    name = name_row(record.method.name, record.data, noise, record.method.reference, record.method.label)
    return f"{name} ({record.mark})" if record.mark else name
