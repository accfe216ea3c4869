"""Fixtures: tiny pipelines, each test's own copy."""

import copy
from collections.abc import Callable
from functools import cache
from typing import Any

import pytest
import torch

from unlearnbench.bench.models.generators import denoiser_name

from .families import build_family
from .tiny import build_pipeline


@pytest.fixture(scope="session")
def pipeline_for(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Any]:
    """Return fresh(prediction_type): a tiny pipeline, with a UNet of its own."""

    @cache
    def build(prediction: str) -> Any:
        return build_pipeline(tmp_path_factory.mktemp("tokenizer"), prediction)

    def fresh(prediction: str = "epsilon") -> Any:
        pipeline = copy.copy(build(prediction))
        pipeline.unet = copy.deepcopy(build(prediction).unet)
        return pipeline

    return fresh


@pytest.fixture(scope="session")
def family_for(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Any]:
    """Return fresh(family): a tiny pipeline of a family, with a denoiser of its own."""
    made = cache(lambda name: build_family(name, tmp_path_factory.mktemp(name)))

    def fresh(name: str) -> Any:
        pipeline = copy.copy(made(name))
        part = denoiser_name(pipeline)
        setattr(pipeline, part, copy.deepcopy(getattr(made(name), part)))
        return pipeline

    return fresh


@pytest.fixture(autouse=True)
def _one_thread() -> Any:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
