"""Every method on every family: what a point holds, the same images in another process and from a folder."""

from collections.abc import Callable
from pathlib import Path

import pytest

from unlearnbench.bench.errors import UserError
from unlearnbench.bench.models.generators import Generator
from unlearnbench.bench.models.points import ModelHolder
from unlearnbench.bench.models.saved.deltas import components_of
from unlearnbench.bench.registry import Entry
from unlearnbench.bench.running.catalog import registry
from unlearnbench.bench.training.families import check_folder
from unlearnbench.bench.unlearning import load_model
from unlearnbench.bench.unlearning.tool import Result, _save

from .declared import declared_tensors
from .families import EVERY
from .redraw import SAMPLING, hash_images, redraw
from .saved import Trained, save_point

METHODS = registry("methods").values()


def _supported(family: str) -> list[Entry]:
    return [entry for entry in METHODS if not entry.pipelines or family in entry.pipelines]


@pytest.mark.slow
@pytest.mark.parametrize("family", EVERY)
def test_every_method_is_what_it_declares_here_in_another_process_and_from_a_folder(
    family: str, folder_for: Callable[[str], Path], tmp_path: Path
) -> None:
    base = folder_for(family)
    untouched = hash_images(ModelHolder(str(base), SAMPLING, "cpu").generator("", None))
    points: dict[str, Trained] = {}
    for entry in _supported(family):
        points[entry.name] = trained = save_point(entry, base, tmp_path)
        _check_delta(entry, trained)
        out = tmp_path / entry.name
        out.mkdir()
        _save(trained.pipeline, Result(trained.delta.applied, tensors=dict(trained.delta.tensors)), out)
        opened = load_model(out)
        opened.set_progress_bar_config(disable=True)
        assert hash_images(Generator(opened, SAMPLING, "")) == trained.images, entry.name
    found = redraw([trained.saved for trained in points.values()])
    for (name, trained), again in zip(points.items(), found, strict=True):
        assert again == {"fingerprint": trained.point.fingerprint, "images": trained.images}, name
        assert again["images"] != untouched, name
    prints = {trained.point.fingerprint: trained.saved.delta for trained in points.values()}
    assert len(set(prints.values())) == len(prints)  # equal ones hold equal weights


def _check_delta(entry: Entry, trained: Trained) -> None:
    """Assert that a point holds what its method declares and no more."""
    allowed, held = declared_tensors(entry, "full", trained.pipeline), trained.delta.weights
    assert set(held) == set(components_of(trained.pipeline, entry.trains)), entry.name
    assert {f"{part}.{name}" for part, tensors in held.items() for name in tensors} <= allowed, entry.name
    assert (trained.delta.applied is not None) == bool(entry.apply), entry.name


@pytest.mark.parametrize("family", EVERY)
def test_a_folder_of_another_family_is_refused_unopened(
    family: str, folder_for: Callable[[str], Path]
) -> None:
    for entry in METHODS:
        if entry in _supported(family):
            check_folder(folder_for(family), entry.name, entry.pipelines)
            continue
        with pytest.raises(UserError, match=f"{entry.name}: does not work on .*; it works on: "):
            check_folder(folder_for(family), entry.name, entry.pipelines)
