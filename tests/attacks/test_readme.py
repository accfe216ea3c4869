"""The page of the attacks lists what there is, and its example runs."""

import re
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

from unlearnbench.bench.records.record import read_items, read_record
from unlearnbench.bench.running.catalog import registry

PAGE = (Path(__file__).resolve().parents[2] / "bench" / "attacks" / "README.md").read_text(encoding="utf-8")


def test_the_page_lists_every_attack_with_what_it_moves() -> None:
    listed = dict(re.findall(r"^\| `([a-z0-9-]+)` \| (\w+):", PAGE, re.MULTILINE))
    assert listed == {entry.name: entry.moves for entry in registry("attacks").values()}


def test_its_example_is_an_attack(
    make_attack: Callable[..., Any], modules: Callable[[str, str], Any]
) -> None:
    found = re.search(r"<!-- example -->\n\s*```python\n(.*?)\n\s*```", PAGE, re.DOTALL)
    assert found is not None
    run = make_attack(modules("repeat_name_example", textwrap.dedent(found[1]) + "\n"), budget=1)
    path, state = run.measure()
    assert state == "measured"
    record = read_record(path)
    assert record.attack is not None
    assert all(text.startswith("cat face ") for text in record.attack.texts.values())
    assert len(record.attack.texts) == 4
    items = read_items(path, record)
    assert items is not None
    assert set(items.loc[items["point"] == 1, "prompt"]) == set(record.attack.texts.values())
