"""Metrics through the registry: names, needs, contract."""

import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from unlearnbench.bench.errors import UserError
from unlearnbench.bench.metrics import compute
from unlearnbench.bench.registry import Entry, Registry, builtin_registry
from unlearnbench.bench.types import Metric, Value, View

LITE0 = "KD_efficientnet_lite0"
NAMES = ["AS", "CMMD", "CRA", "FD", "FID", "IRA", LITE0, "KID", "UA", "VA", "collapse", "in_prompt"]


@pytest.fixture
def registry():
    return builtin_registry("metrics", "unlearnbench.bench.metrics")


@pytest.fixture
def full(make_items, forget_row):
    rng = np.random.default_rng(0)
    items = make_items(*[{}] * 20, *[{"relation": "same"}] * 20, *[forget_row("dog")] * 10)

    def features(n):
        x = rng.normal(size=(n, 4))
        return {"world": x, "clip": x / np.linalg.norm(x, axis=1, keepdims=True)}

    return View(items, features(50), features(80), View(items, features(50)))


def test_registered(registry):
    assert set(NAMES) <= set(registry)
    for entry in registry.values():
        assert entry.summary
        assert entry.direction in ("up", "down")
        assert "items" in entry.needs
        assert isinstance(entry.load(), Metric)


def test_all_at_once(full):
    values = compute(NAMES, full)
    assert next(iter(values)) == "AS"
    assert {name for name in NAMES if values[name].value is None} == {"FID", LITE0}
    assert "efficientnet-lite0 is not installed" in values[LITE0].missing
    for value in values.values():
        assert (value.value is None) != (value.missing is None)
    assert compute(NAMES, full) == values  # no unseeded draw anywhere


def test_what_the_view_lacks_is_missing(make_items):
    values = compute(["KID", "FID", "AS", "VA"], View(make_items({"alignment": np.nan})))
    assert values["KID"].missing == "no features of the world extractor"
    assert values["FID"].missing == "clean-fid's Inception weights are not on this machine"
    assert values["AS"].missing == "alignment was not computed"
    assert values["VA"].value == 1


@pytest.mark.parametrize("name", NAMES)
def test_empty_items_are_missing_never_a_number(make_items, name):
    # A task whose prompts got lost (a missing comma in a list of names) must not score.
    assert compute([name], View(make_items()))[name].value is None


@pytest.mark.parametrize("name", ["UA", "VA", "in_prompt", "IRA", "CRA", "AS"])
def test_split_halves_score_alone(full, name):
    half = full.items["prompt_id"] < "p045"
    view = View(full.items[half & (np.arange(50) % 2 == 0)])
    assert compute([name], view)[name].value is not None


def test_items_read_from_parquet_score_the_same(full, tmp_path):
    full.items.to_parquet(tmp_path / "items.parquet")
    again = View(pd.read_parquet(tmp_path / "items.parquet"), full.features, full.reference, full.base)
    assert compute(NAMES, again) == compute(NAMES, full)


def test_unknown_name():
    with pytest.raises(UserError, match="did you mean"):
        compute(["KIDD"], View(pd.DataFrame()))


def fake(monkeypatch, metric, name="mine", needs=("items",)):
    registry = Registry("metrics")
    registry.add(name, Entry(name=name, module=__name__, summary="", function="METRIC", needs=needs))
    monkeypatch.setattr(Entry, "load", lambda self: metric)
    return registry


def of(values, scores=None):
    return Metric(per_item=lambda items: scores, reduce=lambda scores, view: values)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"other": Value(value=1)}, "its first value is 'other'"),
        ({}, "its first value is None"),
        ({"mine": Value(value=float("nan"))}, "not finite"),
        ({"mine": Value(value=None)}, "neither or both"),
        ({"mine": Value(value=1, missing="x")}, "neither or both"),
    ],
)
def test_broken_contract_is_an_error(monkeypatch, make_items, values, message):
    with pytest.raises(ValueError, match=message):
        compute(["mine"], View(make_items({})), fake(monkeypatch, of(values)))


def test_scores_of_other_rows_are_an_error(monkeypatch, make_items):
    metric = of({"mine": Value(value=1)}, pd.Series([1.0, 2.0]))
    with pytest.raises(ValueError, match="not aligned"):
        compute(["mine"], View(make_items({})), fake(monkeypatch, metric))


def test_same_value_twice_and_unknown_need(monkeypatch, make_items):
    view, metric = View(make_items({})), of({"mine": Value(value=1)})
    with pytest.raises(ValueError, match="'mine' is there already"):
        compute(["mine", "mine"], view, fake(monkeypatch, metric))
    with pytest.raises(ValueError, match="needs 'telepathy'"):
        compute(["mine"], view, fake(monkeypatch, metric, needs=("telepathy",)))


def test_an_exception_in_a_metric_passes_through(monkeypatch, make_items):
    def broken(scores, view):
        raise ZeroDivisionError

    metric = Metric(per_item=lambda items: None, reduce=broken)
    with pytest.raises(ZeroDivisionError):
        compute(["mine"], View(make_items({})), fake(monkeypatch, metric))


def test_metrics_import_no_torch():
    names = "alignment cmmd collapse cra fd fid in_prompt ira kd_efficientnet_lite0 kid ua va"
    modules = ", ".join(f"unlearnbench.bench.metrics.{name}" for name in names.split())
    code = f"import sys, {modules}; assert not {{'torch', 'pandas', 'scipy.stats'}} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
