"""The Fréchet distance against scipy's sqrtm, at Inception's width and at the emoji world's."""

from typing import Any

import numpy as np
import pytest
from scipy.linalg import sqrtm

from unlearnbench.bench.metrics.fd import frechet_distance, frechet_from_features


def _features(n: int, d: int) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(0)
    return generator.normal(size=(n, d)), generator.normal(0.1, 1.1, size=(n, d))


def _width(benchmark: Any, width: int) -> int:
    """Return a smaller width where nothing is timed: CI only asks whether the benchmark still runs."""
    return min(width, 256) if benchmark.disabled else width


def _moments(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return x.mean(0), np.cov(x, rowvar=False)


def _by_sqrtm(x: np.ndarray, y: np.ndarray) -> float:
    (m, a), (n, b) = _moments(x), _moments(y)
    return float(((m - n) ** 2).sum() + np.trace(a + b - 2 * sqrtm(a @ b).real))


@pytest.mark.parametrize("width", [128, 2048])
@pytest.mark.benchmark(group="Fréchet distance")
def test_scipy_sqrtm(benchmark: Any, width: int) -> None:
    width = _width(benchmark, width)
    x, y = _features(2 * width, width)
    benchmark.pedantic(_by_sqrtm, args=(x, y), rounds=2)


@pytest.mark.parametrize("width", [128, 2048])
@pytest.mark.benchmark(group="Fréchet distance")
def test_eigenvalue_form(benchmark: Any, width: int) -> None:
    width = _width(benchmark, width)
    x, y = _features(2 * width, width)
    value = benchmark.pedantic(lambda: frechet_distance(*_moments(x), *_moments(y)), rounds=2)
    if width <= 256:
        assert value == pytest.approx(_by_sqrtm(x, y), rel=1e-5)


@pytest.mark.benchmark(group="Fréchet distance of 500 images")
def test_gram_form(benchmark: Any) -> None:
    x, y = _features(500, _width(benchmark, 2048))
    benchmark.pedantic(frechet_from_features, args=(x, y), rounds=3)


@pytest.mark.benchmark(group="Fréchet distance of 500 images")
def test_gram_form_by_sqrtm(benchmark: Any) -> None:
    x, y = _features(500, _width(benchmark, 2048))
    benchmark.pedantic(_by_sqrtm, args=(x, y), rounds=1)
