"""Every published contact sheet is bound: its record holds its digest, or its folder's list does."""

from pathlib import Path

import pytest

from unlearnbench.bench.records.record import read_record
from unlearnbench.bench.records.sealed import sha256
from unlearnbench.bench.records.sheets import SUMS, bound_sheet, read_sums
from unlearnbench.bench.records.statements import CLAIMED, list_records

RESULTS = Path(__file__).parents[2] / "results"
FOLDERS = sorted(path.name for path in RESULTS.iterdir() if path.is_dir() and list_records(path))


@pytest.mark.parametrize("name", FOLDERS)
def test_every_listed_file_is_the_one_that_lies_there(name: str) -> None:
    folder = RESULTS / name
    for file, digest in read_sums(folder).items():
        assert sha256((folder / file).read_bytes()) == digest, f"{name}/{file}"


@pytest.mark.parametrize("name", FOLDERS)
def test_every_sheet_is_bound(name: str) -> None:
    folder = RESULTS / name
    for path in (*list_records(folder), *list_records(folder / CLAIMED)):
        record = read_record(path)
        assert not record.sheet or bound_sheet(path, record), f"{path.name}: not in {SUMS}"
