"""FD and FID against scipy's sqrtm, torchmetrics and closed forms."""

import numpy as np
import pytest
import scipy.linalg

from unlearnbench.bench.metrics import fd, fid
from unlearnbench.bench.metrics.fd import frechet_distance, frechet_from_features
from unlearnbench.bench.types import View


def sample(n, d=6, seed=0, shift=0.0):
    rng = np.random.default_rng(seed)
    return rng.normal(shift, 1, (n, d)) @ rng.normal(0, 1, (d, d)) / np.sqrt(d)


def by_sqrtm(x, y):
    cov1, cov2 = np.cov(x, rowvar=False), np.cov(y, rowvar=False)
    root = scipy.linalg.sqrtm(cov1 @ cov2).real
    return np.sum((x.mean(0) - y.mean(0)) ** 2) + np.trace(cov1 + cov2 - 2 * root)


def view(make_items, x, reference, base=None, extractor="world"):
    items = make_items(*[{}] * len(x))
    other = None if base is None else View(items, {extractor: base})
    return View(items, {extractor: x}, {extractor: reference}, other)


def measure(module, v):
    return module.METRIC.reduce(module.METRIC.per_item(v.items), v)


def test_hand_worked():
    # One dimension: (m1 - m2)^2 + (s1 - s2)^2 = 9 + 4.
    one = frechet_distance(np.array([0.0]), np.array([[1.0]]), np.array([3.0]), np.array([[9.0]]))
    assert one == pytest.approx(13)
    # Commuting covariances: the sum of (s1 - s2)^2 over the axes.
    two = frechet_distance(np.zeros(2), np.diag([1.0, 4.0]), np.zeros(2), np.diag([9.0, 4.0]))
    assert two == pytest.approx(4)


@pytest.mark.parametrize("seed", range(5))
def test_equals_sqrtm(seed):
    x, y = sample(60, seed=seed), sample(80, seed=seed + 100, shift=0.3)
    expected = by_sqrtm(x, y)
    assert frechet_from_features(x, y) == pytest.approx(expected, abs=1e-4)
    moments = (x.mean(0), np.cov(x, rowvar=False), y.mean(0), np.cov(y, rowvar=False))
    assert frechet_distance(*moments) == pytest.approx(expected, abs=1e-4)


def test_equals_torchmetrics():
    torch = pytest.importorskip("torch")
    from torchmetrics.image.fid import FrechetInceptionDistance

    class Passthrough(torch.nn.Module):
        num_features = 6

        def forward(self, x):
            return x

    x, y = sample(100), sample(120, seed=1, shift=0.5)
    theirs = FrechetInceptionDistance(feature=Passthrough())
    theirs.update(torch.from_numpy(y), real=True)
    theirs.update(torch.from_numpy(x), real=False)
    assert frechet_from_features(x, y) == pytest.approx(float(theirs.compute()), abs=1e-4)


@pytest.mark.parametrize("d", [6, 128])
def test_equals_torch_fidelity(d):
    torch = pytest.importorskip("torch")
    theirs = pytest.importorskip("torch_fidelity.metric_fid")
    x, y = sample(2 * d + 60, d), sample(2 * d + 100, d, seed=1, shift=0.5)
    moments = [theirs.fid_features_to_statistics(torch.from_numpy(side)) for side in (x, y)]
    found = theirs.fid_statistics_to_metric(*moments, verbose=False)["frechet_inception_distance"]
    assert frechet_from_features(x, y) == pytest.approx(found, abs=1e-4)


@pytest.mark.slow
def test_equals_torch_fidelity_at_inceptions_width():
    torch = pytest.importorskip("torch")
    theirs = pytest.importorskip("torch_fidelity.metric_fid")
    x, y = sample(4096, 2048), sample(4200, 2048, seed=1, shift=0.1)
    moments = [theirs.fid_features_to_statistics(torch.from_numpy(side)) for side in (x, y)]
    found = theirs.fid_statistics_to_metric(*moments, verbose=False)["frechet_inception_distance"]
    assert frechet_from_features(x, y) == pytest.approx(found, abs=1e-4)


@pytest.mark.parametrize(("n", "m"), [(10, 12), (10, 200), (200, 10)])
def test_gram_form_equals_eigenvalue_form(n, m):
    x, y = sample(n, 30), sample(m, 30, seed=1)
    moments = (x.mean(0), np.cov(x, rowvar=False), y.mean(0), np.cov(y, rowvar=False))
    assert frechet_from_features(x, y) == pytest.approx(frechet_distance(*moments), abs=1e-4)


def test_singular_covariances():
    x = sample(50)
    flat = x.copy()
    flat[:, 2:] = 1.0  # rank 2
    value = frechet_from_features(flat, x)
    assert np.isfinite(value)
    assert value > 0
    zero = np.zeros((6, 6))
    assert frechet_distance(np.zeros(6), zero, np.zeros(6), zero) == 0
    assert frechet_distance(np.zeros(6), zero, np.zeros(6), np.eye(6)) == pytest.approx(6)


@pytest.mark.parametrize("n", [5, 50])
def test_a_set_is_at_itself_and_symmetric(n):
    x, y = sample(n), sample(n, seed=1)
    assert frechet_from_features(x, x) == pytest.approx(0, abs=1e-6)
    assert frechet_from_features(x, y) == pytest.approx(frechet_from_features(y, x))


def test_no_distance_of_one_image_or_two_widths():
    with pytest.raises(ValueError, match="no Fréchet distance"):
        frechet_from_features(sample(1), sample(5))
    with pytest.raises(ValueError, match="no Fréchet distance"):
        frechet_from_features(sample(9), sample(9, d=4))


def test_values_of_a_view(make_items):
    x, y, base = sample(20), sample(30, seed=1), sample(20, seed=2)
    values = measure(fd, view(make_items, x, y, base))
    assert list(values) == ["FD", "FD_base"]
    assert values["FD"].value == pytest.approx(by_sqrtm(x, y), abs=1e-4)
    assert values["FD_base"].value == pytest.approx(by_sqrtm(x, base), abs=1e-4)
    assert values["FD"].n == 20


def test_too_few_images_are_bias(make_items):
    value = measure(fd, view(make_items, sample(11), sample(30, seed=1)))["FD"]
    assert value.value is None
    assert value.missing == "FD needs 12 images on each side for 6 features: at n=11 it is bias"
    assert value.n == 11
    assert measure(fd, view(make_items, sample(30), sample(11)))["FD"].value is None


def test_why_too_few_images_are_bias():
    # Two samples of one distribution: far apart at n = 10, near each other at n = 1000.
    reference = np.random.default_rng(9).normal(size=(5000, 6))
    few, many = (np.random.default_rng(0).normal(size=(n, 6)) for n in (10, 1000))
    assert frechet_from_features(few, reference) > 10 * frechet_from_features(many, reference)


def test_missing(make_items):
    assert measure(fd, View(make_items({})))["FD"].missing == "no features of the world extractor"
    assert measure(fd, view(make_items, sample(20), sample(20)))["FD_base"].value is None
    assert measure(fd, view(make_items, sample(0), sample(20)))["FD"].value is None


def test_base_rows_in_another_order_and_order_of_rows(make_items):
    x, y, base = sample(20), sample(30, seed=1), sample(20, seed=2)
    v = view(make_items, x, y, base)
    order = np.random.default_rng(0).permutation(20)
    shuffled = View(v.items.iloc[order], {"world": x[order]}, v.reference, v.base)
    for name, value in measure(fd, v).items():
        assert measure(fd, shuffled)[name].value == pytest.approx(value.value)


def test_fid_without_inception(make_items):
    value = measure(fid, view(make_items, sample(20), sample(20)))["FID"]
    assert value.missing == "clean-fid's Inception weights are not on this machine"


def test_fid_of_another_layer_is_an_error(make_items):
    # FID(feature=64): an early layer gives figures about 1 under the name of FID.
    v = view(make_items, sample(200, 64), sample(200, 64), extractor="inception-clean")
    with pytest.raises(ValueError, match="2048 features, not on 64"):
        measure(fid, v)


def test_fid_of_too_few_images(make_items):
    x = np.zeros((3, 2048))
    value = measure(fid, view(make_items, x, x, extractor="inception-clean"))["FID"]
    assert "needs 4096 images" in value.missing


def test_fid_is_fd_in_inception_features(make_items, monkeypatch):
    monkeypatch.setattr(fid, "WIDTH", 6)
    x, y = sample(20), sample(30, seed=1)
    values = measure(fid, view(make_items, x, y, extractor="inception-clean"))
    assert list(values) == ["FID", "FID_base"]
    assert values["FID"].value == pytest.approx(by_sqrtm(x, y), abs=1e-4)
