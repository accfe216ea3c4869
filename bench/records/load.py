"""Read folders of records. Every file is checked, and one broken file stops the reading."""

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ..errors import UserError
from .means import ScoredRows, check_rows, point_means, score_rows
from .record import Record, name_entry, read_items, read_record, record_digest
from .rows import find_file
from .sheets import read_sheet
from .statements import (
    CLAIMED,
    Attacked,
    Retracted,
    Superseded,
    check_attack,
    check_statement,
    list_records,
    read_statements,
)


@dataclass(frozen=True)
class Loaded:
    """A record with its item rows. sheet: the bytes of its contact sheet (webp), None where it has none."""

    name: str  # of the JSON file, without its folder, so that pages do not depend on the folder
    record: Record
    items: pd.DataFrame | None
    sheet: bytes | None
    origin: str = ""  # suffix that distinguishes its row from one of the same name and another source
    is_home: bool = True  # whether it is of the board's own source, which determines the board's concepts

    @property
    def row(self) -> str:
        """The name of its row on a board."""
        name = name_entry(self.record)
        return f"{name} ({self.origin})" if self.origin else name

    @cached_property
    def digest(self) -> str:
        """The record's digest, made once where somebody asks."""
        return record_digest(self.record)

    @cached_property
    def scored(self) -> ScoredRows:
        """The scores of its item rows, made once. Raises UserError where no metric could read the rows."""
        assert self.items is not None
        check_rows(self.record, self.items)
        return score_rows(self.items)

    @cached_property
    def means(self) -> NDArray[np.float64] | None:
        """`point_means` of the record, None without item rows; made once."""
        return None if self.items is None else point_means(self.record, self.items, self.scored)


def load(folder: Path) -> list[Loaded]:
    """Return the records of a folder that nobody withdrew, in the order of their file names.

    Raises UserError naming file and field where a record, its item rows, its contact sheet or a statement
    about one is broken, and where the folder holds no record.
    """
    return tell_apart([(folder, entry) for entry in read_folder_of_records(folder).records])


def tell_apart(pairs: Sequence[tuple[Path, Loaded]]) -> list[Loaded]:
    """Return records with suffixes on row names that would otherwise be equal.

    The main source is the suite with the most records in the first folder; its rows keep their names. Records
    of another folder, suite or method version are a row of their own. So are those of another commit, if both
    commits measured the same concept. An added record renames no other row.
    """
    if not pairs:
        return []
    folders = list(dict.fromkeys(folder for folder, _ in pairs))
    suites = Counter(entry.record.suite for folder, entry in pairs if folder == folders[0])
    home = (0, min(suites, key=lambda suite: (-suites[suite], suite)))
    rows: dict[tuple[str, str], dict[_Source, list[Loaded]]] = {}
    for folder, entry in pairs:
        place = (folders.index(folder), entry.record.suite)
        source = _Source(place != home, *place, entry.record.method.version, entry.record.commit or "")
        rows.setdefault((entry.row, entry.record.source), {}).setdefault(source, []).append(entry)
    marks: dict[int, tuple[str, bool]] = {}
    for sources in rows.values():
        for source, origin in _name_sources(sources, [folder.name for folder in folders]).items():
            marks |= {id(entry): (origin, not source.is_foreign) for entry in sources[source]}
    found = [(entry, *marks[id(entry)]) for _, entry in pairs]
    return [replace(entry, origin=origin, is_home=own) for entry, origin, own in found]


class _Source(NamedTuple):
    is_foreign: bool
    folder: int
    suite: str
    version: int
    commit: str


def _name_sources(sources: Mapping[_Source, Sequence[Loaded]], folders: Sequence[str]) -> dict[_Source, str]:
    """Return the suffix of each source of a row: "" for the board's own first source, else the first."""
    tasks = {source: {entry.record.task.id for entry in found} for source, found in sources.items()}

    def order(source: _Source) -> tuple[Any, ...]:
        return (source.is_foreign, source.folder, -len(tasks[source]), -len(sources[source]), source)

    names: dict[_Source, str] = {}
    for source in sorted(sources, key=order):
        first = next(iter(names), source)
        same = [
            other for other in names if source[:4] == other[:4] and not tasks[source] & tasks[other]
        ]  # of other concepts, by another commit: a run that was ended later
        names[source] = names[same[0]] if same else _name_source(source, first, folders, names.values())
    return names


def _name_source(source: _Source, first: _Source, folders: Sequence[str], taken: Iterable[str]) -> str:
    if source == first:
        return ""
    parts = [f"suite {source.suite}"] if source.suite != first.suite else []
    parts += [folders[source.folder]] if source.folder != first.folder and not parts else []
    parts += [f"version {source.version}"] if source.version != first.version else []
    name = ", ".join(parts) or f"commit {source.commit[:7] or 'unknown'}"
    return name if name not in taken else f"{name}, {source.folder + 1}, commit {source.commit[:7]}"


@dataclass(frozen=True)
class RecordFolder:
    """The content of a folder of records: records, claims and statements.

    records, claimed: without those that were retracted or superseded; withdrawn: those, each with the
    statement that says why. statements: all others, each with the record that it is about.
    """

    records: tuple[Loaded, ...]
    claimed: tuple[Loaded, ...]
    withdrawn: tuple[tuple[Loaded, Any], ...]
    statements: tuple[tuple[Loaded, Any], ...]


def read_folder_of_records(folder: Path) -> RecordFolder:
    """Return the content of a folder; raises UserError like `load`."""
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder of records")
    paths = list_records(folder)
    claims = list_records(folder / CLAIMED)
    if not paths and not claims:
        raise UserError(f"{folder}: no records (*.json) in it; `unlearnbench run` writes some")
    records, claimed = [load_one(path) for path in paths], [_load_claimed(path) for path in claims]
    for entry in records:
        if entry.record.attack is not None:
            raise UserError(
                f"{folder / entry.name}: attack: an attacked record is no method's; no board ranks it"
            )
        if entry.record.sequence is not None:
            raise UserError(
                f"{folder / entry.name}: sequence: no board ranks a step of a sequence; its folder has a "
                "page of its own: unlearnbench leaderboard FOLDER"
            )
    statements = read_statements(folder)
    by_digest = {entry.digest: entry for entry in (*claimed, *records)} if statements else {}
    for statement in statements:
        check_statement(statement, {digest: entry.record for digest, entry in by_digest.items()})
    said = tuple((by_digest[statement.about], statement) for statement in statements)
    withdrawn = tuple(pair for pair in said if isinstance(pair[1], Retracted | Superseded))
    gone = {entry.digest for entry, _ in withdrawn}
    return RecordFolder(
        tuple(entry for entry in records if not gone or entry.digest not in gone),
        tuple(entry for entry in claimed if not gone or entry.digest not in gone),
        withdrawn,
        tuple(pair for pair in said if not isinstance(pair[1], Retracted | Superseded)),
    )


def _load_claimed(path: Path) -> Loaded:
    entry = load_one(path)
    if entry.record.source != "reported":
        raise UserError(
            f"{path}: source: is {entry.record.source!r}; a claim's is 'reported', as `submit` writes it"
        )
    return replace(entry, name=f"{CLAIMED}/{entry.name}")


def load_together(folders: Sequence[Path]) -> list[Loaded]:
    """Return the records of several folders as one board's; raises UserError like `join_records`."""
    return join_records(read_folders(folders))


def read_folders(folders: Iterable[Path]) -> dict[Path, RecordFolder]:
    """Return the content of each folder; raises UserError like `load`."""
    return {folder: read_folder_of_records(folder) for folder in dict.fromkeys(folders)}


def join_records(folders: Mapping[Path, RecordFolder]) -> list[Loaded]:
    """Return the records of several folders as one board's.

    Several folders may hold the same reference; the first one counts. Raises UserError where two records of
    one name differ otherwise.
    """
    return tell_apart(_merge((path, entry) for path, folder in folders.items() for entry in folder.records))


def merge(pairs: Iterable[tuple[Path, Loaded]]) -> list[Loaded]:
    """Return the records of several folders by name; raises like `join_records`."""
    return [entry for _, entry in _merge(pairs)]


def _merge(pairs: Iterable[tuple[Path, Loaded]]) -> list[tuple[Path, Loaded]]:
    found: dict[str, tuple[Path, Loaded]] = {}
    for folder, entry in pairs:
        where, first = found.setdefault(entry.name, (folder, entry))
        if first is not entry and not _is_same(first.record, entry.record):
            raise UserError(
                f"{folder / entry.name}: {where} holds another record of this name; leave one out"
            )
    return list(found.values())


def _is_same(first: Record, second: Record) -> bool:
    """Return whether two records are of the same images: equal rows under equal prompts."""
    if not (first.method.reference and second.method.reference):
        return record_digest(first) == record_digest(second)
    return (first.prompts_sha256, first.items_sha256) == (second.prompts_sha256, second.items_sha256)


def load_one(path: Path, record: Record | None = None) -> Loaded:
    """Return one record with rows and sheet; raises UserError like `load`. record: its content, if read."""
    record = _read(path) if record is None else record
    for field, complaint in _complaints(path, record):
        raise UserError(f"{path}: {field}: {complaint}")
    items = _read_items(path, record)
    sheet = read_sheet(path, record) if record.sheet else None
    return Loaded(path.name, record, items, sheet)


def statements_about(path: Path, loaded: Loaded) -> tuple[Any, ...]:
    """Return the statements about a record in its folder, in the order of the files; a claim's are one above.

    Raises UserError where a statement is broken, or an attack raises a score.
    """
    folder = path.absolute().parent
    folder = folder.parent if folder.name == CLAIMED else folder
    said = tuple(s for s in read_statements(folder) if s.about == loaded.digest)
    for statement in said:
        if isinstance(statement, Attacked):
            check_attack(statement, loaded.record)
    return said


def find_withdrawal(said: Iterable[Any]) -> Retracted | Superseded | None:
    """Return the statement that withdraws a record, None where there is none."""
    return next((s for s in said if isinstance(s, Retracted | Superseded)), None)


def _read(path: Path) -> Record:
    try:
        return read_record(path)
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from None


def _complaints(path: Path, record: Record) -> Iterator[tuple[str, str]]:
    """Yield (field, problem) for errors that the schema cannot find."""
    if record.cell != path.stem:
        yield "cell", f"is {record.cell!r}, but the file is named {path.stem!r}"
    if record.status == "ok" and not record.points:
        yield "points", "none, though status is ok"
    indices = [point.index for point in record.points]
    if len(set(indices)) < len(indices):
        yield "points", f"an index occurs twice in {indices}"
    for place, point in enumerate(record.points):
        for name, value in point.values.items():
            numbers = (value.value, value.low, value.high)
            if any(number is not None and not math.isfinite(number) for number in numbers):
                yield f"points.{place}.values.{name}", f"not a finite number in {numbers}"
    for column, entries in record.log.items():
        if any(entry is not None and not math.isfinite(entry) for entry in entries):
            yield f"log.{column}", "holds a number that is not finite"
    lengths = {column: len(entries) for column, entries in record.log.items() if entries}
    if len(set(lengths.values())) > 1:
        yield "log", f"its columns are not equally long: {lengths}"


def _read_items(path: Path, record: Record) -> pd.DataFrame | None:
    items = read_items(path, record)
    if items is None:
        return None
    unknown = sorted(set(items["point"]) - {point.index for point in record.points})
    if unknown:
        raise UserError(f"{find_file(path)}: point: {unknown[0]} is not the index of a point in {path.name}")
    return items
