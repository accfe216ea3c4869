"""KID against torchmetrics, loops and hand-worked numbers."""

import numpy as np
import pytest

from unlearnbench.bench.metrics import mmd
from unlearnbench.bench.metrics.kid import METRIC, POLYNOMIAL, kid
from unlearnbench.bench.stats.intervals import jackknife_interval
from unlearnbench.bench.types import View


def normals(n, d=8, shift=0.0, seed=0):
    return np.random.default_rng(seed).normal(shift, 1, (n, d))


def view(make_items, x, reference, base=None, samples=1, extractor="world"):
    rows = [{"prompt_id": f"p{i // samples:03d}", "sample": i % samples} for i in range(len(x))]
    items = make_items(*rows)
    other = None if base is None else View(items, {extractor: base})
    return View(items, {extractor: x}, {extractor: reference}, other)


def k(a, b):
    return (a @ b / 3 + 1) ** 3


def kid_left_out(x, y, prompts):
    return mmd.mmd_left_out(x, y, prompts, POLYNOMIAL)


def kid_of_pairs(x, y):
    return mmd.paired_sums(x, y, np.arange(len(x)), POLYNOMIAL).mean


def measure(v):
    return METRIC.reduce(METRIC.per_item(v.items), v)


def test_hand_worked():
    # d = 1: k(0,1) = 1, k(2,2) = 125 off the diagonal, cross k(0,2) = 1 and k(1,2) = 27, each twice.
    x, y = np.array([[0.0], [1.0]]), np.array([[2.0], [2.0]])
    assert kid(x, y) == pytest.approx(1 + 125 - 2 * (1 + 1 + 27 + 27) / 4)


def test_equals_torchmetrics_over_the_whole_set():
    torch = pytest.importorskip("torch")
    from torchmetrics.image.kid import KernelInceptionDistance

    class Passthrough(torch.nn.Module):
        num_features = 8

        def forward(self, x):
            return x

    x, y = normals(60, shift=0.5), normals(60, seed=1)
    theirs = KernelInceptionDistance(feature=Passthrough(), subsets=1, subset_size=60)
    theirs.update(torch.from_numpy(y), real=True)
    theirs.update(torch.from_numpy(x), real=False)
    assert kid(x, y) == pytest.approx(float(theirs.compute()[0]), rel=1e-5)


def test_equals_torch_fidelity_over_the_whole_set():
    torch = pytest.importorskip("torch")
    theirs = pytest.importorskip("torch_fidelity.metric_kid")
    x, y = normals(60, shift=0.5), normals(60, seed=1)
    found = theirs.kid_features_to_metric(
        torch.from_numpy(x), torch.from_numpy(y), kid_subsets=1, kid_subset_size=60, verbose=False, rng_seed=0
    )
    assert kid(x, y) == pytest.approx(found["kernel_inception_distance_mean"], rel=1e-9)


def test_equals_clean_fid_over_the_whole_set():
    theirs = pytest.importorskip("cleanfid.fid").kernel_distance
    x, y = normals(60, shift=0.5), normals(60, seed=1)
    assert kid(x, y) == pytest.approx(theirs(x, y, num_subsets=1, max_subset_size=60), rel=1e-9)


def test_unequal_sizes_against_loops():
    x, y = normals(7, 3), normals(5, 3, 1.0, seed=1)
    xx = np.mean([k(a, b) for i, a in enumerate(x) for j, b in enumerate(x) if i != j])
    yy = np.mean([k(a, b) for i, a in enumerate(y) for j, b in enumerate(y) if i != j])
    xy = np.mean([k(a, b) for a in x for b in y])
    assert kid(x, y) == pytest.approx(xx + yy - 2 * xy)


def test_unbiased_at_small_n():
    values = [kid(normals(10, seed=i), normals(200, seed=5000 + i)) for i in range(400)]
    assert abs(np.mean(values)) < 3 * np.std(values) / 20
    assert min(values) < 0


def test_chunks_do_not_change_it(monkeypatch):
    x, y = normals(50), normals(40, seed=1)
    whole = kid(x, y)
    monkeypatch.setattr("unlearnbench.bench.metrics.mmd.CHUNK", 7)
    assert kid(x, y) == pytest.approx(whole)


def test_left_out_equals_recomputing():
    x, y = normals(12), normals(9, seed=1)
    prompts = np.array(list("aabbbcdddddd"))
    expected = [kid(x[prompts != p], y) for p in "abcd"]
    np.testing.assert_allclose(kid_left_out(x, y, prompts), expected)


def test_left_out_in_chunks_equals_the_whole(monkeypatch):
    x, y, base = normals(20), normals(9, seed=1), normals(20, seed=2)
    prompts = np.random.default_rng(0).permutation(np.repeat(list("abcde"), 4))  # a prompt in several chunks
    whole = kid_left_out(x, y, prompts), mmd.paired_sums(x, base, prompts, POLYNOMIAL).left_out()
    monkeypatch.setattr("unlearnbench.bench.metrics.mmd.CHUNK", 7)
    np.testing.assert_allclose(kid_left_out(x, y, prompts), whole[0])
    np.testing.assert_allclose(mmd.paired_sums(x, base, prompts, POLYNOMIAL).left_out(), whole[1])


def test_interval_covers():
    # 30 prompts of 3 images that resemble each other; the truth is the estimator's own mean. The cubic
    # kernel skews its distribution: over 2,000 draws this 95 % interval covers 91 %, 93 % at 60 prompts.
    rng, reference, prompts = np.random.default_rng(0), normals(300, 4, seed=1), np.repeat(np.arange(30), 3)
    draws = [rng.normal(0.5, 0.7, (30, 1, 4)) + 0.7 * rng.normal(size=(30, 3, 4)) for _ in range(200)]
    sets = [draw.reshape(90, 4) for draw in draws]
    values = [kid(x, reference) for x in sets]
    bounds = [
        jackknife_interval(value, kid_left_out(x, reference, prompts))
        for x, value in zip(sets, values, strict=True)
    ]
    inside = np.mean([low <= np.mean(values) <= high for low, high in bounds])
    assert 0.86 < inside < 0.96


def test_paired_estimator_by_loops():
    x, y = normals(6, 3), normals(6, 3, 0.5, seed=1)
    pairs = [(i, j) for i in range(6) for j in range(6) if i != j]
    expected = np.mean([k(x[i], x[j]) + k(y[i], y[j]) - k(x[i], y[j]) - k(x[j], y[i]) for i, j in pairs])
    assert kid_of_pairs(x, y) == pytest.approx(expected)


def test_interval_to_the_base_equals_recomputing(make_items):
    x, y = normals(12, 3), normals(12, 3, 0.5, seed=1)
    value = measure(view(make_items, x, normals(20, 3, seed=2), base=y, samples=3))["KID_base"]
    left_out = []
    for start in range(0, 12, 3):
        keep = np.delete(np.arange(12), range(start, start + 3))
        left_out.append(kid_of_pairs(x[keep], y[keep]))
    assert (value.low, value.high) == pytest.approx(jackknife_interval(value.value, left_out))


def test_values_of_a_view(make_items):
    x, y = normals(40, shift=1), normals(100, seed=1)
    values = measure(view(make_items, x, y, base=normals(40, seed=2), samples=2))
    assert list(values) == ["KID", "KID_base"]
    assert values["KID"].value == pytest.approx(kid(x, y))
    assert values["KID"].low < values["KID"].value < values["KID"].high
    assert values["KID"].low > 0  # a shift of one standard deviation in every feature is no doubt
    assert values["KID_base"].value > 0
    assert values["KID"].n == 40


def test_unchanged_model_is_at_its_base(make_items):
    x = normals(30)
    value = measure(view(make_items, x, normals(50, seed=1), base=x.copy()))["KID_base"]
    assert (value.value, value.low, value.high) == pytest.approx((0, 0, 0), abs=1e-12)


def test_base_rows_in_another_order(make_items):
    x = normals(30)
    v = view(make_items, x, normals(50, seed=1), base=x)
    order = np.random.default_rng(0).permutation(30)
    base = View(v.items.iloc[order].reset_index(drop=True), {"world": x[order]})
    assert measure(View(v.items, v.features, v.reference, base))["KID_base"].value == pytest.approx(
        0, abs=1e-12
    )
    short = View(v.items.iloc[1:], {"world": x[1:]})
    with pytest.raises(ValueError, match="base lacks prompt 'p000', sample 0"):
        measure(View(v.items, v.features, v.reference, short))


def test_forget_images_do_not_count(make_items, forget_row):
    x, y = normals(20), normals(50, seed=1)
    items = make_items(*[{}] * 20, *[forget_row("dog")] * 10)
    noise = 100 * normals(10, seed=3)
    v = View(items, {"world": np.vstack([x, noise])}, {"world": y})
    assert measure(v)["KID"].value == pytest.approx(kid(x, y))


def test_forgotten_class_in_the_reference_shows(make_items):
    # A faultless model of nine classes is charged for the tenth that a wrong reference still holds.
    kept, forgotten = normals(300), normals(300, shift=3, seed=1)
    x = normals(60, seed=2)
    clean = measure(view(make_items, x, kept))["KID"]
    wrong = measure(view(make_items, x, np.vstack([kept, forgotten])))["KID"]
    assert clean.low < 0 < clean.high
    assert wrong.low > 10 * abs(clean.value)


def test_missing(make_items):
    x = normals(10)
    nothing = measure(View(view(make_items, x, x).items))
    assert nothing["KID"].missing == "no features of the world extractor"
    v = view(make_items, x, x)
    assert "no reference" in measure(View(v.items, v.features))["KID"].missing
    assert measure(v)["KID_base"].missing == "no base model to compare with"
    assert "needs 2 images" in measure(view(make_items, x[:1], x, base=x[:1]))["KID"].missing
    assert measure(view(make_items, x[:0], x))["KID"].value is None
    bad = x.copy()
    bad[3, 0] = np.nan
    assert measure(view(make_items, bad, x))["KID"].missing == "the world extractor failed on 1 images"


def test_one_prompt_has_no_interval(make_items):
    value = measure(view(make_items, normals(4), normals(20, seed=1), samples=4))["KID"]
    assert value.value is not None
    assert (value.low, value.high) == (None, None)


def test_features_of_another_layer_or_of_other_rows_are_errors(make_items):
    v = view(make_items, normals(10), normals(10, d=4))
    with pytest.raises(ValueError, match="width 8 against width 4"):
        measure(v)
    with pytest.raises(ValueError, match="9 rows, the items 10"):
        measure(View(v.items, {"world": normals(9)}, {"world": normals(9)}))
    with pytest.raises(ValueError, match="several extractors"):
        measure(View(v.items, {"a": normals(10), "b": normals(10)}))


def test_the_only_key_beside_inception_is_the_worlds(make_items):
    v = view(make_items, normals(10), normals(10, seed=1), extractor="emoji@1")
    both = View(v.items, {**v.features, "inception-clean": normals(10, 3)}, v.reference)
    assert measure(both) == measure(v)


def test_order_of_rows_does_not_matter(make_items):
    x, y = normals(40), normals(50, seed=1)
    v = view(make_items, x, y, base=normals(40, seed=2), samples=2)
    order = np.random.default_rng(0).permutation(40)
    shuffled = View(v.items.iloc[order], {"world": x[order]}, v.reference, v.base)
    for name, value in measure(v).items():
        other = measure(shuffled)[name]
        assert (value.value, value.low, value.high) == pytest.approx((other.value, other.low, other.high))
