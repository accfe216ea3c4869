"""Fixtures: tiny pipelines, each test's own copy."""

import copy
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch

from unlearnbench.bench.models.generators import denoiser_name

from .families import build_family
from .tiny import build_pipeline


@pytest.fixture(scope="session")
def pipeline_for(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Any]:
    """Return fresh(prediction_type): a tiny pipeline, with a UNet and a text encoder of its own."""

    @cache
    def build(prediction: str) -> Any:
        return build_pipeline(tmp_path_factory.mktemp("tokenizer"), prediction)

    def fresh(prediction: str = "epsilon") -> Any:
        return _copy(build(prediction))

    return fresh


@pytest.fixture(scope="session")
def family_for(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Any]:
    """Return fresh(family): a tiny pipeline of a family, with a denoiser and a text encoder of its own."""
    made = cache(lambda name: build_family(name, tmp_path_factory.mktemp(name)))

    def fresh(name: str) -> Any:
        return _copy(made(name))

    return fresh


@pytest.fixture(scope="session")
def folder_for(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Return folder(family): a tiny pipeline's folder."""

    @cache
    def make(family: str) -> Path:
        folder = tmp_path_factory.mktemp(family)
        build_family(family, tmp_path_factory.mktemp("tokens")).save_pretrained(folder)
        return folder

    return make


def _copy(base: Any) -> Any:
    """Return a pipeline that shares all with `base` but the networks that methods train."""
    pipeline = copy.copy(base)
    for part in (denoiser_name(base), "text_encoder"):
        setattr(pipeline, part, copy.deepcopy(getattr(base, part)))
    return pipeline


@pytest.fixture(autouse=True)
def _one_thread() -> Any:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
