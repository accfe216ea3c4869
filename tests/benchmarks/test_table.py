"""The table of the benchmarks: what is compared exists, and the ratio is that of the medians."""

import json
import re
import runpy
from pathlib import Path

import pytest

HERE = Path(__file__).parent
SCRIPT = runpy.run_path(str(HERE / "table.py"))


def test_every_benchmark_of_the_table_exists() -> None:
    text = "".join(path.read_text() for path in HERE.glob("test_*.py"))
    for pair in SCRIPT["PAIRS"]:
        for name in (pair[1], pair[3]):
            assert re.search(rf"def {name.partition('[')[0]}\(", text), name


def test_a_ratio_is_that_of_the_medians_and_what_did_not_run_is_missing(tmp_path: Path) -> None:
    found = [("test_runner", 3.0), ("test_sum_of_stages", 2.0), ("test_gram_form", 0.05)]
    content = {"benchmarks": [{"name": name, "stats": {"median": median}} for name, median in found]}
    (tmp_path / "found.json").write_text(json.dumps(content))
    rows = list(SCRIPT["make_rows"](SCRIPT["read_medians"](tmp_path / "found.json")))
    assert rows[-1] == "| the runner, one small cell of `tiny` | the sum of its stages | 1.5 | 3 s, 2 s |"
    assert rows[-2].endswith("| scipy `sqrtm` | missing | missing |")
    assert sum("missing" in row for row in rows) == len(SCRIPT["PAIRS"]) - 1


def test_the_table_is_put_between_its_marks_only() -> None:
    page = (HERE / "README.md").read_text()
    changed = SCRIPT["put_table"](page, "| new |")
    assert "| new |" in changed
    assert "`sqrtm` |" not in changed
    assert changed.partition("<!-- table -->")[0] == page.partition("<!-- table -->")[0]
    assert changed.partition("<!-- end of table -->")[2] == page.partition("<!-- end of table -->")[2]
    with pytest.raises(ValueError, match="lacks"):
        SCRIPT["put_table"]("no marks", "| new |")
