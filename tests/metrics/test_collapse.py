"""The collapse check on images of shapes, of noise, of nothing, and on one image for all."""

import numpy as np
import pytest

from unlearnbench.bench.metrics.collapse import COLLAPSED, FLAT, METRIC, is_collapsed
from unlearnbench.bench.types import View, missing

N, SIZE = 40, 16


def shapes(seed=0):
    """Blocks of random colour, place and size: what a working model draws. (N, 3, SIZE, SIZE) in [0, 1]."""
    rng = np.random.default_rng(seed)
    images = np.broadcast_to(rng.uniform(size=(N, 3, 1, 1)), (N, 3, SIZE, SIZE)).copy()
    for image in images:
        top, left, size = *rng.integers(0, 8, 2), rng.integers(4, 9)
        image[:, top : top + size, left : left + size] = rng.uniform(size=(3, 1, 1))
    return images


def features(images):
    """A small extractor: the mean colour of each of 16 tiles, which averages noise away."""
    tiles = images.reshape(N, 3, 4, SIZE // 4, 4, SIZE // 4).mean(axis=(3, 5))
    return tiles.reshape(N, -1)


def view(make_items, images, base=None, split="retain"):
    shas = [image.tobytes().hex()[:64] + str(hash(image.tobytes())) for image in images]
    rows = [
        {"split": split, "flatness": float(image.std(axis=(1, 2)).mean()), "image_sha256": sha}
        for image, sha in zip(images, shas, strict=True)
    ]
    items = make_items(*rows)
    other = None if base is None else View(items, {"world": features(base)})
    return View(items, {"world": features(images)}, {"world": features(shapes(99))}, other)


def measure(v):
    return METRIC.reduce(METRIC.per_item(v.items), v)


def noise():
    return np.random.default_rng(1).uniform(size=(N, 3, SIZE, SIZE))


def one_image():
    return np.repeat(shapes()[:1], N, axis=0)


def blank():
    return np.broadcast_to(np.random.default_rng(2).uniform(size=(N, 3, 1, 1)), (N, 3, SIZE, SIZE)).copy()


@pytest.mark.parametrize("split", ["retain", "forget"])
def test_working_model_is_healthy(make_items, split):
    values = measure(view(make_items, shapes(1), shapes(2), split))
    assert list(values) == ["collapse", "collapse_images", "collapse_variance"]
    assert values["collapse"].value > 0.7
    assert values["collapse_images"].value == 1
    assert is_collapsed(values["collapse"]) is False


@pytest.mark.parametrize("split", ["retain", "forget"])
@pytest.mark.parametrize("draw", [noise, one_image, blank])
def test_noise_one_image_and_blanks_are_flagged(make_items, draw, split):
    values = measure(view(make_items, draw(), shapes(2), split))
    assert values["collapse"].value < COLLAPSED / 2
    assert is_collapsed(values["collapse"]) is True


def test_which_part_flags(make_items):
    assert measure(view(make_items, noise(), shapes(2)))["collapse_images"].value == 1
    assert measure(view(make_items, one_image(), shapes(2)))["collapse_images"].value == 0
    assert measure(view(make_items, blank(), shapes(2)))["collapse_images"].value == 0


def test_without_a_base_retain_rows_meet_the_reference(make_items):
    assert measure(view(make_items, shapes(1)))["collapse"].value > 0.7
    assert is_collapsed(measure(view(make_items, noise()))["collapse"]) is True
    assert "no varied images" in measure(view(make_items, shapes(1), split="forget"))["collapse"].missing


def test_collapse_on_forget_prompts_alone_is_seen(make_items, forget_row):
    good, bad = view(make_items, shapes(1)), view(make_items, noise())
    items = make_items(*[{}] * N, *[forget_row("")] * N)
    base = View(items, {"world": np.vstack([features(shapes(2)), features(shapes(3))])})
    drawn = {"world": np.vstack([good.features["world"], bad.features["world"]])}
    assert is_collapsed(measure(View(items, drawn, {}, base))["collapse"]) is True


def test_hand_worked_images(make_items):
    # Of five: two copies from different seeds, one flat; a repeated seed repeats its image by right.
    rows = [
        {"image_sha256": "a", "seed": 1},
        {"image_sha256": "a", "seed": 2},
        {"flatness": FLAT / 2},
        {"image_sha256": "b", "seed": 5},
        {"image_sha256": "b", "seed": 5},
    ]
    items = make_items(*rows)
    np.testing.assert_array_equal(METRIC.per_item(items), [0, 0, 0, 1, 1])
    assert measure(View(items))["collapse_images"].value == pytest.approx(2 / 5)


def test_missing(make_items):
    assert measure(View(make_items()))["collapse"].missing == "no images"
    v = view(make_items, shapes(1), shapes(2))
    values = measure(View(v.items))
    assert values["collapse"].missing == "no features of the world extractor"
    assert is_collapsed(values["collapse"]) is None
    assert is_collapsed(missing("x")) is None
    lacking = View(v.items.assign(flatness=np.nan), v.features, v.reference, v.base)
    assert measure(lacking)["collapse"].missing.startswith("no digest or flatness of 40 of 40")


def test_order_of_rows_does_not_matter(make_items):
    v = view(make_items, shapes(1), shapes(2))
    order = np.random.default_rng(0).permutation(N)
    shuffled = View(v.items.iloc[order], {"world": v.features["world"][order]}, v.reference, v.base)
    assert measure(shuffled)["collapse"].value == pytest.approx(measure(v)["collapse"].value)
