"""The example of the metrics' page is a metric that can be registered and gives the right value."""

import re
import textwrap
from pathlib import Path
from typing import Any

import pytest

from unlearnbench.bench.types import View

PAGE = Path(__file__).resolve().parents[2] / "bench" / "metrics" / "README.md"


@pytest.fixture(scope="module")
def example() -> dict[str, Any]:
    found = re.search(r"<!-- example -->\n\s*```python\n(.*?)\n\s*```", PAGE.read_text(), re.DOTALL)
    assert found is not None
    names: dict[str, Any] = {}
    exec(textwrap.dedent(found[1]), names)
    return names


def test_the_example_gives_the_share_of_flat_forget_images(example: dict[str, Any], make_items: Any) -> None:
    forget = {"split": "forget", "relation": "target"}
    rows = make_items(
        {**forget, "flatness": 0.01},
        {**forget, "flatness": 0.3},
        {**forget, "flatness": 0.3},
        {**forget, "flatness": 0.019},
        {"flatness": 0.0},  # a retain image does not count
    )
    metric = example["METRIC"]
    values = metric.reduce(metric.per_item(rows), View(rows))
    assert list(values) == [example["REGISTER"]["name"]]
    assert (values["blank"].value, values["blank"].n) == (0.5, 4)


def test_a_failed_image_makes_the_example_missing(example: dict[str, Any], make_items: Any) -> None:
    forget = {"split": "forget", "relation": "target"}
    rows = make_items(forget, {**forget, "flatness": float("nan"), "image_sha256": ""})
    metric = example["METRIC"]
    value = metric.reduce(metric.per_item(rows), View(rows))["blank"]
    assert value.value is None
    assert value.missing
