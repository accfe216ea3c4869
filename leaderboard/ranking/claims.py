"""Claims and statements: reported numbers, repeated records, stronger attacks, withdrawn records."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ...bench.records.load import Loaded, RecordFolder, merge
from ...bench.records.record import name_entry
from ...bench.records.statements import Attacked, Rerun, Superseded
from .attacked import AttackReport, read_attacked
from .board import MethodSummary, measure, summarise
from .declared import read_method_points


@dataclass(frozen=True)
class Withdrawn:
    """A record that a board leaves out, and why."""

    row: str
    task: str
    seed: int
    cell: str
    kind: str
    reason: str
    by: str
    date: str
    successor: str | None


@dataclass(frozen=True)
class Attack:
    """A stronger attack on one point. ua: under the attack; before: the record's own."""

    row: str
    task: str
    seed: int
    point: str
    attack: str
    by: str
    link: str
    date: str
    ua: float
    images: int
    before: float | None
    counted: bool  # whether a board holds the record: measured, of an evaluated concept, not withdrawn


@dataclass(frozen=True)
class Repeated:
    """A record that was run again, with the verdict."""

    row: str
    task: str
    seed: int
    verdict: str
    by: str
    date: str
    equal: int
    numbers: int


@dataclass(frozen=True)
class Beside:
    """Everything that folders hold apart from measured records. attacked: what attacks brought back here;
    attacks: what others say that theirs did."""

    claimed: tuple[Loaded, ...] = ()
    withdrawn: tuple[Withdrawn, ...] = ()
    attacks: tuple[Attack, ...] = ()
    repeated: tuple[Repeated, ...] = ()
    attacked: AttackReport = field(default_factory=AttackReport)

    @property
    def summaries(self) -> dict[str, MethodSummary]:
        """Claimed AVA by row: a column of its own, never ranked."""
        groups = read_method_points(self.claimed, source="reported")
        return {line.method: line for line in summarise([measure(group) for group in groups])}

    def under_attack(self, tasks: Collection[str] | None = None) -> dict[str, tuple[float, int]]:
        """Return (UA under the strongest attacks, concepts attacked) by row: mean of each concept's lowest.

        tasks: those of the board that shows it, None = all. Attacks on records of no board do not count.
        """
        lowest: dict[str, dict[str, float]] = {}
        for attack in self.attacks:
            if attack.counted and (tasks is None or attack.task in tasks):
                own = lowest.setdefault(attack.row, {})
                own[attack.task] = min(attack.ua, own.get(attack.task, 1.0))
        return {row: (float(np.mean(list(own.values()))), len(own)) for row, own in lowest.items()}


def read_beside(folders: Mapping[Path, RecordFolder], loaded: Sequence[Loaded] = ()) -> Beside:
    """Return the claims and statements of folders, in a fixed order. loaded: the folders' records.

    Raises UserError where two folders hold different claims of one name.
    """
    claimed = merge((path, entry) for path, folder in folders.items() for entry in folder.claimed)
    claimed += [entry for entry in loaded if entry.record.source == "reported"]
    stated = [pair for folder in folders.values() for pair in folder.statements]
    gone = {entry.digest for folder in folders.values() for entry, _ in folder.withdrawn}
    return Beside(
        claimed=tuple(sorted(claimed, key=lambda entry: (entry.name, entry.digest))),
        withdrawn=_withdrawn(list(folders.values())),
        attacks=tuple(_attack(entry, s, gone) for entry, s in stated if isinstance(s, Attacked)),
        repeated=tuple(_repeated(entry, s) for entry, s in stated if isinstance(s, Rerun)),
        attacked=read_attacked(
            folders, (e.digest for folder in folders.values() for e in (*folder.records, *folder.claimed))
        ),
    )


def _withdrawn(folders: Sequence[RecordFolder]) -> tuple[Withdrawn, ...]:
    if not any(folder.withdrawn for folder in folders):
        return ()  # without the digest of every record
    names = {
        entry.digest: entry.record.cell for folder in folders for entry in (*folder.records, *folder.claimed)
    }
    names |= {entry.digest: entry.record.cell for folder in folders for entry, _ in folder.withdrawn}
    return tuple(
        Withdrawn(
            **_where(entry),
            cell=entry.record.cell,
            kind=statement.kind,
            reason=statement.reason,
            by=statement.by,
            date=statement.date,
            successor=names.get(statement.successor) if isinstance(statement, Superseded) else None,
        )
        for folder in folders
        for entry, statement in folder.withdrawn
    )


def _where(entry: Loaded) -> dict[str, Any]:
    return {"row": name_entry(entry.record), "task": entry.record.task.id, "seed": entry.record.seed}


def _attack(entry: Loaded, statement: Attacked, gone: Collection[str]) -> Attack:
    """Return an attack as pages show it. gone: digests of the withdrawn records."""
    point = next(p for p in entry.record.points if p.index == statement.point)
    own = point.values.get("UA")
    return Attack(
        **_where(entry),
        point=point.label,
        attack=statement.attack,
        by=statement.by,
        link=statement.link,
        date=statement.date,
        ua=float(statement.ua.value or 0.0),
        images=statement.ua.n,
        before=None if own is None else own.value,
        counted=entry.record.source == "measured"
        and entry.record.task.role == "evaluated"
        and entry.digest not in gone,
    )


def _repeated(entry: Loaded, statement: Rerun) -> Repeated:
    equal = sum(number.state == "equal" for number in statement.numbers)
    return Repeated(
        **_where(entry),
        verdict=statement.verdict,
        by=statement.by,
        date=statement.date,
        equal=equal,
        numbers=len(statement.numbers),
    )


def prefer_measured(entries: Sequence[Loaded]) -> list[Loaded]:
    """Return the measured records of a row, or all of them where none is measured."""
    return [entry for entry in entries if entry.record.source == "measured"] or list(entries)


def rows_of(entries: Sequence[Loaded]) -> dict[str, list[Loaded]]:
    """Return records by the name of their row on the board."""
    found: dict[str, list[Loaded]] = {}
    for entry in entries:
        found.setdefault(entry.row, []).append(entry)
    return found
