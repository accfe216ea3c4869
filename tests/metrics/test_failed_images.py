"""Images that failed: every metric whose set holds one is missing, and no other is."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest

from unlearnbench.bench.metrics import compute
from unlearnbench.bench.metrics.features import CLIP, LITE0, WORLD
from unlearnbench.bench.running.catalog import registry
from unlearnbench.bench.types import View

N, WIDTH = 16, 4


def _items(make_items: Any, forget_row: Callable[..., Any]) -> pd.DataFrame:
    same = {"relation": "same"}
    retain = [same | {"given": i >= N, "split": "retain"} for i in range(2 * N)]
    other = [{"relation": "other"} for _ in range(N)]
    return make_items(*[forget_row("dog") for _ in range(N)], *retain, *other)  # type: ignore[no-any-return]


def _fail(items: pd.DataFrame, row: int) -> pd.DataFrame:
    items = items.copy()
    for column in ("found_subject", "found_style", "found_background", "target_found"):
        items[column] = items[column].astype(object)
        items.at[row, column] = None
    items.loc[row, ["alignment", "alignment_shuffled", "flatness"]] = np.nan
    items.loc[row, "image_sha256"] = ""
    return items


def _view(items: pd.DataFrame, base: View | None) -> View:
    generator = np.random.default_rng(len(items))
    features = {name: generator.normal(size=(len(items), WIDTH)) for name in (WORLD, LITE0)}
    features[CLIP] = features[WORLD] / np.linalg.norm(features[WORLD], axis=1, keepdims=True)
    reference = {name: rows[:12].copy() for name, rows in features.items()}
    for rows in features.values():
        rows[(items["image_sha256"] == "").to_numpy()] = np.nan
    return View(items, features, reference, base)


METRICS = [name for name in registry("metrics") if name != "FID"]  # 4096 images of 2048 features


@pytest.mark.parametrize("split", ["forget", "retain"])
def test_values_whose_set_holds_a_failure_are_missing_and_others_stay(
    split: str, make_items: Any, forget_row: Callable[..., Any]
) -> None:
    items = _items(make_items, forget_row)
    base = _view(items, None)
    before = compute(METRICS, _view(items, base))
    row = 0 if split == "forget" else N
    after = compute(METRICS, _view(_fail(items, row), base))
    for name, value in before.items():
        now = after.get(name)
        if value.value is None or now is None:
            continue
        if now.value is None:
            assert "images have pixels that are not finite" in str(now.missing), name
        else:
            assert now == value, name  # a mean of the rest would be another number or have another n
    lost = {name for name, value in after.items() if value.value is None and before[name].value is not None}
    forgetting = {"UA", "UA_other", "UA_nothing", "in_prompt"}
    assert {"collapse", "collapse_images", "collapse_variance"} <= lost
    assert (forgetting <= lost) == (split == "forget")
    assert ({"VA", "IRA", "AS", "AS_delta", "KID", "KID_base", "FD", "CMMD"} <= lost) == (split == "retain")
    assert {"VA_given", "IRA_given"}.isdisjoint(lost)


def test_images_of_the_base_that_failed_take_the_differences_alone(
    make_items: Any, forget_row: Callable[..., Any]
) -> None:
    items = _items(make_items, forget_row)
    before = compute(METRICS, _view(items, _view(items, None)))
    after = compute(METRICS, _view(items, _view(_fail(items, N), None)))
    lost = {name for name, value in after.items() if value.value is None and before[name].value is not None}
    assert lost == {"AS_delta", "KID_base", "FD_base", "CMMD_base", "KD_efficientnet_lite0_base",
                    "collapse", "collapse_variance"}  # fmt: skip
    assert all("the base model: " in str(after[name].missing) for name in lost)


def test_every_image_failed(make_items: Any, forget_row: Callable[..., Any]) -> None:
    items = _items(make_items, forget_row)
    lost = items
    for row in range(len(items)):
        lost = _fail(lost, row)
    after = compute(METRICS, _view(lost, _view(items, None)))
    assert [name for name, value in after.items() if value.value is not None] == []
