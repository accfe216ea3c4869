"""Fixtures: tiny pipelines, each test's own copy."""

import copy
from collections.abc import Callable
from functools import cache
from typing import Any

import pytest
import torch

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


@pytest.fixture(autouse=True)
def _one_thread() -> Any:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
