"""Item rows made by hand, for every test of a metric."""

import pandas as pd
import pytest

from unlearnbench.bench.types import ITEM_COLUMNS

ROW = {
    "split": "retain",
    "half": "A",
    "relation": "other",
    "given": False,
    "target_kind": "subject",
    "asked_subject": "fox",
    "asked_style": "line",
    "asked_background": "red",
    "found_subject": "fox",
    "found_style": "line",
    "found_background": "red",
    "target_found": None,
    "alignment": 0.3,
    "alignment_shuffled": 0.1,
    "flatness": 0.2,
}


def build(*rows):
    """Return a frame of ITEM_COLUMNS: ROW with each row's changes; one prompt a row unless named."""
    full = []
    for i, change in enumerate(rows):
        row = {"prompt_id": f"p{i:03d}", "sample": 0, **ROW, **change}
        row.setdefault("prompt", f"text of {row['prompt_id']}")
        row.setdefault("seed", 1000 + i)
        row.setdefault("image_sha256", f"sha{i}")
        full.append(row)
    return pd.DataFrame(full, columns=list(ITEM_COLUMNS))


@pytest.fixture
def make_items():
    return build


@pytest.fixture
def forget_row():
    """A row of a forget prompt; `found` is what the judge saw in place of the target `cat`."""

    def row(found, **change):
        target = None if found is None else found == "cat"
        asked = {"split": "forget", "relation": "target", "asked_subject": "cat"}
        return {**asked, "found_subject": found, "target_found": target, **change}

    return row
