"""Reference images in other extractors' features: the same images, without targets, embedded once."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from unlearnbench.bench.measuring.extractors import reference_features
from unlearnbench.bench.metrics.features import CLIP
from unlearnbench.bench.running.catalog import registry, task_registry
from unlearnbench.bench.store import Store
from unlearnbench.bench.worlds.emoji.world import EMBEDDED
from unlearnbench.bench.worlds.hub.reference import embed_files


class _Counting:
    """An extractor that counts its calls."""

    def __init__(self, extractor: Any) -> None:
        self.extractor, self.calls = extractor, 0

    def embed_images(self, images: Any) -> np.ndarray:
        self.calls += 1
        return np.asarray(self.extractor.embed_images(images))


class _Detector:
    def __init__(self, world: Any) -> None:
        self.judge = world.open_judge()

    def embed_images(self, images: np.ndarray) -> np.ndarray:
        return np.asarray(self.judge.judge(images).features)


@pytest.fixture(scope="module")
def world() -> Any:
    return registry("worlds")["tiny"].load()()


def test_the_composed_images_are_those_whose_features_ship(world: Any) -> None:
    # Half precision in the file and 8 bits in the images are all that may differ.
    features = world.embed_reference(_Detector(world))
    assert features.shape == (EMBEDDED, world.reference().shape[1])
    np.testing.assert_allclose(features, world.reference()[:EMBEDDED], atol=0.02)


def test_targets_are_left_out_and_images_embedded_once(world: Any, tmp_path: Path) -> None:
    task, store = task_registry()["styles/line@tiny"], Store(tmp_path)
    scorer = _Counting(world.open_alignment())
    first = reference_features(world, task, CLIP, scorer, store)
    again = reference_features(world, task, CLIP, scorer, store)
    assert scorer.calls == 1
    assert first is not None
    assert again is not None
    np.testing.assert_array_equal(first, again)
    kept = world.reference_rows(task)
    assert 0 < kept.sum() < EMBEDDED
    assert len(first) == kept.sum()
    whole, shipped = world.reference(), world.reference(task)
    assert {row.tobytes() for row in whole[:EMBEDDED][kept]} <= {row.tobytes() for row in shipped}


def test_a_world_without_reference_images_has_none(tmp_path: Path) -> None:
    assert (
        reference_features(SimpleNamespace(reference_key=None), None, CLIP, _Counting(None), Store(tmp_path))
        is None
    )


def test_a_users_folder_of_photographs_is_read_whole(tmp_path: Path) -> None:
    (tmp_path / "reference" / "sub").mkdir(parents=True)
    for i, place in enumerate(("a.png", "sub/b.jpg", "c.png")):
        Image.new("RGB", (10 + i, 20), (50 * i, 0, 0)).save(tmp_path / "reference" / place)
    (tmp_path / "reference" / "notes.txt").write_text("no image")

    class Mean:
        def embed_images(self, images: Any) -> np.ndarray:
            return np.array([image.mean(axis=(0, 1)) for image in images])

    world = registry("worlds")["sd14"].load()().placed(data=tmp_path)
    assert [p.name for p in world._reference_files] == ["a.png", "c.png", "b.jpg"]
    np.testing.assert_allclose(world.embed_reference(Mean())[:, 0], [0, 100, 50], atol=2)
    assert world.inception is None
    assert registry("worlds")["sd14"].load()().placed(data=tmp_path / "none").reference_key is None
    assert len(embed_files(world._reference_files, Mean(), batch=2)) == 3
