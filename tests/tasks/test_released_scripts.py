"""Suites that claim a released script's settings resolve to them, defaults included."""

from pathlib import Path

import pytest

from unlearnbench.bench.config import build
from unlearnbench.bench.planning.plan import REFERENCES, MethodRow, Suite, find_suite, plan_cells
from unlearnbench.bench.running.catalog import registry, task_registry

SUITES = Path(__file__).parents[2] / "tasks" / "suites"
CLAIM = "released script"
RGD = {
    "part": "full",
    "optimiser": "adam",
    "rate": 1e-5,
    "weight_decay": 0.0,
    "batch": 8,
    "steps": 100,
    "lam": 1.6,
    "truncation": 1.1,
    "truncation_mode": "batch",
    "clip_norm": None,
    "caption_drop": 0.0,
}
"""Ko et al. 2024, SD/run-surgery.sh and SD/train-scripts/nsfw_RGD.py at reds-lab@0075ecb: Adam with its
defaults, 1e-5 over the full U-Net; 800 pairs in batches of 8, once; alpha (weight of the retain gradient)
1.6; the loss of the batch bounded by m = 1.1; neither clipping nor captions left out."""
CIFAR = RGD | {
    "batch": 64,
    "steps": 782,
    "lam": 5.0,
    "truncation": 0.1,
    "truncation_mode": "element-x0",
}
"""The same, CIFAR/scripts/run_surgery.sh and CIFAR/training/: 50,000 images in batches of 64; lambda (weight
of the retain gradient) 5; an element's squared error of x0 bounded by alpha = .1."""
PRESETS = {
    ("gradient_sum", "paper-sd"): RGD,
    ("balanced", "paper-sd"): RGD | {"inner_product": "euclidean", "retain_batch": None},
    ("gradient_sum", "paper-cifar"): CIFAR | {"retain_batch": None},
    ("balanced", "paper-cifar"): CIFAR | {"inner_product": "euclidean", "retain_batch": "all"},
}
FACTS = {
    ("sd14-paper", "gradient_sum"): RGD,
    ("sd14-paper", "balanced"): RGD | {"inner_product": "euclidean"},
    ("sd14-pilot", "gradient_sum"): RGD,
    ("sd14-pilot", "balanced"): RGD | {"inner_product": "euclidean"},
    ("unlearncanvas-pilot", "gradient_sum"): RGD,
    ("unlearncanvas-pilot", "balanced"): RGD | {"inner_product": "euclidean"},
}


def _suite(name: str) -> Suite:
    return find_suite(name, SUITES)


def test_the_suites_cells_have_names_and_no_infinity() -> None:
    for name in {suite for suite, _ in FACTS}:
        cells = plan_cells(_suite(name), task_registry(), registry("methods"))
        assert len({cell.stem for cell in cells}) == len(cells)


def test_a_setting_that_is_no_number_is_refused() -> None:
    with pytest.raises(ValueError, match="rate: nan is no setting"):
        MethodRow(name="balanced", config={"rate": float("nan")})


def test_every_suite_with_the_claim_is_in_the_table() -> None:
    claiming = {path.stem for path in SUITES.glob("*.toml") if CLAIM in path.read_text(encoding="utf-8")}
    rows = {
        (name, row.name) for name in claiming for row in _suite(name).methods if row.name not in REFERENCES
    }
    assert rows == FACTS.keys()


@pytest.mark.parametrize(("suite", "method"), FACTS)
def test_the_resolved_configuration_is_the_released_one(suite: str, method: str) -> None:
    rows = [row for row in _suite(suite).methods if row.name == method]
    assert rows
    for row in rows:
        resolved = build(registry("methods")[method].load_config(), row.config, method).model_dump()
        assert {name: resolved[name] for name in FACTS[suite, method]} == FACTS[suite, method]


@pytest.mark.parametrize(("method", "preset"), PRESETS)
def test_a_preset_is_the_released_one(method: str, preset: str) -> None:
    entry = registry("methods")[method]
    resolved = build(entry.load_config(), entry.presets[preset], method)
    assert {name: getattr(resolved, name) for name in PRESETS[method, preset]} == PRESETS[method, preset]
    assert resolved.retain_draws()[1] == 0
