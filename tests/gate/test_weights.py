"""How far two models' weights lie apart: worked by hand on small files."""

import math
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from unlearnbench.bench.errors import UserError
from unlearnbench.bench.gate.weights import largest_change

BASE = {"a.weight": torch.tensor([3.0, 4.0]), "b.bias": torch.tensor([1.0, 1e-6, 0.3])}


def _save(root: Path, tensors: dict[str, torch.Tensor], name: str = "model") -> Path:
    (root / "unet").mkdir(parents=True, exist_ok=True)
    save_file(tensors, root / "unet" / f"{name}.safetensors")
    return root


def test_the_same_weights_have_not_changed(tmp_path: Path) -> None:
    found = largest_change(_save(tmp_path / "a", BASE), _save(tmp_path / "b", BASE))
    assert (found.tensor, found.share, found.differ, found.tensors) == ("", 0.0, 0, 2)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float8_e4m3fn])
def test_a_cast_is_no_change(tmp_path: Path, dtype: torch.dtype) -> None:
    cast = {name: tensor.to(dtype) for name, tensor in BASE.items()}
    assert largest_change(_save(tmp_path / "a", BASE), _save(tmp_path / "b", cast)).share == 0.0


def test_a_cast_and_back_moves_by_the_rounding(tmp_path: Path) -> None:
    back = {name: tensor.to(torch.bfloat16).float() for name, tensor in BASE.items()}
    found = largest_change(_save(tmp_path / "a", BASE), _save(tmp_path / "b", back))
    assert found.tensor == "unet.b.bias"  # 3 and 4 have few bits
    assert 0 < found.share <= 2**-9


def test_the_largest_share_is_named(tmp_path: Path) -> None:
    moved = BASE | {"a.weight": torch.tensor([3.0, 4.1]), "b.bias": BASE["b.bias"] * 1.5}
    found = largest_change(_save(tmp_path / "a", BASE), _save(tmp_path / "b", moved))
    assert found.tensor == "unet.b.bias"
    assert found.share == pytest.approx(0.5)
    only = BASE | {"a.weight": torch.tensor([3.0, 4.1])}
    assert largest_change(tmp_path / "a", _save(tmp_path / "c", only)).share == pytest.approx(0.1 / 5)


@pytest.mark.parametrize(
    "other",
    [
        {"a.weight": BASE["a.weight"]},
        BASE | {"c.weight": torch.ones(1)},
        BASE | {"a.weight": torch.ones(3)},
        BASE | {"a.weight": torch.tensor([math.nan, 4.0])},
    ],
)
def test_what_cannot_be_compared_has_changed_without_bound(
    tmp_path: Path, other: dict[str, torch.Tensor]
) -> None:
    assert largest_change(_save(tmp_path / "a", BASE), _save(tmp_path / "b", other)).share == math.inf


def test_a_zero_tensor_that_moved_has_changed_without_bound(tmp_path: Path) -> None:
    first, second = {"a": torch.zeros(2)}, {"a": torch.tensor([0.0, 1e-9])}
    assert largest_change(_save(tmp_path / "a", first), _save(tmp_path / "b", second)).share == math.inf


def test_a_whole_file_counts_before_its_variant(tmp_path: Path) -> None:
    both = _save(_save(tmp_path / "a", BASE), {"a.weight": torch.zeros(2)}, "model.fp16")
    assert largest_change(_save(tmp_path / "b", BASE), both).share == 0.0


def test_a_folder_without_weights_and_a_broken_file_are_named(tmp_path: Path) -> None:
    good = _save(tmp_path / "a", BASE)
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=r"empty: no \.safetensors file"):
        largest_change(good, tmp_path / "empty")
    broken = _save(tmp_path / "b", BASE) / "unet" / "model.safetensors"
    broken.write_bytes(b"not weights")
    with pytest.raises(UserError, match="not a readable safetensors file"):
        largest_change(good, tmp_path / "b")
