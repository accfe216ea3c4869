"""The example of the judges' page is the plug-in's judge, which tests/plugin runs. It reads borders."""

import re
import textwrap
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from unlearnbench.bench.errors import UserError
from unlearnbench.bench.judges.types import NOTHING

ROOT = Path(__file__).resolve().parents[2]
OWN = ROOT / "tests" / "plugin" / "src" / "unlearnbench_example" / "border_colour.py"


def _task(*names: str) -> Any:
    return SimpleNamespace(id="x", file=SimpleNamespace(target_kind="subject", names=list(names)))


@pytest.fixture(scope="module")
def example() -> dict[str, Any]:
    page = (ROOT / "bench" / "judges" / "README.md").read_text()
    found = re.search(r"<!-- example -->\n\s*```python\n(.*?)\n\s*```", page, re.DOTALL)
    assert found is not None
    text = textwrap.dedent(found[1])
    assert text + "\n" == OWN.read_text()
    names: dict[str, Any] = {}
    exec(text, names)
    return names


def test_the_example_names_the_colour_of_the_border(example: dict[str, Any]) -> None:
    images = np.zeros((3, 8, 8, 3), np.uint8)
    for image, colour in zip(images, [(220, 70, 70), (110, 160, 235), (0, 200, 0)], strict=True):
        image[:] = colour
        image[2:6, 2:6] = 255  # what lies in the middle does not count
    verdicts = example["open_judge"](None, _task("blue", "red")).judge(images)
    assert verdicts.found["subject"].tolist() == ["red", "blue", NOTHING]  # green is none that it knows
    assert verdicts.features[0] == pytest.approx(np.array([220, 70, 70]) / 255)


def test_the_example_refuses_a_colour_that_it_does_not_know(example: dict[str, Any]) -> None:
    with pytest.raises(UserError, match="names: mauve: known are white, red, blue"):
        example["open_judge"](None, _task("mauve"))
