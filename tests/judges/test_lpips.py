"""LPIPS against torchmetrics' own, on a randomly initialised AlexNet with the authors' fitted weights."""

from pathlib import Path

import numpy as np
import pytest
import torch

import unlearnbench as ub
from unlearnbench.bench.judges import pinned
from unlearnbench.bench.judges.lpips import open_lpips

from .rating_models import make_alexnet


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_alexnet(tmp_path_factory.mktemp("alexnet") / "alexnet.pth")


@pytest.fixture(scope="module")
def pairs() -> tuple[np.ndarray, np.ndarray]:
    first, second = np.random.default_rng(0).integers(0, 256, (2, 4, 64, 48, 3), dtype=np.uint8)
    second[0] = first[0]
    return first, second


def test_equals_torchmetrics(weights: Path, pairs: tuple[np.ndarray, np.ndarray]) -> None:
    lpips = pytest.importorskip("torchmetrics.functional.image.lpips")
    theirs = lpips._LPIPS(pretrained=True, net="alex", pnet_rand=True)
    known = torch.load(weights)
    state = {name: known[f"features.{name.partition('.')[2]}"] for name in theirs.net.state_dict()}
    theirs.net.load_state_dict(state)
    x, y = (torch.from_numpy(side).permute(0, 3, 1, 2).float() / 127.5 - 1 for side in pairs)
    wanted = theirs(x, y).flatten().numpy()
    found = open_lpips(weights).distances(*pairs)
    assert found[0] == 0
    assert (found[1:] > 1e-4).all()
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-7)


def test_a_constant_image_by_hand() -> None:
    """One channel a layer, which after the unit length is 1 or 0: each layer adds its head where one is 0."""
    from unlearnbench.bench.judges.lpips import Lpips

    class Switch(torch.nn.Module):
        """Positive pixels become 1, others 0."""

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return (x[:, :1] > 0).float()

    backbone = torch.nn.Sequential(*[Switch() if place == 1 else torch.nn.Identity() for place in range(12)])
    heads = [torch.full((1, 1, 1, 1), value) for value in (0.5, 0.25, 0.125, 0.0625, 1.0)]
    black, white = np.zeros((1, 32, 32, 3), np.uint8), np.full((1, 32, 32, 3), 255, np.uint8)
    half = black.copy()
    half[:, :16] = 255
    lpips = Lpips(backbone, heads)
    assert lpips.distances(black, white)[0] == pytest.approx(1.9375)
    assert lpips.distances(black, half)[0] == pytest.approx(1.9375 / 2), "pixels are averaged"
    with pytest.raises(ValueError, match="LPIPS of images of shapes"):
        lpips.distances(black[:, :16], white[:, :16])


def test_what_is_missing_is_named(weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    known = torch.load(weights)
    del known["features.0.bias"]
    torch.save(known, tmp_path / "cut.pth")
    with pytest.raises(ub.UserError, match=r"cut\.pth: not the weights of torchvision's AlexNet: .*0\.bias"):
        open_lpips(tmp_path / "cut.pth")
    monkeypatch.setattr(pinned, "find_package", lambda package: None)
    with pytest.raises(ub.UserError, match=r"torchmetrics: not installed.*unlearnbench\[lpips\]"):
        open_lpips(weights)
