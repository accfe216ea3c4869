"""Validate a record: every check that needs no image to be drawn again."""

from collections.abc import Iterator, Mapping
from functools import lru_cache
from itertools import chain
from pathlib import Path
from typing import Any

import pandas as pd

from ..config import build
from ..environment import differing
from ..errors import UserError
from ..metrics.rows import BASE_FAILED
from ..names import find_problems_in_name
from ..records.load import Loaded, load_one
from ..records.record import Record
from ..records.rows import Stamp, find_file, stamp
from ..records.sealed import check_content
from ..records.sheets import SUMS, bound_sheet
from ..records.statements import CLAIMED, list_records
from ..records.untrusted import (
    MOST_ROWS,
    TABLE,
    check_size,
    read_untrusted_items,
    read_untrusted_json,
    read_untrusted_table,
)
from .attacked import check_attacked
from .expected import Expected, asked_share, find_problems_in_coverage, guess_sizes, noise_of
from .known import (
    Known,
    check_declaration,
    find_problems_in_metrics,
    find_problems_in_suite,
    find_problems_in_versions,
    suite_of,
)
from .named import Check, State, conclude, find_bad_names, find_bad_places, find_gaps
from .plausible import find_problems_in_numbers, find_problems_in_rows, find_problems_in_unscored
from .recomputed import KEYS, find_problems_in_values, rescore
from .stated import find_problems_in_statements


def validate(path: Path, known: Known) -> list[Check]:
    """Return the checks of a record, its item rows and its sheet, in order; a bad file ends the checks.

    AS_delta is compared where the base model's record of the same images lies in the same folder and was made
    in the same environment; elsewhere it stays unchecked.
    """
    try:
        entry = _read(path)
    except UserError as error:
        return [Check("files", "failed", str(error))]
    record = entry.record
    if record.attack is not None:
        return check_attacked(path, entry, known)
    stated = chain(find_gaps(record), find_problems_in_statements(record), find_problems_in_metrics(record))
    checks = [conclude("files", stated)]
    checks += _check_binding(path, record)
    checks.append(conclude("names", chain(find_bad_names(record), find_bad_places(record))))
    if checks[-1].state == "failed":
        return checks
    said = chain(find_problems_in_versions(record, known), find_problems_in_suite(path, record, known))
    checks.append(conclude("versions", said))
    checks += check_declaration(record, known)
    if entry.items is None or any(check.state == "failed" for check in checks):
        return checks
    expected, prompts = _check_prompts(record, entry.items, known)
    checks.append(prompts)
    if expected is not None:
        checks.append(conclude("coverage", _find_bad_points(record, entry.items, expected)))
    base = _find_base(path, record, known)
    checks.append(conclude("values", _find_bad_values(entry, base)))
    if "AS" in record.metrics and not record.method.reference and (why := _say_no_base(record, base)):
        checks.append(Check("values", "unchecked", f"AS_delta: not compared, for {why}"))
    return checks


def _say_no_base(record: Record, base: Loaded | None) -> str:
    """Return why a record cannot be compared with the images of a base model's record, "" where it can.

    Images of one seed differ in last bits between devices, numbers of threads and versions.
    """
    if base is None:
        return "the base model's record of these images is not beside this one"
    names = differing(record.environment, base.record.environment)
    return f"the base model's record beside this one was made with another {names[0]}" if names else ""


def _read(path: Path) -> Loaded:
    content = read_untrusted_json(path)
    record = build(Record, content, str(path))
    check_content(path, content)
    if record.items_sha256 is not None:
        _check_rows(find_file(path))
    if record.sheet:
        check_size(path.with_suffix(".webp"))
    return load_one(path, record)


def _check_rows(file: Path) -> None:
    """Raise UserError where a file of item rows is not safe to open; a folder's table is checked once."""
    if file.name != TABLE:
        read_untrusted_items(file, MOST_ROWS)
    elif complaint := find_problems_in_table(file, stamp(file)):
        raise UserError(complaint)


@lru_cache(maxsize=64)
def find_problems_in_table(file: Path, _: Stamp) -> str | None:
    """Return why a folder's table is not safe to open, None where it is; cached for an unchanged file."""
    try:
        rows = read_untrusted_table(file)
        counts = rows["cell"].value_counts().to_pylist()
        for cell, count in sorted((count["values"], count["counts"]) for count in counts):
            if complaint := find_problems_in_name(cell):
                raise UserError(f"{file}: cell: {complaint}")
            if count > MOST_ROWS:
                raise UserError(f"{file}: cell: {count:,} rows of {cell}; a record has at most {MOST_ROWS:,}")
    except UserError as error:
        return str(error)
    return None


def _check_binding(path: Path, record: Record) -> list[Check]:
    """Return a check for a contact sheet without a known digest; an empty list where there is one.

    A digest that differs ended the reading. Where a folder lists its files, the sheet must be among them.
    """
    if not record.sheet or bound_sheet(path, record) is not None:
        return []
    folder = path.parent.parent if path.parent.name == CLAIMED else path.parent
    state: State = "failed" if (folder / SUMS).exists() else "unchecked"
    text = f"sheet: neither the record nor {SUMS} holds its digest; `unlearnbench pack` lists it"
    return [Check("sheet", state, text)]


def _check_prompts(record: Record, items: pd.DataFrame, known: Known) -> tuple[Expected | None, Check]:
    """Return the task's expected rows, and the check of the prompts. Sizes must be those of the suite."""
    if record.source == "external":
        return None, Check("prompts", "unchecked", "prompts_sha256: the images were given with their prompts")
    task, suite = known.tasks[record.task.id], suite_of(record, known)
    world = known.open_world(task.file.world)
    try:
        sizes = [suite.sizes] if suite is not None else guess_sizes(items, asked_share(record, task))
    except UserError as error:
        return None, Check("prompts", "failed", str(error))
    try:
        found = known.expectations.find(record, task, world, sizes)
    except UserError as error:  # a published prompt file that is the user's to supply
        return None, Check("prompts", "unchecked", f"prompts_sha256: {error}")
    if found is None:
        whose = f"of the suite {record.suite}" if suite is not None else "in these numbers"
        text = f"prompts_sha256: is not the digest of the prompts that {task.id} gives {whose}"
        return None, Check("prompts", "failed", text)
    return found[0], Check("prompts", "passed")


def _find_bad_points(record: Record, items: pd.DataFrame, expected: Expected) -> Iterator[str]:
    declared = record.method.config.get("checkpoints")
    if isinstance(declared, list) and [point.step for point in record.points] != declared:
        steps = [point.step for point in record.points]
        yield f"points: of the declared checkpoints {declared} the record holds {steps}"
    names = record.method.config.get("points")
    if isinstance(names, list) and len(names) != len(record.points):
        yield f"points: {len(names)} declared, the record holds {len(record.points)}"
    yield from find_problems_in_coverage(record, items, expected)


def _find_bad_values(entry: Loaded, base: Loaded | None) -> Iterator[str]:
    record, items = entry.record, entry.items
    assert items is not None
    if base is not None:
        yield from _find_other_sampling(record.sampling, base.record.sampling)
        yield from _find_false_blame(record, base)
    roots = {name.partition("_")[0] for name in record.metrics}
    yield from find_problems_in_rows(items, record)
    rescored = rescore(items, None if base is None or _say_no_base(record, base) else base.items)
    for point in record.points:
        rows = items["point"].to_numpy() == point.index
        for complaint in find_problems_in_numbers(point, int(rows.sum())):
            yield f"point {point.label}: {complaint}"
        found = rescored.values(rows, record.interval_version).items()
        given = {name: value for name, value in found if name.partition("_")[0] in roots}
        for complaint in find_problems_in_values(dict(point.values), given):
            yield f"point {point.label}: {complaint}"
        if point.unscored is None:
            continue
        is_last = point is record.points[-1]
        for complaint in find_problems_in_unscored(point, items[rows], is_last, record.headline):
            yield f"point {point.label}: {complaint}"


def _find_false_blame(record: Record, base: Loaded) -> Iterator[str]:
    """Yield values whose stated reason is a failed image of the base model, although it has none."""
    if any(point.failed_images for point in base.record.points):
        return
    for point in record.points:
        for name, value in point.values.items():
            if str(value.missing).startswith(BASE_FAILED):
                yield f"point {point.label}: {name}: {value.missing}, but no image of the base model failed"


def _images_of(record: Record) -> tuple[str, str, int]:
    """Return what tells a base model's record of the same images; a sequence's has those of every step."""
    asked = record.prompts_sha256 if record.sequence is None else " ".join(record.sequence.tasks)
    return record.task.id, asked, noise_of(record)


def _find_other_sampling(stated: Mapping[str, Any], base: Mapping[str, Any]) -> Iterator[str]:
    """Yield the sampling settings that differ from the base model's."""
    for name in sorted(stated.keys() | base.keys()):
        if stated.get(name) != base.get(name):
            yield f"sampling.{name}: {stated.get(name)!r:.40}; the base model's is {base.get(name)!r:.40}"


def _find_base(path: Path, record: Record, known: Known) -> Loaded | None:
    """Return the base model's record of the same images; for a claim, the measured one of its suite."""
    if record.method.reference:
        return None
    folder = path.parent
    if record.source != "measured":
        if folder.name != CLAIMED:
            return None
        folder = folder.parent
    return _bases(folder, known).get(_images_of(record))


def _bases(folder: Path, known: Known) -> Mapping[tuple[str, str, int], Loaded]:
    """Return the measured records of a folder's base models, by the images that they are of."""
    if folder not in known.bases:
        found = {}
        for path in (path for path in list_records(folder) if ".none." in path.name):
            try:
                entry = _read(path)
                images = _images_of(entry.record)
            except UserError:  # that record's own checks say so
                continue
            record, items = entry.record, entry.items
            once = items is not None and not items.duplicated(KEYS).any()
            if once and record.method.name == "none" and record.source == "measured":
                found[images] = entry
        known.bases[folder] = found
    return known.bases[folder]
