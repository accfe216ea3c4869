"""Images stream through judges: what they answer is what they answer to all images at once."""

import tracemalloc
from collections.abc import Iterator

import numpy as np
import pandas as pd
import pytest

from unlearnbench.bench.judges.types import Verdicts, verdicts_of
from unlearnbench.bench.measuring import streaming
from unlearnbench.bench.measuring.items import describe_pixels, image_digest
from unlearnbench.bench.measuring.streaming import MULTIPLE, cut_chunks, look_at
from unlearnbench.bench.metrics.features import WORLD

SIDE = 8


class _Judge:
    """Names an image by its first pixel; keeps the number of images that it was asked about."""

    def __init__(self) -> None:
        self.asked: list[int] = []

    def judge(self, images: np.ndarray) -> Verdicts:
        self.asked.append(len(images))
        first = images[:, 0, 0, 0]
        answers = [f"n{n}" for n in first]
        return verdicts_of("subject", answers, first[:, None].astype(np.float32), first / 255)


class _Extractor:
    def embed_images(self, images: np.ndarray) -> np.ndarray:
        return images.mean(axis=(1, 2), dtype=np.float32)


def _images(count: int, side: int = SIDE) -> Iterator[np.ndarray]:
    rng = np.random.default_rng(0)
    for _ in range(count):
        yield rng.integers(0, 256, (side, side, 3), dtype=np.uint8)


def test_chunks_give_what_all_images_at_once_give(monkeypatch: pytest.MonkeyPatch) -> None:
    images: list[np.ndarray | None] = list(_images(300))
    images[7] = images[299] = None
    judge, size = _Judge(), (SIDE, SIDE)
    whole = look_at(images, size, _Judge(), {"x": _Extractor()})
    monkeypatch.setattr(streaming, "CHUNK_BYTES", 1)
    parts = look_at(iter(images), size, judge, {"x": _Extractor()})
    assert judge.asked == [MULTIPLE, MULTIPLE, 298 - 2 * MULTIPLE]
    pd.testing.assert_frame_equal(parts.found, whole.found)
    for name in (WORLD, "x"):
        np.testing.assert_array_equal(parts.features[name], whole.features[name])
    assert parts.scores is not None
    np.testing.assert_array_equal(parts.scores, whole.scores)
    assert parts.pixels.digests == whole.pixels.digests
    third = images[3]
    assert third is not None
    assert parts.found["subject"][3] == f"n{third[0, 0, 0]}"
    assert parts.pixels.digests[3] == image_digest(third)


def test_a_failed_image_has_no_answer_and_the_others_keep_their_places() -> None:
    images = [None, *_images(2), None]
    looked = look_at(images, (SIDE, SIDE), _Judge(), {})
    assert looked.found["subject"].isna().tolist() == [True, False, False, True]
    assert np.isnan(looked.features[WORLD][[0, 3]]).all()
    assert looked.scores is not None
    assert np.isnan(looked.scores).tolist() == [True, False, False, True]
    assert looked.pixels.digests[0] == ""
    assert np.isnan(looked.pixels.flatness[3])


def test_where_all_images_failed_the_features_still_have_their_width() -> None:
    looked = look_at([None, None], (SIDE, SIDE), _Judge(), {"x": _Extractor()})
    assert looked.features["x"].shape == (2, 3)
    assert np.isnan(looked.features["x"]).all()
    assert looked.found["subject"].isna().all()


def test_flatness_is_the_deviation_within_each_channel() -> None:
    image = np.zeros((2, 2, 3), np.uint8)
    image[0, :, 0] = 255  # red: half of the pixels 1, half 0: deviation 0.5; green and blue: 0
    assert describe_pixels([image]).flatness == [pytest.approx(0.5 / 3, abs=1e-6)]


def test_memory_does_not_grow_with_the_images(monkeypatch: pytest.MonkeyPatch) -> None:
    """Images of 48 kB: 1,500 of them are 74 MB, a chunk of MULTIPLE is 6 MB."""
    monkeypatch.setattr(streaming, "CHUNK_BYTES", 1)

    def peak(count: int) -> int:
        tracemalloc.start()
        look_at(_images(count, 128), (128, 128), _Judge(), {"x": _Extractor()})
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most

    few, many = peak(150), peak(1500)
    assert many < few + 5 * 2**20
    assert sum(1 for _ in cut_chunks(_images(1500, 128), (128, 128))) == 12
