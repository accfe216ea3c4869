"""Metrics through the registry: names, needs, contract."""

import subprocess
import sys
from dataclasses import dataclass

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
def test_a_metric_that_breaks_its_contract_is_missing(monkeypatch, make_items, values, message):
    found = compute(["mine"], View(make_items({})), fake(monkeypatch, of(values)))
    assert list(found) == ["mine"]
    assert found["mine"].value is None
    assert message in found["mine"].missing


def test_scores_of_other_rows_are_missing(monkeypatch, make_items):
    metric = of({"mine": Value(value=1)}, pd.Series([1.0, 2.0]))
    found = compute(["mine"], View(make_items({})), fake(monkeypatch, metric))
    assert "not aligned" in found["mine"].missing


def test_an_unknown_need_is_missing(monkeypatch, make_items):
    registry = fake(monkeypatch, of({"mine": Value(value=1)}), needs=("telepathy",))
    found = compute(["mine"], View(make_items({})), registry)
    assert "needs 'telepathy'" in found["mine"].missing


def raising(error):
    def broken(scores, view):
        raise error

    return Metric(per_item=lambda items: None, reduce=broken)


@pytest.mark.parametrize("error", [ZeroDivisionError("by zero"), SystemExit(0), GeneratorExit()])
def test_a_metric_that_raises_spoils_no_other(full, error):
    broken, good = raising(error), builtin_registry("metrics", "unlearnbench.bench.metrics")
    registry = with_plugin(good, "aaa", broken)
    found = compute(registry, full, registry)
    assert type(error).__name__ in found["aaa"].missing
    assert found["UA"] == compute(["UA"], full)["UA"]
    assert found["UA"].value is not None


def with_plugin(builtins, name, metric):
    """Return the built-in metrics and one of a third party's."""

    @dataclass(frozen=True)
    class Given(Entry):
        def load(self):
            return metric

    registry = Registry("metrics")
    for entry in builtins.values():
        registry.add(entry.name, entry)
    registry.add(name, Given(name=name, module=__name__, summary="", distribution="theirs"))
    return registry


def test_a_metric_changes_nothing_that_another_sees(full):
    def spoil(scores, view):
        view.items["target_found"] = False
        view.base.items["target_found"] = False
        for array in (*view.features.values(), *view.reference.values(), *view.base.features.values()):
            with pytest.raises(ValueError, match="read-only"):
                array[:] = 0
        return {"AAA": Value(value=1.0)}

    before = full.items.copy()
    builtins = builtin_registry("metrics", "unlearnbench.bench.metrics")
    registry = with_plugin(builtins, "AAA", Metric(per_item=lambda items: None, reduce=spoil))
    found = compute(registry, full, registry)
    assert found.pop("AAA").value == 1
    assert found == compute(builtins, full, builtins)
    pd.testing.assert_frame_equal(full.items, before)


def test_a_metric_that_gives_a_value_of_another_is_missing(full):
    builtins = builtin_registry("metrics", "unlearnbench.bench.metrics")
    for stolen in ("UA", "UA_other"):
        metric = of({"AAA": Value(value=1.0), stolen: Value(value=1.0)})
        registry = with_plugin(builtins, "AAA", metric)
        found = compute(registry, full, registry)
        assert f"{stolen!r} is there already" in found["AAA"].missing
        assert found[stolen] == compute(builtins, full, builtins)[stolen]


def test_metrics_import_no_torch():
    names = "alignment cmmd collapse cra fd fid in_prompt ira kd_efficientnet_lite0 kid ua va"
    modules = ", ".join(f"unlearnbench.bench.metrics.{name}" for name in names.split())
    code = f"import sys, {modules}; assert not {{'torch', 'pandas', 'scipy.stats'}} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
