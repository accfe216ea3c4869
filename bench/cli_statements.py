"""What `retract` and `attack` do: they append a statement about a record, and leave the record as it is."""

import argparse
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from .errors import UserError
from .statements import CLAIMED, check_attack, check_successor, make_statement, write_statement
from .stats.intervals import wilson


def retract_record(options: argparse.Namespace) -> int:
    """Append a retraction of a record, or name the record that stands in its place."""
    entry = _load(options.record)
    said = {**about(entry), "by": options.by, "reason": options.reason}
    statement = make_statement("retracted", said, "retract")
    if options.successor is not None:
        successor = _load(options.successor)
        if successor.digest == entry.digest:
            raise UserError(f"--successor {options.successor}: is the record itself")
        if home(options.successor) != home(options.record):
            raise UserError(f"--successor {options.successor}: must lie in the folder of the record")
        check_successor(entry.record, successor.record)
        statement = make_statement("superseded", {**said, "successor": successor.digest}, "retract")
    print(f"{statement.kind}: {write_statement(statement, home(options.record))}")
    return 0


def add_attack(options: argparse.Namespace) -> int:
    """Append a stronger attack's UA; refused where it would raise the record's."""
    entry = _load(options.record)
    record = entry.record
    labels = [point.label for point in record.points]
    if not labels or (options.point is not None and options.point not in labels):
        raise UserError(f"--point {options.point}: {options.record.name} has the points {', '.join(labels)}")
    point = record.points[-1 if options.point is None else labels.index(options.point)]
    if not 0 <= options.ua <= 1 or options.images < 1:
        raise UserError(
            f"--ua {options.ua}, --images {options.images}: a share in [0, 1] of at least one image"
        )
    low, high = wilson(options.ua * options.images, options.images)
    said = {"by": options.by, "attack": options.attack, "point": point.index, "link": options.link}
    ua = {"value": options.ua, "low": low, "high": high, "n": options.images}
    statement = make_statement("external", {**about(entry), **said, "ua": ua}, "attack")
    check_attack(statement, record)
    print(f"attack: {write_statement(statement, home(options.record))}")
    return 0


def _load(path: Path) -> Any:
    from ..leaderboard.load import load_one

    return load_one(path)


def about(entry: Any) -> dict[str, str]:
    """Return what every statement says of the record that it is about, and today's date."""
    today = datetime.now(UTC).date().isoformat()
    return {"about": entry.digest, "cell": entry.record.cell, "date": today}


def home(path: Path) -> Path:
    """Return the folder of a record's suite: claimed records lie one folder deeper."""
    folder = path.resolve().parent
    return folder.parent if folder.name == CLAIMED else folder
