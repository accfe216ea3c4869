"""What became of the cells and attacks of a run on other machines: each worker writes it next to its log.

The process that started the workers cannot compare keys itself: they hold the device, and it may have none.
"""

import contextlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...errors import UserError
from ...files import write_file

if TYPE_CHECKING:  # imports torch
    from ...planning.plan import Cell
    from ..runner import Outcome

STATES = ("failed", "unchanged", "measured")
"""States of an outcome; of several workers' the last in this order counts."""


def list_outcomes(logs: Path) -> list[Path]:
    """Return the files of the workers that went over the whole run. logs: folder of their output."""
    return sorted(path for path in logs.glob("*.json") if path.stem.isdecimal())


def clear_outcomes(logs: Path) -> None:
    """Remove the files that the workers of an earlier run left."""
    for path in list_outcomes(logs):
        with contextlib.suppress(OSError):
            path.unlink()


def write_outcomes(logs: Path, worker: int, folder: Path, *found: "Iterable[Outcome]") -> None:
    """Write what a worker knows of the outcomes of cells and of attacks. folder: of the records."""
    lists = [
        [[o.cell.stem, o.state, o.path.relative_to(folder).as_posix(), o.drawn] for o in part]
        for part in found
    ]
    write_file(logs / f"{worker}.json", json.dumps(lists))


def read_outcomes(logs: Path, cells: "Sequence[Cell]", folder: Path) -> "tuple[list[Outcome], list[Outcome]]":
    """Return the outcomes of cells and of attacks on them, of all workers together.

    A cell that no worker names has failed. drawn: by all workers.
    """
    from ..runner import Outcome

    by_stem = {cell.stem: cell for cell in cells}
    merged: tuple[dict[str, Outcome], dict[str, Outcome]] = ({}, {})
    for file in list_outcomes(logs):
        for known, rows in zip(merged, _read(file), strict=True):
            for stem, state, path, drawn in rows:
                if stem in by_stem:
                    new = Outcome(by_stem[stem], state, folder / path, drawn)
                    known[path] = _merge(known[path], new) if path in known else new
    own = {outcome.cell.stem: outcome for outcome in merged[0].values()}
    lacking = {c.stem: Outcome(c, "failed", folder / f"{c.stem}.json") for c in cells if c.stem not in own}
    return [(own | lacking)[cell.stem] for cell in cells], list(merged[1].values())


def _merge(one: "Outcome", other: "Outcome") -> "Outcome":
    best = max(one, other, key=lambda outcome: STATES.index(outcome.state))
    return replace(best, drawn=one.drawn + other.drawn)


def _read(file: Path) -> Any:
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{file}: cannot be read: {error}; run the same command again") from None


def mark_measured(outcomes: Sequence[Any], fresh: set[str]) -> list[Any]:
    """Return outcomes, with the cells that one of this run's processes measured not called unchanged."""
    made = [outcome.state == "unchanged" and outcome.cell.stem in fresh for outcome in outcomes]
    return [replace(o, state="measured") if new else o for o, new in zip(outcomes, made, strict=True)]
