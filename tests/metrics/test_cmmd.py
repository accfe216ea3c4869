"""CMMD and the second kernel distance: double loops written from the definitions, and refusals."""

import math

import numpy as np
import pytest

from unlearnbench.bench.metrics import cmmd, kd_efficientnet_lite0
from unlearnbench.bench.metrics.cmmd import GAUSSIAN
from unlearnbench.bench.metrics.kid import kid
from unlearnbench.bench.metrics.mmd import mmd, mmd_left_out, paired_sums
from unlearnbench.bench.types import View


def units(n, d=16, shift=0.0, seed=0):
    x = np.random.default_rng(seed).normal(shift, 1, (n, d))
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def k(a, b):
    return math.exp(-sum((p - q) ** 2 for p, q in zip(a, b, strict=True)) / 200)


def by_loops(x, y, diagonal):
    """MMD^2 times 1000, with or without each image's kernel with itself."""

    def within(z):
        pairs = [k(a, b) for i, a in enumerate(z) for j, b in enumerate(z) if diagonal or i != j]
        return sum(pairs) / len(pairs)

    return 1000 * (within(x) + within(y) - 2 * sum(k(a, b) for a in x for b in y) / (len(x) * len(y)))


def view(make_items, x, reference, base=None, extractor="clip"):
    items = make_items(*[{"prompt_id": f"p{i // 2:03d}", "sample": i % 2} for i in range(len(x))])
    other = None if base is None else View(items, {extractor: base})
    return View(items, {extractor: x}, {extractor: reference}, other)


def measure(module, v):
    return module.METRIC.reduce(module.METRIC.per_item(v.items), v)


def test_hand_worked():
    # Two axes on one side, their opposites on the other: squared distances 2 within, 2 or 4 across.
    x = np.eye(2)
    expected = 1000 * (2 * math.exp(-0.01) - (math.exp(-0.01) + math.exp(-0.02)))
    assert mmd(x, -x, GAUSSIAN) == pytest.approx(expected, rel=1e-9)


def test_equals_loops():
    x, y = units(9, shift=0.3), units(7, seed=1)
    assert mmd(x, y, GAUSSIAN) == pytest.approx(by_loops(x, y, diagonal=False), rel=1e-9)


def test_the_released_code_s_biased_estimate_differs_by_the_diagonal_alone():
    x, y = units(9, shift=0.3), units(7, seed=1)
    means = [np.mean([k(a, b) for i, a in enumerate(z) for j, b in enumerate(z) if i != j]) for z in (x, y)]
    bias = 1000 * sum((1 - mean) / len(z) for mean, z in zip(means, (x, y), strict=True))
    assert by_loops(x, y, diagonal=True) - mmd(x, y, GAUSSIAN) == pytest.approx(bias, rel=1e-9)


def test_left_out_and_pairs_equal_recomputing():
    x, y, z = units(8, shift=0.3), units(7, seed=1), units(8, seed=2)
    prompts = np.array(list("aabbbccc"))
    expected = [by_loops(x[prompts != p], y, diagonal=False) for p in "abc"]
    np.testing.assert_allclose(mmd_left_out(x, y, prompts, GAUSSIAN), expected, rtol=1e-8)
    pairs = [(i, j) for i in range(8) for j in range(8) if i != j]
    mean = np.mean([k(x[i], x[j]) + k(z[i], z[j]) - k(x[i], z[j]) - k(x[j], z[i]) for i, j in pairs])
    assert paired_sums(x, z, prompts, GAUSSIAN).mean == pytest.approx(1000 * mean, rel=1e-8)


def test_values_of_a_view(make_items):
    x, y, base = units(40, shift=0.3), units(90, seed=1), units(40, shift=0.3, seed=2)
    values = measure(cmmd, view(make_items, x, y, base))
    assert list(values) == ["CMMD", "CMMD_base"]
    assert values["CMMD"].value == pytest.approx(mmd(x, y, GAUSSIAN))
    assert 0 < values["CMMD"].low < values["CMMD"].value < values["CMMD"].high
    assert abs(values["CMMD_base"].value) < values["CMMD"].value
    unchanged = measure(cmmd, view(make_items, x, y, x))["CMMD_base"]
    assert (unchanged.value, unchanged.low, unchanged.high) == pytest.approx((0, 0, 0), abs=1e-9)


def test_base_alone_where_there_are_no_reference_images(make_items):
    x = units(20)
    values = measure(cmmd, view(make_items, x, x[:0], units(20, shift=0.3, seed=1)))
    assert values["CMMD"].missing == "CMMD needs 2 images on each side, there are 20 and 0"
    assert values["CMMD_base"].value > 0


def test_embeddings_that_are_not_of_unit_length_are_an_error(make_items):
    with pytest.raises(ValueError, match="unit length"):
        measure(cmmd, view(make_items, 3 * units(20), units(20, seed=1)))


def test_the_second_fidelity_figure_is_kid_in_other_features(make_items):
    rng = np.random.default_rng(0)
    x, y = rng.normal(0.5, 1, (20, 8)), rng.normal(size=(30, 8))
    values = measure(kd_efficientnet_lite0, view(make_items, x, y, extractor="efficientnet-lite0"))
    assert list(values) == ["KD_efficientnet_lite0", "KD_efficientnet_lite0_base"]
    assert values["KD_efficientnet_lite0"].value == pytest.approx(kid(x, y))
