"""`leaderboard` of many records: time and memory grow with their number, and no faster."""

from pathlib import Path
from typing import Any

import pytest

from .many_records import measure, write_folder

FEW, MANY = 500, 5_000
BYTES_A_RECORD = 600_000
"""Most memory that a record may take: a board's records and item rows are held until its page is written."""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("many")


@pytest.mark.slow
@pytest.mark.parametrize("count", [FEW, MANY])
@pytest.mark.benchmark(group="leaderboard of many records")
def test_leaderboard(benchmark: Any, place: Path, count: int) -> None:
    folder = write_folder(place / f"timed-{count}", count)
    command = ["leaderboard", str(folder), "--out", str(place / f"page-{count}")]
    benchmark.pedantic(lambda: measure(command), rounds=1)


@pytest.mark.slow
def test_time_and_memory_grow_no_faster_than_the_records(place: Path) -> None:
    few, many = (
        measure(["leaderboard", str(write_folder(place / str(n), n)), "--out", str(place / f"{n}-page")])
        for n in (FEW, MANY)
    )
    assert many.seconds < 1.25 * few.seconds * MANY / FEW
    assert (many.memory - few.memory) / (MANY - FEW) < BYTES_A_RECORD


def test_copies_are_records_of_their_own(place: Path) -> None:
    """One more record than the originals: the first copy has another method's name, and reads whole."""
    from unlearnbench.bench.records.layout import find_records
    from unlearnbench.bench.records.load import load_one

    folder = write_folder(place / "copies", 277)
    paths = find_records([folder])
    assert len(paths) == 277
    [copy] = [path for path in paths if "_1." in path.name]
    loaded = load_one(copy)
    assert loaded.record.method.name.endswith("_1")
    assert loaded.items is not None
