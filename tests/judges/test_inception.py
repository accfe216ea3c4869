"""fid-clean-v1 against clean-fid itself: one randomly initialised Inception, identical images."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.models import inception_v3

from unlearnbench.bench.errors import UserError
from unlearnbench.bench.judges.inception import InceptionExtractor
from unlearnbench.bench.judges.pinned import INCEPTION_FILE
from unlearnbench.bench.measuring.extractors import find_extractors
from unlearnbench.bench.metrics.fd import frechet_from_features
from unlearnbench.bench.worlds.hub.reference import embed_files

KEPT = 3
"""Features of 2048 that the distance is compared on, the most varied: clean-fid's needs n above d."""


class _Archive(torch.nn.Module):
    """What clean-fid expects in its file: the features under `layers`, of images in [-1, 1]."""

    def __init__(self, layers: torch.nn.Module) -> None:
        super().__init__()
        self.layers = layers

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layers((x - 128) / 128)


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A TorchScript file of Inception-v3 with random weights, whose activations neither die nor explode."""
    torch.manual_seed(0)
    network = inception_v3(weights=None, aux_logits=False, transform_input=False, init_weights=False).eval()
    for module in network.modules():
        if isinstance(module, torch.nn.Conv2d):
            torch.nn.init.kaiming_normal_(module.weight)
    network.fc = torch.nn.Identity()
    with torch.no_grad():
        traced = torch.jit.trace(_Archive(network), torch.zeros(1, 3, 299, 299))
    path = tmp_path_factory.mktemp("inception") / INCEPTION_FILE
    traced.save(str(path))
    return path


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two folders of PNG images in several sizes, the second brighter."""
    rng, made = np.random.default_rng(0), []
    for shift in (0, 60):
        folder = tmp_path_factory.mktemp(f"images{shift}")
        for i in range(KEPT + 2):
            small = rng.integers(shift, 150 + shift, (5, 5, 3), dtype=np.uint8)
            Image.fromarray(small).resize((40 + 30 * i, 350 - 20 * i)).save(folder / f"{i:02d}.png")
        made.append(folder)
    return made


def test_features_and_distance_are_clean_fids(weights: Path, folders: list[Path]) -> None:
    from cleanfid import fid
    from cleanfid.inception_torchscript import InceptionV3W

    network = InceptionV3W(str(weights.parent), download=False).eval()
    theirs, ours = [], []
    for folder in folders:
        options = {"num_workers": 0, "batch_size": 4, "device": torch.device("cpu"), "verbose": False}
        theirs.append(fid.get_folder_features(str(folder), model=network, mode="clean", **options))
        ours.append(embed_files(sorted(folder.iterdir()), InceptionExtractor(weights), batch=3))
    for x, y in zip(ours, theirs, strict=True):
        assert x.shape == (KEPT + 2, 2048)
        assert y.std() > 0.01
        np.testing.assert_allclose(x, y, rtol=1e-4, atol=1e-5)
    kept = np.argsort(np.concatenate(theirs).std(axis=0))[-KEPT:]
    cut = [np.asarray(x[:, kept], dtype=np.float64) for x in theirs]
    moments = [m for x in cut for m in (x.mean(0), np.cov(x, rowvar=False))]
    expected = fid.frechet_distance(*moments)
    found = frechet_from_features(*(x[:, kept] for x in ours))
    assert expected > 0
    assert found == pytest.approx(expected, rel=1e-3, abs=1e-4)


def test_the_resize_is_pils_in_float_per_channel(weights: Path, folders: list[Path]) -> None:
    extractor = InceptionExtractor(weights)
    image = np.asarray(Image.open(folders[0] / "00.png"))
    channels = [Image.fromarray(image[..., i].astype(np.float32)) for i in range(3)]
    expected = [np.asarray(c.resize((299, 299), Image.Resampling.BICUBIC)).clip(0, 255) for c in channels]
    np.testing.assert_allclose(extractor.resize(image), np.stack(expected, axis=-1), atol=1e-4)
    assert extractor.embed_images([image]).dtype == np.float32


def test_weights_that_are_not_there_or_not_such_a_file(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such file; FID needs clean-fid's Inception weights"):
        InceptionExtractor(tmp_path / INCEPTION_FILE)
    (tmp_path / INCEPTION_FILE).write_bytes(b"not an archive")
    with pytest.raises(UserError, match="not clean-fid's TorchScript Inception"):
        InceptionExtractor(tmp_path / INCEPTION_FILE)


def test_a_world_uses_it_where_its_weights_are(weights: Path) -> None:
    assert "inception-clean" not in find_extractors(SimpleNamespace(inception=None))
    assert find_extractors(SimpleNamespace(inception=weights))["inception-clean"] == 1
