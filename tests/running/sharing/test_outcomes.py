"""Outcomes of workers on other machines: all workers' together, and none of an earlier run."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from unlearnbench.bench.errors import UserError
from unlearnbench.bench.running.runner import Outcome
from unlearnbench.bench.running.sharing.outcomes import (
    clear_outcomes,
    list_outcomes,
    read_outcomes,
    write_outcomes,
)


def _outcome(folder: Path, stem: str, state: str, drawn: int = 0, attack: str = "") -> Outcome:
    path = folder / "attacked" / f"{stem}.{attack}.json" if attack else folder / f"{stem}.json"
    cell: Any = SimpleNamespace(stem=stem)
    return Outcome(cell, state, path, drawn)


def test_the_outcomes_of_all_workers_are_one(tmp_path: Path) -> None:
    logs = tmp_path / "parts"
    cells: list[Any] = [SimpleNamespace(stem=stem) for stem in "abcd"]
    first = [_outcome(tmp_path, "a", "measured", 5), _outcome(tmp_path, "b", "failed", 1)]
    other = [_outcome(tmp_path, "a", "unchanged", 2), _outcome(tmp_path, "b", "failed")]
    other.append(_outcome(tmp_path, "c", "unchanged"))
    attacks = [
        _outcome(tmp_path, "a", "failed", attack="p4d"),
        _outcome(tmp_path, "a", "measured", 3, "ring"),
    ]
    write_outcomes(logs, 0, tmp_path, first, attacks[:1])
    write_outcomes(logs, 1, tmp_path, other, attacks[1:])
    found, attacked = read_outcomes(logs, cells, tmp_path)
    assert [(o.cell.stem, o.state, o.drawn) for o in found] == [
        ("a", "measured", 7),
        ("b", "failed", 1),
        ("c", "unchanged", 0),
        ("d", "failed", 0),  # no worker names it
    ]
    assert [(o.path.name, o.state, o.drawn) for o in attacked] == [
        ("a.p4d.json", "failed", 0),
        ("a.ring.json", "measured", 3),
    ]
    assert all(o.path.parent == tmp_path for o in found)


def test_those_of_an_earlier_run_are_removed_and_nothing_else(tmp_path: Path) -> None:
    write_outcomes(tmp_path, 3, tmp_path)
    for name in ("3.log", "mine.json"):
        (tmp_path / name).write_text("")
    assert [path.name for path in list_outcomes(tmp_path)] == ["3.json"]
    clear_outcomes(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["3.log", "mine.json"]


def test_a_damaged_file_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "0.json").write_text(json.dumps([[], []])[:-1])
    with pytest.raises(UserError, match=r"0\.json: cannot be read"):
        read_outcomes(tmp_path, [], tmp_path)
