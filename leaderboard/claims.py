"""What stands beside the measured numbers: claims nobody repeated, stronger attacks, what was taken back."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..bench.statements import CLAIMED, FOLDER, Attacked, Rerun, Superseded
from .board import Line, measure, summarise
from .declared import read_groups
from .load import Loaded, read_shelf
from .standing import name_entry


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
    """A stronger attack on one point: its UA beside the record's own."""

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


@dataclass(frozen=True)
class Repeated:
    """A record that was repeated, and what came of it."""

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
    """All that folders of records hold beside their measured records."""

    claimed: tuple[Loaded, ...] = ()
    withdrawn: tuple[Withdrawn, ...] = ()
    attacks: tuple[Attack, ...] = ()
    repeated: tuple[Repeated, ...] = ()

    @property
    def lines(self) -> dict[str, Line]:
        """AVA as others claim it, by row: a column of its own, never ranked."""
        groups = read_groups(self.claimed, source="reported")
        return {line.method: line for line in summarise([measure(group) for group in groups])}

    def under_attack(self, row: str) -> tuple[float, int] | None:
        """Return (UA under the strongest attacks, concepts attacked): the mean of each concept's lowest."""
        lowest: dict[str, float] = {}
        for attack in self.attacks:
            if attack.row == row:
                lowest[attack.task] = min(attack.ua, lowest.get(attack.task, 1.0))
        return (float(np.mean(list(lowest.values()))), len(lowest)) if lowest else None


def read_beside(folders: Sequence[Path], loaded: Sequence[Loaded] = ()) -> Beside:
    """Return what folders hold beside the records that were loaded from them, in a fixed order."""
    shelves = [read_shelf(f) for f in folders if (f / CLAIMED).is_dir() or (f / FOLDER).is_dir()]
    claimed = [entry for shelf in shelves for entry in shelf.claimed]
    claimed += [entry for entry in loaded if entry.record.source == "reported"]
    said = [pair for shelf in shelves for pair in shelf.statements]
    return Beside(
        claimed=tuple(sorted(claimed, key=lambda entry: (entry.name, entry.digest))),
        withdrawn=tuple(w for shelf in shelves for w in _withdrawn(shelf.withdrawn, shelves)),
        attacks=tuple(_attack(entry, s) for entry, s in said if isinstance(s, Attacked)),
        repeated=tuple(_repeated(entry, s) for entry, s in said if isinstance(s, Rerun)),
    )


def _withdrawn(pairs: Sequence[tuple[Loaded, Any]], shelves: Sequence[Any]) -> list[Withdrawn]:
    names = {
        entry.digest: entry.record.cell for shelf in shelves for entry in (*shelf.records, *shelf.claimed)
    }
    names |= {entry.digest: entry.record.cell for shelf in shelves for entry, _ in shelf.withdrawn}
    return [
        Withdrawn(
            **_where(entry),
            cell=entry.record.cell,
            kind=statement.kind,
            reason=statement.reason,
            by=statement.by,
            date=statement.date,
            successor=names.get(statement.successor) if isinstance(statement, Superseded) else None,
        )
        for entry, statement in pairs
    ]


def _where(entry: Loaded) -> dict[str, Any]:
    return {"row": name_entry(entry.record), "task": entry.record.task.id, "seed": entry.record.seed}


def _attack(entry: Loaded, statement: Attacked) -> Attack:
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
