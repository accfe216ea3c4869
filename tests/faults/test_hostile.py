"""Faults of the machine: full and read-only disks, too little memory, signals, damage, refusals."""

import random
from pathlib import Path

import pytest

from .hostile import DISKS, KINDS, Hostile, load_libraries, may_mount


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Hostile:
    load_libraries()
    return Hostile(tmp_path_factory.mktemp("hostile"), random.Random("hostile"))


ORDINARY = ("full_disk", "signals")
"""Faults of the ordinary tests; the others are slow."""


@pytest.mark.parametrize(
    "kind", [pytest.param(kind, marks=() if kind in ORDINARY else pytest.mark.slow) for kind in KINDS]
)
def test_a_fault_loses_nothing(hostile: Hostile, kind: str, tmp_path: Path) -> None:
    if kind in DISKS and not may_mount(tmp_path):
        pytest.skip("this process may not mount a disk")
    before = hostile.table.tried.total()
    getattr(hostile, kind)()
    if kind == "bucket" and hostile.table.tried.total() == before:
        pytest.skip("moto and s3fs are not installed")
    assert hostile.table.tried.total() > before
    assert hostile.table.lost == []
