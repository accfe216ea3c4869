"""Check the files next to records as strictly as records: statements, labels, pooled values, item tables."""

import math
import re
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import pandas as pd

from ..config import build
from ..errors import UserError
from ..labels.images import Source, make_groups
from ..labels.labels import Answer, Labels, read_labels, summarise
from ..measuring.pool import FD, KD, Pooled
from ..names import find_problems_in_name
from ..records.chosen import choose_point
from ..records.layout import is_pooled
from ..records.load import load_one
from ..records.packed.record_table import RECORDS, find_json, open_records
from ..records.record import name_entry, read_record, record_digest
from ..records.rows import Stamp, open_table, stamp
from ..records.statements import (
    CLAIMED,
    LABELS,
    check_statement,
    list_records,
    read_statement,
    read_statements,
)
from ..records.statements import FOLDER as STATEMENTS
from ..records.untrusted import TABLE, check_size, read_untrusted_json
from .plausible import find_problems_in_value
from .ranges import FRECHET, KERNEL
from .validate import find_problems_in_table

DIGEST = re.compile(r"[0-9a-f]{64}")
POOLED_RANGES = {FD: FRECHET, KD: (-0.05, KERNEL[1])}
"""KD is unbiased and may be below 0, by at most the mean kernel of an image with itself over the number of
images: a few thousandths where hundreds are pooled."""


def check_published(path: Path) -> Labels:
    """Return labels that may be published: a person's, about records in their folder, with correct results.

    Raises UserError naming file and field.
    """
    read_untrusted_json(path)
    labels = read_labels(path)
    if labels.source != "person":
        raise UserError(f"{path}: source: a script gave these answers; only a person's are published")
    if complaint := find_problems_in_name(labels.who):
        raise UserError(f"{path}: who: {complaint}")
    if not labels.answers or len(labels.answers) > labels.asked:
        raise UserError(f"{path}: answers: {len(labels.answers)} of {labels.asked} images asked")
    sources = [_find_source(path, record) for record in labels.records]
    for answer in labels.answers:
        _check_answer(path, answer, sources)
    images = [(answer.cell, answer.prompt_id, answer.sample) for answer in labels.answers]
    if len(set(images)) < len(images):
        raise UserError(f"{path}: answers: one image is answered twice")
    found = summarise(labels.answers, make_groups(sources), labels.interval_version)
    for stated, own in zip(labels.methods, found, strict=False):
        if field := next(_differences(stated.model_dump(), own.model_dump()), None):
            raise UserError(f"{path}: methods: {own.method}: {field}: is not what answers and records give")
    if len(labels.methods) != len(found):
        raise UserError(f"{path}: methods: {len(labels.methods)}, the answers are about {len(found)}")
    return labels


def _find_source(path: Path, labelled: Any) -> Source:
    """Return the labelled record in the folder of the labels."""
    for folder in (path.parent, path.parent / CLAIMED):
        near = folder / f"{labelled.cell}.json"
        if near in list_records(folder):
            loaded = load_one(near)
            if (loaded.digest, loaded.record.items_sha256) == (labelled.digest, labelled.items_sha256):
                return Source(choose_point(loaded, labelled.point), (), labelled.images)
    raise UserError(f"{path}: records: {labelled.cell:.80}: no record here has this name and digest")


def _check_answer(path: Path, answer: Answer, sources: list[Source]) -> None:
    chosen = next(source.chosen for source in sources if source.chosen.loaded.record.cell == answer.cell)
    items = chosen.loaded.items
    assert items is not None
    row = items[(items["point"] == chosen.point.index) & (items["split"] == "forget")
                & (items["prompt_id"] == answer.prompt_id) & (items["sample"] == answer.sample)]  # fmt: skip
    same = len(row) == 1 and row["image_sha256"].iloc[0] == answer.image_sha256
    said = row["target_found"].iloc[0] if same else None
    if not same or pd.isna(said) or bool(said) != answer.judge:
        where = f"prompt {answer.prompt_id:.40}, sample {answer.sample}"
        raise UserError(
            f"{path}: answers: {where}: the record has no such image, or its judge said otherwise"
        )


def _differences(stated: Any, own: Any, field: str = "") -> Iterator[str]:
    """Yield the dotted fields in which two nested values differ; numbers may in their last digits."""
    if isinstance(own, dict):
        for name, value in own.items():
            yield from _differences(stated[name], value, f"{field}.{name}" if field else name)
    elif isinstance(own, float) and isinstance(stated, float):
        if not math.isclose(stated, own, rel_tol=1e-6, abs_tol=1e-9):
            yield field
    elif stated != own:
        yield field


def check_pooled(path: Path) -> None:
    """Raise UserError where a pooled value is impossible, or of a row that no record of the folder has."""
    pooled = build(Pooled, read_untrusted_json(path), str(path))
    rows = _rows(path.parent.parent)
    for metric, values in pooled.by_metric.items():
        field, limits = metric.lower(), POOLED_RANGES[metric]
        for name, value in values.items():
            if name not in rows:
                raise UserError(f"{path}: {field}: {name!a:.60}: no record beside it is of this row")
            if complaint := find_problems_in_value(value, limits, limits):
                raise UserError(f"{path}: {field}.{name}: {complaint}")
    for name, digest in pooled.made_from.items():
        if name not in rows or not DIGEST.fullmatch(digest):
            raise UserError(f"{path}: made_from: {name!a:.60}: is no row beside it, or has no digest")


def _rows(folder: Path) -> set[str]:
    """Return the names of the rows of a folder's records."""
    found = set()
    for path in list_records(folder):
        try:
            found.add(name_entry(read_record(path)))
        except UserError:  # that record's own checks say so
            continue
    return found


def check_table(path: Path) -> None:
    """Raise UserError where a folder's table of item rows is broken or holds rows that no record reads."""
    if complaint := find_problems_in_table(path, stamp(path)):
        raise UserError(complaint)
    names = {record.stem for record in list_records(path.parent)}
    for cell in sorted(open_table(path).places):
        if cell not in names:
            raise UserError(f"{path}: cell: has rows of {cell}, of which no record lies beside it")
        if path.with_name(f"{cell}.parquet").exists():
            raise UserError(
                f"{path}: cell: {cell} has rows in a file of its own, too; run `unlearnbench pack` again"
            )


def check_record_table(path: Path) -> None:
    """Raise UserError where a folder's table of records is broken, or a record lies in a file, too."""
    check_size(path)
    for cell in open_records(path.parent):
        if path.with_name(f"{cell}.json").exists():
            raise UserError(
                f"{path}: cell: {cell} lies in a file of its own, too; run `pack --records` again"
            )


def check_record(path: Path, known: Any) -> list[Any]:
    """Return the checks of a record; a record in the folder of claims must be a claim."""
    from .validate import Check, validate

    checks = validate(path, known)
    if path.parent.name == CLAIMED and checks[0].state == "passed" and read_record(path).source != "reported":
        checks.append(Check("names", "failed", "source: lies among the claimed, but is not 'reported'"))
    return checks


def check_beside(path: Path) -> Any:
    """Return the check of a file next to records: statement, labels, pooled FD or table.

    The records that it is about must be in the folder. Any other JSON file fails.
    """
    from .validate import Check

    try:
        if is_pooled(path):
            check_pooled(path)
        elif path.name == TABLE:
            check_table(path)
        elif path.name == RECORDS:
            check_record_table(path)
        elif path.name.endswith(LABELS):
            check_published(path)
        elif path.parent.name == STATEMENTS:
            check_statement(read_statement(path), _by_digest(path.parent.parent))
            read_statements(path.parent.parent)  # several statements together may form a circle
        else:
            raise UserError(
                f"{path}: lies where no record is read; records lie in SUITE/ or SUITE/{CLAIMED}/"
            )
    except UserError as error:
        return Check("files", "failed", str(error))
    return Check("files", "passed")


def _by_digest(folder: Path) -> dict[str, Any]:
    paths = (*list_records(folder), *list_records(folder / CLAIMED))
    return _read_by_digest(tuple((path, stamp(find_json(path))) for path in paths))


@lru_cache(maxsize=1)  # a folder has many statements
def _read_by_digest(paths: tuple[tuple[Path, Stamp], ...]) -> dict[str, Any]:
    found = {}
    for path, _ in paths:
        try:
            record = read_record(path)
        except UserError:  # its own checks say so
            continue
        found[record_digest(record)] = record
    return found
