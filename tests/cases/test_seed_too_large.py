"""Seeds that torch's generator does not take are refused when the file is read."""

from pathlib import Path

import pytest
import torch

from unlearnbench.bench.errors import UserError
from unlearnbench.bench.planning.tasks import Crossed
from unlearnbench.bench.worlds.hub.protocols import read_protocol

CELEBRITY = "type,prompt,evaluation_seed\nerased,A portrait of Adam Driver,{}\n"


def _read(folder: Path, seed: str, kind: str = "five-template", text: str = CELEBRITY) -> int | None:
    path = folder / "file.csv"
    path.write_text(text.format(seed), encoding="utf-8")
    return read_protocol(kind, path)[0].seed


@pytest.mark.parametrize("seed", [0, 2**53 + 1, 2**63, 2**64 - 1])
def test_seeds_that_torch_takes(seed: int, tmp_path: Path) -> None:
    assert _read(tmp_path, str(seed)) == seed
    torch.Generator().manual_seed(seed)


@pytest.mark.parametrize(
    "seed",
    [str(2**64), str(2**64) + ".0", "1e20", "1e300", "9" * 5000, "-1", "1.5", "nan", "inf", "x", "0x10"],
)
@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("five-template", CELEBRITY),
        ("i2p", "prompt,sd_seed\na cat,{}\n"),
        ("prompts", "prompt,evaluation_seed\na cat,{}\n"),
        ("classes", "prompt,evaluation_seed,class\na tench,{},tench\n"),
    ],
)
def test_other_seeds_are_refused_by_file_and_row(seed: str, kind: str, text: str, tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        _read(tmp_path, seed, kind, text)
    column = "sd_seed" if kind == "i2p" else "evaluation_seed"
    assert f"{tmp_path / 'file.csv'}: row 2: {column}: is " in str(caught.value)
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize("seed", [str(2**64), "9" * 240])
def test_seeds_in_names_of_answer_sets_too(seed: str, tmp_path: Path) -> None:
    name = f"Sketch_Dog_seed{seed}.jpg"
    try:
        (tmp_path / name).write_bytes(b"")
    except OSError:
        pytest.skip("the file system has no such long names")
    with pytest.raises(UserError, match="row 1: name: its seed"):
        read_protocol("unlearncanvas", tmp_path)


@pytest.mark.parametrize("seed", [2**64, -1])
def test_seeds_of_tasks_too(seed: int) -> None:
    with pytest.raises(ValueError, match="seeds"):
        Crossed(kind="style", names=["a"], template="{subject} {style}", seeds=[seed])
